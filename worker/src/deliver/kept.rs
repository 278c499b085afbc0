//! How many connections wait for another call.
//!
//! Each is an open file and some memory, and there may be a host for every endpoint. So they are counted, without a look at the
//! sockets: a host has about as many of them as it had calls at once since the oldest was last used. While there is room a
//! call's connection is kept, however many a host has; without, it is closed after the call.
//!
//! A host may have some more: a connection that was begun and found another free in the end is kept too, and where tenants with
//! ranges of their own call the same host as others, each client's connections wait apart and are counted as one's.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// The connections of all hosts together, called and waiting.
pub(super) const MOST: usize = 8_192;

/// Counts connections that are kept. Cheap to clone.
#[derive(Clone)]
pub(super) struct Kept(Arc<Shared>);

struct Shared {
    /// An unused connection is closed after so long.
    keep_alive: Duration,
    most: usize,
    hosts: Mutex<Hosts>,
}

#[derive(Default)]
struct Hosts {
    known: HashMap<Arc<str>, Host>,
    /// Of all of them.
    connections: usize,
    /// When the span now began.
    since: Option<Instant>,
}

/// The calls to a host at once: now, and the most of them in the span of `keep_alive` now and in the one before. What was
/// used before that is closed.
#[derive(Default)]
struct Host {
    calls: usize,
    most: usize,
    most_before: usize,
}

impl Host {
    fn connections(&self) -> usize {
        self.most.max(self.most_before)
    }
}

impl Hosts {
    fn begin_span(&mut self, now: Instant) {
        self.known.retain(|_, host| {
            host.most_before = host.most;
            host.most = host.calls;
            host.connections() > 0
        });
        self.connections = self.known.values().map(Host::connections).sum();
        self.since = Some(now);
    }
}

/// A call whose connection is kept after it. It ends by being dropped.
pub(super) struct Keeping {
    kept: Kept,
    host: Arc<str>,
}

impl Drop for Keeping {
    fn drop(&mut self) {
        if let Some(host) = self.kept.hosts().known.get_mut(&self.host) {
            host.calls -= 1;
        }
    }
}

impl Kept {
    pub(super) fn new(keep_alive: Duration, most: usize) -> Self {
        Self(Arc::new(Shared {
            keep_alive,
            most,
            hosts: Mutex::default(),
        }))
    }

    fn hosts(&self) -> MutexGuard<'_, Hosts> {
        // Every state of it is a valid one.
        self.0.hosts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a call, if there is room for its connection.
    pub(super) fn keep(&self, host: &str, now: Instant) -> Option<Keeping> {
        let mut hosts = self.hosts();
        let is_over = |since| now.duration_since(since) >= self.0.keep_alive;
        if hosts.since.is_none_or(is_over) {
            hosts.begin_span(now);
        }
        let hosts = &mut *hosts;
        let (name, has_room_of_its_own) = match hosts.known.get_key_value(host) {
            Some((name, known)) => (Arc::clone(name), known.calls < known.connections()),
            None => (host.into(), false),
        };
        if !has_room_of_its_own {
            if hosts.connections >= self.0.most {
                return None;
            }
            hosts.connections += 1;
        }
        let host = hosts.known.entry(Arc::clone(&name)).or_default();
        host.calls += 1;
        host.most = host.most.max(host.calls);
        Some(Keeping {
            kept: self.clone(),
            host: name,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEEP_ALIVE: Duration = Duration::from_secs(30);

    #[test]
    fn a_host_keeps_as_many_as_it_has_calls_at_once_and_others_have_the_rest() {
        let (kept, now) = (Kept::new(KEEP_ALIVE, 3), Instant::now());
        let first = kept.keep("one.example", now);
        let second = kept.keep("one.example", now);
        assert!(first.is_some() && second.is_some());
        assert!(kept.keep("two.example", now).is_some());
        // Two wait or are called, and the other's waits.
        assert!(kept.keep("one.example", now).is_none());
        assert!(kept.keep("three.example", now).is_none());
        drop(first);
        assert!(kept.keep("one.example", now).is_some());
        assert!(kept.keep("two.example", now).is_some());
    }

    #[test]
    fn what_waits_for_longer_than_it_is_kept_makes_room() {
        let (kept, now) = (Kept::new(KEEP_ALIVE, 2), Instant::now());
        let soon = now + KEEP_ALIVE * 9 / 10;
        drop(kept.keep("early.example", now));
        drop(kept.keep("late.example", soon));
        // Early's is closed by now and counts for a while; late's is open still.
        assert!(kept.keep("third.example", now + KEEP_ALIVE).is_none());
        assert!(kept.keep("late.example", now + KEEP_ALIVE).is_some());
        let later = now + KEEP_ALIVE * 2;
        assert!(kept.keep("third.example", later).is_some());
        assert!(kept.keep("fourth.example", later).is_none());
    }

    #[test]
    fn a_call_counts_for_as_long_as_it_lasts() {
        let (kept, now) = (Kept::new(KEEP_ALIVE, 1), Instant::now());
        let long = kept.keep("slow.example", now);
        for spans in 1..5 {
            assert!(kept.keep("another.example", now + KEEP_ALIVE * spans).is_none());
        }
        drop(long);
        // What was its connection may wait now.
        assert!(kept.keep("another.example", now + KEEP_ALIVE * 5).is_none());
        assert!(kept.keep("another.example", now + KEEP_ALIVE * 6).is_some());
    }
}
