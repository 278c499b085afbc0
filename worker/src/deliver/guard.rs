//! The address guard: a resolver that only gives away addresses that may be called.
//!
//! The client connects to the very addresses that were judged here, so a name that answers otherwise a moment later
//! (DNS rebinding) gains nothing: each new connection is judged anew.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::{Arc, OnceLock},
    time::Duration,
};

use futures::future::BoxFuture;
use hickory_resolver::{TokioResolver, net::NetError};
use ipnet::IpNet;
use latchkey_shared::{
    resolver::resolver,
    webhook::{address::is_allowed, target},
};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::Url;

/// So long one question waits for its answer; all of them have the time to connect.
const QUESTION: Duration = Duration::from_secs(2);
/// So many names are remembered, and for so long at most: an endpoint that moves is found again.
const NAMES: u64 = 10_000;
const REMEMBERED: Duration = Duration::from_secs(30);

/// How names become addresses.
pub trait Lookup: Send + Sync + 'static {
    /// All addresses of the name.
    fn lookup(&self, name: String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>>;
}

/// Asks the servers that the operating system would ask, after its file of hosts. Cheap to clone.
#[derive(Clone, Default)]
pub struct SystemLookup {
    resolver: Arc<OnceLock<TokioResolver>>,
}

impl SystemLookup {
    fn resolver(&self) -> Result<&TokioResolver, NetError> {
        if let Some(known) = self.resolver.get() {
            return Ok(known);
        }
        let built = build(&[])?;
        Ok(self.resolver.get_or_init(|| built))
    }
}

impl Lookup for SystemLookup {
    fn lookup(&self, name: String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        let lookup = self.clone();
        Box::pin(async move {
            let found = lookup.resolver().map_err(io::Error::other)?.lookup_ip(name).await;
            Ok(found.map_err(io::Error::other)?.iter().collect())
        })
    }
}

fn build(servers: &[SocketAddr]) -> Result<TokioResolver, NetError> {
    resolver(servers, |options| {
        options.timeout = QUESTION;
        options.attempts = 2;
        // Each endpoint may have a name of its own.
        options.cache_size = NAMES;
        options.positive_max_ttl = Some(REMEMBERED);
        options.negative_max_ttl = Some(REMEMBERED);
    })
}

/// Why there is no address to call.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoAddress {
    /// The name does not resolve.
    #[error("the name does not resolve: {0}")]
    Unresolved(#[source] io::Error),
    /// It resolves to nothing.
    #[error("the name has no address")]
    Empty,
    /// It, or one of its addresses, is not public.
    #[error("the address is not public")]
    Refused(IpAddr),
}

/// Judges addresses before they are called.
#[derive(Clone)]
pub(super) struct Guard {
    allowed: Arc<[IpNet]>,
    lookup: Arc<dyn Lookup>,
}

impl Guard {
    /// Allows public addresses, and those in the ranges.
    pub(super) fn new(allowed: &[IpNet], lookup: Arc<dyn Lookup>) -> Self {
        Self {
            allowed: allowed.into(),
            lookup,
        }
    }

    /// Judges an address that the URL itself names; the client asks no resolver for it.
    ///
    /// # Errors
    /// When the address may not be called.
    pub(super) fn check_literal(&self, url: &Url) -> Result<(), NoAddress> {
        match target::literal(url) {
            Some(Some(address)) => self.check(address),
            Some(None) => Ok(()),
            None => Err(NoAddress::Empty),
        }
    }

    /// The addresses of a name, all of which may be called.
    ///
    /// # Errors
    /// When there is none, or when any may not: a name with one foot inside is not to be trusted with the other.
    pub(super) async fn addresses(&self, name: String) -> Result<Vec<IpAddr>, NoAddress> {
        let found = self.lookup.lookup(name).await.map_err(NoAddress::Unresolved)?;
        if found.is_empty() {
            return Err(NoAddress::Empty);
        }
        for address in &found {
            self.check(*address)?;
        }
        Ok(found)
    }

    fn check(&self, address: IpAddr) -> Result<(), NoAddress> {
        if is_allowed(address, &self.allowed) {
            Ok(())
        } else {
            Err(NoAddress::Refused(address))
        }
    }
}

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let guard = self.clone();
        Box::pin(async move {
            let addresses = guard.addresses(name.as_str().to_owned()).await?;
            // Port 0: the client puts in the URL's.
            Ok(Box::new(addresses.into_iter().map(|ip| SocketAddr::new(ip, 0))) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// Answers with the next list each time.
    struct Changing(AtomicUsize, Vec<&'static str>);

    impl Lookup for Changing {
        fn lookup(&self, _: String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
            let answer = self.1[self.0.fetch_add(1, Ordering::Relaxed)];
            Box::pin(async move { Ok(answer.split_whitespace().map(|ip| ip.parse().unwrap()).collect()) })
        }
    }

    async fn answers(answers: Vec<&'static str>) -> Vec<bool> {
        let count = answers.len();
        let guard = Guard::new(&[], Arc::new(Changing(AtomicUsize::new(0), answers)));
        let mut judged = Vec::new();
        for _ in 0..count {
            judged.push(guard.addresses("rebind.example".to_owned()).await.is_ok());
        }
        judged
    }

    #[tokio::test]
    async fn s32_a_name_with_any_address_inside_is_refused() {
        let judged = answers(vec![
            "8.8.8.8",
            "8.8.8.8 10.0.0.1",
            "::1 2606:4700::1111",
            "64:ff9b::7f00:1",
            "",
        ])
        .await;
        assert_eq!(judged, [true, false, false, false, false]);
    }

    #[tokio::test]
    async fn s32_a_resolver_that_changes_its_answer_is_judged_each_time() {
        assert_eq!(
            answers(vec!["8.8.8.8", "169.254.169.254", "8.8.8.8"]).await,
            [true, false, true]
        );
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn names_whose_servers_never_answer_hold_no_thread() {
        let silent = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let lookup = SystemLookup::default();
        let asks_the_silent = build(&[silent.local_addr().unwrap()]).unwrap();
        assert!(lookup.resolver.set(asks_the_silent).is_ok());
        let questions: Vec<_> = (0..600)
            .map(|number| tokio::spawn(lookup.lookup(format!("endpoint{number}.example"))))
            .collect();
        let mut buffer = [0; 512];
        for _ in 0..600 {
            silent.recv(&mut buffer).await.unwrap();
        }
        // A pool of threads would be used up by them.
        let held = std::fs::read_dir("/proc/self/task").unwrap().count();
        assert!(held < 300, "{held} threads");
        for question in questions {
            assert!(question.await.unwrap().is_err());
        }
    }

    #[tokio::test]
    async fn the_name_of_this_machine_is_found_in_its_file() {
        let found = SystemLookup::default()
            .lookup("localhost".to_owned())
            .await
            .unwrap();
        assert!(found.iter().all(IpAddr::is_loopback), "{found:?}");
    }

    #[test]
    fn s32_a_literal_in_any_spelling_is_refused() {
        let guard = Guard::new(
            &["127.0.0.0/8".parse().unwrap()],
            Arc::new(SystemLookup::default()),
        );
        for url in [
            "http://0xa9fea9fe/",
            "http://10.1/",
            "http://[::ffff:10.0.0.1]/",
            "http://[::1]/",
        ] {
            assert!(guard.check_literal(&Url::parse(url).unwrap()).is_err(), "{url}");
        }
        for url in ["http://2130706433/", "http://8.8.8.8/", "http://example.com/"] {
            assert!(guard.check_literal(&Url::parse(url).unwrap()).is_ok(), "{url}");
        }
    }
}
