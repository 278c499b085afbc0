//! Whose jobs are pushed while the stream is long: of each tenant so many a second and no more, so that the burst of one
//! stands before nobody else's work. What is not pushed waits in PostgreSQL, and the sweep brings it as there is room.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use super::FULL_STREAM;
use crate::id::TenantId;

/// So often a tenant pushes a job while the stream is long, and so far it may be ahead of that.
const STEP: Duration = Duration::from_millis(10);
const AHEAD: Duration = Duration::from_secs(2);
/// A length that was seen longer ago says nothing.
const KNOWN: Duration = Duration::from_secs(1);
/// With more tenants it is time to forget those that are not ahead.
const TENANTS: usize = 10_000;

/// What one process knows of a stream and of who has pushed to it.
#[derive(Debug, Default)]
pub(super) struct Shares(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    long_until: Option<Instant>,
    /// When a tenant is no longer ahead.
    even_at: HashMap<TenantId, Instant>,
}

impl Shares {
    pub(super) fn saw(&self, length: usize, now: Instant) {
        self.state().long_until = (length >= FULL_STREAM).then(|| now + KNOWN);
    }

    /// Whether the tenant may push now.
    pub(super) fn admit(&self, tenant: TenantId, now: Instant) -> bool {
        let state = self.state();
        let even_at = state.even_at.get(&tenant);
        !state.is_long(now) || even_at.is_none_or(|at| *at <= now + AHEAD)
    }

    /// The tenant pushes so many.
    pub(super) fn charge(&self, tenant: TenantId, jobs: usize, now: Instant) {
        let mut state = self.state();
        if !state.is_long(now) {
            return;
        }
        if state.even_at.len() > TENANTS {
            state.even_at.retain(|_, at| *at > now);
        }
        let took = STEP.saturating_mul(u32::try_from(jobs).unwrap_or(u32::MAX));
        let at = state.even_at.entry(tenant).or_insert(now);
        *at = (*at).max(now) + took;
    }

    // Every state of it is a valid one.
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn is_long(&self, now: Instant) -> bool {
        self.long_until.is_some_and(|until| until > now)
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn while_the_stream_is_long_each_tenant_pushes_its_share() {
        let (shares, now) = (Shares::default(), Instant::now());
        let [one, other] = [1, 2].map(|id| TenantId(Uuid::from_u128(id)));
        let pushed = |tenant, now| {
            let pushes = std::iter::repeat_with(|| {
                let admitted = shares.admit(tenant, now);
                shares.charge(tenant, usize::from(admitted), now);
                admitted
            });
            pushes.take(1_000).filter(|admitted| *admitted).count()
        };
        assert_eq!(pushed(one, now), 1_000, "nothing is known");
        shares.saw(FULL_STREAM - 1, now);
        assert_eq!(pushed(one, now), 1_000, "it is short");
        shares.saw(FULL_STREAM, now);
        assert_eq!(pushed(one, now), 201);
        assert_eq!(pushed(other, now), 201, "has its own");
        let later = now + KNOWN / 2;
        assert_eq!(pushed(one, later), 50);
        assert_eq!(pushed(one, now + KNOWN), 1_000, "it was long");
        shares.charge(one, 1_000, later);
        assert!(!shares.admit(one, later), "many at once count as many");
    }
}
