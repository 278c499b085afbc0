//! Knowing that Redis is away, so that not every request waits to find out.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

/// So long nobody asks; then one request does, for all.
const PAUSE: Duration = Duration::from_secs(1);
const PRESENT: u64 = 0;

/// Whether Redis was away when it was last asked.
pub(super) struct Outage {
    epoch: Instant,
    /// Milliseconds since the epoch at which to ask again.
    ask_at: AtomicU64,
}

impl Default for Outage {
    fn default() -> Self {
        Self {
            epoch: Instant::now(),
            ask_at: AtomicU64::new(PRESENT),
        }
    }
}

impl Outage {
    /// What the call comes to; `None` if Redis does not answer, or did not a moment ago.
    pub(super) async fn unless_away<T>(&self, call: impl Future<Output = Option<T>>) -> Option<T> {
        let ask_at = self.ask_at.load(Ordering::Acquire);
        if ask_at != PRESENT {
            // Of those who come after the pause, one asks; the next pause holds for the others.
            let due = self.now() >= ask_at;
            let first = || {
                self.ask_at
                    .compare_exchange(ask_at, self.pause(), Ordering::AcqRel, Ordering::Acquire)
            };
            if !due || first().is_err() {
                return None;
            }
        }
        let answer = call.await;
        let next = if answer.is_some() { PRESENT } else { self.pause() };
        self.ask_at.store(next, Ordering::Release);
        answer
    }

    fn now(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn pause(&self) -> u64 {
        self.now() + u64::try_from(PAUSE.as_millis()).unwrap_or(u64::MAX / 2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn after_a_failure_one_call_a_second_is_made_until_one_succeeds() {
        let (mut outage, calls) = (Outage::default(), AtomicU64::new(0));
        let call = |answer: Option<()>| {
            let calls = &calls;
            async move {
                calls.fetch_add(1, Ordering::Relaxed);
                answer
            }
        };
        for _ in 0..100 {
            assert_eq!(outage.unless_away(call(None)).await, None);
        }
        assert_eq!(calls.load(Ordering::Relaxed), 1);
        // As if the pause were over.
        outage.epoch -= PAUSE;
        for _ in 0..100 {
            assert_eq!(outage.unless_away(call(None)).await, None);
        }
        assert_eq!(calls.load(Ordering::Relaxed), 2);
        // As if the pause were over.
        outage.epoch -= PAUSE;
        for _ in 0..100 {
            assert_eq!(outage.unless_away(call(Some(()))).await, Some(()));
        }
        assert_eq!(calls.load(Ordering::Relaxed), 102);
    }
}
