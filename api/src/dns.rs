//! Asking DNS for the records that prove a tenant's domains.

use std::{
    net::SocketAddr,
    sync::{Arc, OnceLock},
    time::Duration,
};

use futures::future::BoxFuture;
use hickory_resolver::{
    TokioResolver,
    config::ResolveHosts,
    net::{DnsError, NetError},
    proto::{op::ResponseCode, rr::RData},
};
use latchkey_shared::{
    config,
    resolver::resolver,
    tenant::domain::{NoAnswer, TxtRecords},
};
use tokio::sync::Semaphore;

/// Of one question to one server; it is asked twice.
const TIMEOUT: Duration = Duration::from_secs(2);
/// Somebody waits for the answer, however many servers there are.
const DEADLINE: Duration = Duration::from_secs(6);

/// So many questions are open at once. Who claims a domain need not have it, and its servers may never answer.
const QUESTIONS: usize = 32;

/// Asks the servers in the settings, or else the system's. Cheap to clone.
#[derive(Clone)]
pub struct Dns {
    servers: Arc<[SocketAddr]>,
    resolver: Arc<OnceLock<TokioResolver>>,
    turns: Arc<Semaphore>,
}

impl Dns {
    /// Nobody is asked before there is a question.
    #[must_use]
    pub fn new(settings: &config::Tenancy) -> Self {
        Self {
            servers: settings.dns_servers.clone().into(),
            resolver: Arc::default(),
            turns: Arc::new(Semaphore::new(QUESTIONS)),
        }
    }

    fn resolver(&self) -> Result<&TokioResolver, NetError> {
        if let Some(known) = self.resolver.get() {
            return Ok(known);
        }
        let built = build(&self.servers)?;
        Ok(self.resolver.get_or_init(|| built))
    }

    async fn ask(&self, name: &str) -> Result<Vec<String>, NoAnswer> {
        let lookup = async {
            let _turn = self.turns.acquire().await?;
            // The dot at the end: the system's search list has no part in it.
            let found = self.resolver()?.txt_lookup(format!("{name}.")).await;
            Ok::<_, NoAnswer>(found)
        };
        match tokio::time::timeout(DEADLINE, lookup).await?? {
            Ok(found) => Ok(found
                .answers()
                .iter()
                .filter_map(|record| text(&record.data))
                .collect()),
            // A failing server says nothing of the record.
            Err(NetError::Dns(DnsError::NoRecordsFound(none)))
                if matches!(none.response_code, ResponseCode::NoError | ResponseCode::NXDomain) =>
            {
                Ok(Vec::new())
            }
            Err(error) => Err(error.into()),
        }
    }
}

impl TxtRecords for Dns {
    fn texts<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Vec<String>, NoAnswer>> {
        Box::pin(self.ask(name))
    }
}

/// A record's text: its parts belong together (RFC 7208 section 3.3 does the same).
fn text(data: &RData) -> Option<String> {
    let RData::TXT(txt) = data else { return None };
    String::from_utf8(txt.txt_data.concat()).ok()
}

fn build(servers: &[SocketAddr]) -> Result<TokioResolver, NetError> {
    resolver(servers, |options| {
        options.timeout = TIMEOUT;
        options.attempts = 2;
        // Whoever has just published the record asks again.
        options.cache_size = 0;
        options.use_hosts_file = ResolveHosts::Never;
        options.try_tcp_on_error = true;
    })
}
