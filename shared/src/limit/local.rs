//! The limits of one process, for while Redis is away. Several processes are together as generous as they are many.

use std::{sync::Arc, time::Duration};

use governor::{
    Quota, RateLimiter,
    clock::{Clock, MonotonicClock},
    middleware::StateInformationMiddleware,
    state::{InMemoryState, NotKeyed},
};
use moka::sync::Cache;

use super::{Policy, Standing, Verdict, burst, interval, micros, standing};

type Bucket = RateLimiter<NotKeyed, InMemoryState, MonotonicClock, StateInformationMiddleware>;

/// Subjects that are counted at once. Beyond that those seen least are forgotten, so that whoever comes from ever
/// new addresses costs no more memory, and does not drive out who keeps asking.
const CAPACITY: u64 = 100_000;
/// Longer than any window that an attacker could wait for; after it a bucket is whole in any case.
const IDLE: Duration = Duration::from_hours(24);

/// Buckets in memory.
pub(super) struct Local {
    buckets: Cache<String, Arc<Bucket>>,
}

impl Local {
    pub(super) fn new() -> Self {
        let buckets = Cache::builder().max_capacity(CAPACITY).time_to_idle(IDLE).build();
        Self { buckets }
    }

    /// Judges a request by each of the limits in turn. What an earlier one has counted stays counted when a later one
    /// refuses: here, and only here, a refused request may use something up.
    pub(super) fn judge(&self, policies: &[Policy]) -> Verdict {
        let mut verdict = Verdict::default();
        for policy in policies {
            let standing = self.take(policy);
            verdict.0.push((policy.scope, standing));
            if !standing.wait.is_zero() {
                break;
            }
        }
        verdict
    }

    fn take(&self, policy: &Policy) -> Standing {
        let rate = policy.rate;
        // A limit that is changed begins anew.
        let key = format!("{} {}/{}", policy.key, rate.count, rate.window.as_secs());
        let bucket = self.buckets.get_with(key, || {
            let quota = Quota::with_period(interval(rate))
                .unwrap_or(Quota::per_second(rate.count))
                .allow_burst(rate.count);
            Arc::new(RateLimiter::direct_with_clock(quota, MonotonicClock).with_middleware())
        });
        let (wait, remaining) = match bucket.check_n(policy.cost) {
            Ok(Ok(state)) => (Duration::ZERO, state.remaining_burst_capacity()),
            Ok(Err(until)) => (until.wait_time_from(bucket.clock().now()), 0),
            // Worth more than all requests of the limit together.
            Err(_) => (interval(rate) * policy.cost.get(), 0),
        };
        let owed = burst(rate).saturating_sub(interval(rate) * remaining);
        standing(rate, micros(wait), micros(owed))
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;
    use crate::limit::Scope;

    #[test]
    fn the_limit_is_exact_and_refuses_the_next_one() {
        let local = Local::new();
        let policy = Policy {
            scope: Scope::Address,
            rate: "3/3600".parse().unwrap(),
            cost: NonZeroU32::MIN,
            key: "key".to_owned(),
        };
        for remaining in [2, 1, 0] {
            let verdict = local.judge(std::slice::from_ref(&policy));
            assert_eq!(verdict.refused_for(), None);
            assert_eq!(verdict.of(Scope::Address).unwrap().remaining, remaining);
        }
        let wait = local.judge(&[policy]).refused_for().unwrap();
        assert!(
            wait > Duration::from_secs(1190) && wait <= Duration::from_mins(20),
            "{wait:?}"
        );
    }
}
