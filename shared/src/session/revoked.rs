//! The sessions that have ended while access tokens of theirs may still be about, in memory.

use std::{sync::Arc, time::Duration};

use moka::sync::Cache;
use uuid::Uuid;

use crate::{
    id::SessionId,
    signal::{SignalKind, Signals},
};

/// Filled by the signals. A look-up is a hash and no network.
pub struct RevokedSessions {
    ended: Cache<Uuid, ()>,
    signals: Arc<Signals>,
}

/// This process has lost touch with the others, and cannot say what they have revoked.
#[derive(Debug, thiserror::Error)]
#[error("revocations are out of date")]
pub struct Stale;

impl RevokedSessions {
    /// An empty set that listens. It remembers a session for one lifetime of an access token, and some more.
    #[must_use]
    pub fn new(signals: Arc<Signals>, access_ttl: Duration) -> Self {
        // No bound on the number: to forget one early would revive its tokens.
        let ended = Cache::builder()
            .time_to_live(access_ttl + Duration::from_mins(1))
            .build();
        let set = ended.clone();
        signals.listen(move |signal| {
            if signal.kind == SignalKind::SessionRevoked {
                set.insert(signal.subject, ());
            }
        });
        Self { ended, signals }
    }

    /// Whether the session has ended.
    ///
    /// # Errors
    /// When this process cannot know.
    pub fn contains(&self, session: SessionId) -> Result<bool, Stale> {
        if self.ended.contains_key(&session.0) {
            return Ok(true);
        }
        if self.signals.is_fresh() {
            Ok(false)
        } else {
            Err(Stale)
        }
    }
}
