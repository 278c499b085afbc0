//! Who makes the calls: an HTTP client behind a guard.
//!
//! All tenants share one, but for those that may reach ranges of their own. A client keeps connections to call again, and
//! those were judged by its own guard when they were made: so each list of ranges has a client to itself.

use std::{sync::Arc, time::Duration};

use ipnet::IpNet;
use latchkey_shared::{config::Config, webhook::target};
use moka::sync::Cache;
use reqwest::{Client, redirect};

use super::{
    CONNECT_TIMEOUT, USER_AGENT,
    guard::{Guard, Lookup},
};

/// The client of a list that nobody has used for so long is given up.
const IDLE: Duration = Duration::from_mins(10);
/// More of them are not kept.
const LISTS: u64 = 100;

/// A client and its guard. Cheap to clone.
#[derive(Clone)]
pub(super) struct Caller {
    pub(super) client: Client,
    pub(super) guard: Guard,
}

/// The callers of all tenants. Cheap to clone.
#[derive(Clone)]
pub(super) struct Callers {
    timeout: Duration,
    keep_alive: Duration,
    everywhere: Arc<[IpNet]>,
    lookup: Arc<dyn Lookup>,
    common: Caller,
    own: Cache<Vec<String>, Caller>,
}

impl Callers {
    /// As the settings say.
    ///
    /// # Errors
    /// When a client cannot be built.
    pub(super) fn new(config: &Config, lookup: impl Lookup) -> reqwest::Result<Self> {
        let (timeout, keep_alive) = (config.webhooks.timeout, config.worker.keep_alive);
        let everywhere: Arc<[IpNet]> = config.webhooks.allowed_cidrs.as_slice().into();
        let lookup: Arc<dyn Lookup> = Arc::new(lookup);
        let guard = Guard::new(&everywhere, Arc::clone(&lookup));
        Ok(Self {
            timeout,
            keep_alive,
            everywhere,
            lookup,
            common: Caller {
                client: client(&guard, timeout, keep_alive)?,
                guard,
            },
            own: Cache::builder().time_to_idle(IDLE).max_capacity(LISTS).build(),
        })
    }

    /// Who calls for a tenant that may reach those ranges beside what all may.
    ///
    /// # Errors
    /// When a client cannot be built.
    pub(super) fn of(&self, own: &[String]) -> Result<Caller, Arc<reqwest::Error>> {
        if own.is_empty() {
            return Ok(self.common.clone());
        }
        self.own.try_get_with_by_ref(own, || {
            let guard = Guard::new(&target::allowed(&self.everywhere, own), Arc::clone(&self.lookup));
            let client = client(&guard, self.timeout, self.keep_alive)?;
            Ok(Caller { client, guard })
        })
    }
}

fn client(guard: &Guard, timeout: Duration, keep_alive: Duration) -> reqwest::Result<Client> {
    Client::builder()
        .dns_resolver(Arc::new(guard.clone()))
        // A redirect could lead anywhere, and a proxy would resolve names for us.
        .redirect(redirect::Policy::none())
        .no_proxy()
        // There may be a host for each endpoint: connections that wait are the most of all that are open.
        .pool_idle_timeout(keep_alive)
        .connect_timeout(CONNECT_TIMEOUT.min(timeout))
        .timeout(timeout)
        .user_agent(USER_AGENT)
        .build()
}
