//! How long sessions last: what the installation allows, shortened by what the tenant asks for. Pure.

use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::{config, tenant::SessionPolicy};

/// The limits that hold in one tenant.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lifetime {
    idle: Duration,
    absolute: Duration,
}

impl Lifetime {
    pub(super) fn of(tokens: &config::Tokens, policy: &SessionPolicy) -> Self {
        Self {
            idle: shorter(tokens.refresh_ttl, policy.idle_seconds),
            absolute: shorter(tokens.session_ttl, policy.absolute_seconds),
        }
    }

    /// When a session ends in any case.
    pub(super) fn ends_at(&self, began_at: DateTime<Utc>) -> DateTime<Utc> {
        began_at + self.absolute
    }

    /// When a session ends that is not refreshed any more.
    pub(super) fn idle_until(&self, refreshed_at: DateTime<Utc>) -> DateTime<Utc> {
        refreshed_at + self.idle
    }
}

/// Since when a session and the refresh token that continues it stand, and until when at most.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    pub(super) began: DateTime<Utc>,
    pub(super) refreshed: DateTime<Utc>,
    /// As was promised then.
    pub(super) session_end: DateTime<Utc>,
    pub(super) token_end: DateTime<Utc>,
}

impl Span {
    /// When the session ends in any case, by what was promised and by what the tenant asks for now.
    pub(super) fn ends_at(&self, lifetime: &Lifetime) -> DateTime<Utc> {
        self.session_end.min(lifetime.ends_at(self.began))
    }

    /// Until when the token can be used.
    pub(super) fn usable_until(&self, lifetime: &Lifetime) -> DateTime<Utc> {
        self.token_end
            .min(lifetime.idle_until(self.refreshed))
            .min(self.ends_at(lifetime))
    }
}

fn shorter(installed: Duration, asked_for: Option<u32>) -> Duration {
    asked_for.map_or(installed, |seconds| {
        installed.min(Duration::from_secs(seconds.into()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_can_shorten_a_session_and_not_lengthen_it() {
        let minute = Duration::from_mins(1);
        assert_eq!(shorter(minute, None), minute);
        assert_eq!(shorter(minute, Some(10)), Duration::from_secs(10));
        assert_eq!(shorter(minute, Some(100)), minute);
    }
}
