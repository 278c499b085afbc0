//! Who makes the calls: an HTTP client behind a guard.
//!
//! All tenants share one, but for those that may reach ranges of their own. A client keeps connections to call again, and
//! those were judged by its own guard when they were made: so each list of ranges has a client to itself.
//!
//! Connections that wait for another call are open files, of which a process has so many and no more. There may be a host for
//! each endpoint, so only some hosts' are kept at a time; a further one is connected to for each call.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
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
};

/// The client of a list that nobody has used for so long is given up.
const IDLE: Duration = Duration::from_mins(10);
/// More of them are not kept.
const LISTS: u64 = 100;

/// The hosts whose connections are kept, and how many of each.
const KEPT_HOSTS: usize = 1_000;
const KEPT_OF_A_HOST: usize = 32;
/// So long it takes at least until a full set of hosts is looked through again.
const PATIENCE: Duration = Duration::from_secs(1);
/// As much as an HTTP/2 receiver may send before it is read: the least that the protocol knows (RFC 9113 section 6.9.2). Its
/// answer is hardly ever read to the end.
const WINDOW: u32 = 65_535;

/// A client and its guard. Cheap to clone.
#[derive(Clone)]
pub(super) struct Caller {
    keeping: Client,
    once: Client,
    kept: Arc<Kept>,
    pub(super) guard: Guard,
}

impl Caller {
    fn new(guard: Guard, kept: Arc<Kept>, timeout: Duration) -> reqwest::Result<Self> {
        Ok(Self {
            keeping: client(&guard, timeout, KEPT_OF_A_HOST, kept.keep_alive)?,
            once: client(&guard, timeout, 0, kept.keep_alive)?,
            kept,
            guard,
        })
    }

    /// The client for a call to that URL.
    pub(super) fn client(&self, url: &Url) -> &Client {
        if self.kept.keeps(url.authority(), Instant::now()) {
            &self.keeping
        } else {
            &self.once
        }
    }
}

/// The hosts whose connections are kept, and until when.
struct Kept {
    keep_alive: Duration,
    /// What a call takes at most, after which its connection waits.
    timeout: Duration,
    hosts: Mutex<Hosts>,
}

#[derive(Default)]
struct Hosts {
    until: HashMap<String, Instant>,
    looked_at: Option<Instant>,
}

impl Kept {
    fn new(keep_alive: Duration, timeout: Duration) -> Self {
        Self {
            keep_alive,
            timeout,
            hosts: Mutex::default(),
        }
    }

    fn keeps(&self, host: &str, now: Instant) -> bool {
        let until = now + self.timeout + self.keep_alive;
        // Every state of it is a valid one.
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = hosts.until.get_mut(host) {
            *known = until;
            return true;
        }
        let long_ago = |at: Instant| now.duration_since(at) >= PATIENCE;
        if hosts.until.len() >= KEPT_HOSTS && hosts.looked_at.is_none_or(long_ago) {
            hosts.until.retain(|_, until| *until > now);
            hosts.looked_at = Some(now);
        }
        let room = hosts.until.len() < KEPT_HOSTS;
        if room {
            hosts.until.insert(host.to_owned(), until);
        }
        room
    }
}

/// The callers of all tenants. Cheap to clone.
#[derive(Clone)]
pub(super) struct Callers {
    timeout: Duration,
    kept: Arc<Kept>,
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
        let kept = Arc::new(Kept::new(keep_alive, timeout));
        Ok(Self {
            timeout,
            kept: Arc::clone(&kept),
            everywhere,
            lookup,
            common: Caller::new(guard, kept, timeout)?,
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
            Caller::new(guard, Arc::clone(&self.kept), self.timeout)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_hosts_have_their_connections_kept_and_make_room_for_others_in_time() {
        let kept = Kept::new(Duration::from_secs(30), Duration::from_secs(15));
        let now = Instant::now();
        for number in 0..KEPT_HOSTS {
            assert!(kept.keeps(&format!("{number}.example"), now));
        }
        let later = now + Duration::from_secs(44);
        assert!(!kept.keeps("another.example", later));
        assert!(kept.keeps("0.example", later));
        let after = now + Duration::from_secs(46);
        assert!(kept.keeps("another.example", after));
        assert!(kept.keeps("0.example", after));
    }
}
