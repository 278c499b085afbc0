//! Every key in Redis is named here, its type, lifetime and reason on the line above.
//!
//! The braces are hash tags: what is used together in one command lives in one slot of a Redis Cluster.

use std::sync::Arc;

/// Builds the names under one prefix.
#[derive(Clone, Debug)]
pub struct Keys(Arc<str>);

impl Keys {
    /// Names below the prefix.
    #[must_use]
    pub fn new(prefix: &str) -> Self {
        Self(prefix.into())
    }

    pub(super) fn prefix(&self) -> &str {
        &self.0
    }

    // Stream, trimmed to about 100,000 entries: tells every API process of revocations and changes at once.
    // PostgreSQL holds the same for whoever misses it.
    /// The stream of signals.
    #[must_use]
    pub fn signals(&self) -> String {
        format!("{}:{{signals}}", self.0)
    }

    // Number, gone once the limit is whole again, a day at most: when that will be. All of them share a slot, because
    // the limits on one request are judged in one step; a server judges far more requests than threads can hash.
    /// The state of one rate limit. `subject` is a MAC, or a key's id: a dump of Redis names nobody.
    #[must_use]
    pub fn limit(&self, class: &str, scope: &str, subject: &str) -> String {
        format!("{}:{{limit}}:{class}:{scope}:{subject}", self.0)
    }
}

// Stream, entries deleted as they are acknowledged: the ids of work that is due. PostgreSQL holds the work.
/// The stream of one lane of the queue.
#[must_use]
pub fn queue(prefix: &str, lane: &str) -> String {
    format!("{prefix}:{{queue}}:{lane}")
}
