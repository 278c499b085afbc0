//! Who makes the calls: an HTTP client behind a guard.
//!
//! All tenants share one, but for those that may reach ranges of their own. A client keeps connections to call again, and
//! those were judged by its own guard when they were made: so each list of ranges has a client to itself.
//!
//! Connections are kept to call again while there are not too many of them ([`super::kept`]).

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use ipnet::IpNet;
use latchkey_shared::{config::Config, webhook::target};
use moka::sync::Cache;
use reqwest::{Client, redirect};
use url::Url;

use super::{
    CONNECT_TIMEOUT, USER_AGENT,
    guard::{Guard, Lookup},
    kept::{self, Keeping, Kept},
};

/// The client of a list that nobody has used for so long is given up.
const IDLE: Duration = Duration::from_mins(10);
/// More of them are not kept.
const LISTS: u64 = 100;

/// As much as an HTTP/2 receiver may send before it is read: the least that the protocol knows (RFC 9113 section 6.9.2). Its
/// answer is hardly ever read to the end.
const WINDOW: u32 = 65_535;

/// A client and its guard.
pub(super) struct Caller {
    keeping: Client,
    once: Client,
    kept: Kept,
    pub(super) guard: Guard,
}

impl Caller {
    fn new(guard: Guard, kept: Kept, timeout: Duration, keep_alive: Duration) -> reqwest::Result<Self> {
        let client = |of_a_host| client(&guard, timeout, of_a_host, keep_alive);
        Ok(Self {
            keeping: client(kept::MOST)?,
            once: client(0)?,
            kept,
            guard,
        })
    }

    /// The client for a call to that URL, and what is held until the call has ended.
    pub(super) fn client(&self, url: &Url) -> (&Client, Option<Keeping>) {
        let keeping = self.kept.keep(url.authority(), Instant::now());
        let client = if keeping.is_some() {
            &self.keeping
        } else {
            &self.once
        };
        (client, keeping)
    }
}

/// The callers of all tenants.
pub(super) struct Callers {
    timeout: Duration,
    keep_alive: Duration,
    kept: Kept,
    everywhere: Arc<[IpNet]>,
    lookup: Arc<dyn Lookup>,
    common: Arc<Caller>,
    own: Cache<Vec<String>, Arc<Caller>>,
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
        let kept = Kept::new(keep_alive, kept::MOST);
        Ok(Self {
            timeout,
            keep_alive,
            kept: kept.clone(),
            everywhere,
            lookup,
            common: Arc::new(Caller::new(guard, kept, timeout, keep_alive)?),
            own: Cache::builder().time_to_idle(IDLE).max_capacity(LISTS).build(),
        })
    }

    /// Who calls for a tenant that may reach those ranges beside what all may.
    ///
    /// # Errors
    /// When a client cannot be built.
    pub(super) fn of(&self, own: &[String]) -> Result<Arc<Caller>, Arc<reqwest::Error>> {
        if own.is_empty() {
            return Ok(Arc::clone(&self.common));
        }
        self.own.try_get_with_by_ref(own, || {
            let guard = Guard::new(&target::allowed(&self.everywhere, own), Arc::clone(&self.lookup));
            Caller::new(guard, self.kept.clone(), self.timeout, self.keep_alive).map(Arc::new)
        })
    }
}

fn client(guard: &Guard, timeout: Duration, kept: usize, keep_alive: Duration) -> reqwest::Result<Client> {
    Client::builder()
        .dns_resolver(Arc::new(guard.clone()))
        // A redirect could lead anywhere, and a proxy would resolve names for us.
        .redirect(redirect::Policy::none())
        .no_proxy()
        .pool_max_idle_per_host(kept)
        .pool_idle_timeout(keep_alive)
        .http2_initial_stream_window_size(WINDOW)
        .http2_initial_connection_window_size(WINDOW)
        .connect_timeout(CONNECT_TIMEOUT.min(timeout))
        .timeout(timeout)
        .user_agent(USER_AGENT)
        .build()
}
