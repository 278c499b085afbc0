//! Times as the contract writes them.

use chrono::{DateTime, SubsecRound, Utc};

/// RFC 3339 with milliseconds: what is finer is cut off.
pub(crate) fn millis(at: DateTime<Utc>) -> DateTime<Utc> {
    at.trunc_subsecs(3)
}
