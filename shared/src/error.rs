//! What went wrong that no caller can mend.

use std::sync::Arc;

use sea_orm::DbErr;

use crate::crypto::{password::HashError, seal::SealBroken};

type Source = Box<dyn std::error::Error + Send + Sync>;

/// A failure inside. Its source is for the log, never for a client.
#[derive(Debug, thiserror::Error)]
pub enum Internal {
    /// A part we depend on does not answer; the same request may succeed in a moment.
    #[error("unavailable: {0}")]
    Unavailable(#[source] Source),
    /// A fault of ours.
    #[error("fault: {0}")]
    Fault(#[source] Source),
}

impl Internal {
    /// A fault that has no error of its own.
    pub fn fault(source: impl Into<Source>) -> Self {
        Self::Fault(source.into())
    }

    /// A dependency that does not answer.
    pub fn unavailable(source: impl Into<Source>) -> Self {
        Self::Unavailable(source.into())
    }

    /// A failure that others hear of as well.
    #[must_use]
    pub fn shared(error: Arc<Self>) -> Self {
        match *error {
            Self::Unavailable(_) => Self::unavailable(error),
            Self::Fault(_) => Self::fault(error),
        }
    }
}

impl From<DbErr> for Internal {
    fn from(error: DbErr) -> Self {
        match error {
            DbErr::ConnectionAcquire(_) | DbErr::Conn(_) => Self::unavailable(error),
            _ if is_connection_loss(&error) => Self::unavailable(error),
            _ => Self::fault(error),
        }
    }
}

/// A statement that broke off because the server went away, was restarted or is at its limit.
fn is_connection_loss(error: &DbErr) -> bool {
    let text = error.to_string().to_lowercase();
    let signs = [
        "terminating connection",
        "the database system is",
        "connection reset",
        "broken pipe",
        "connection refused",
        "expected to read",
        "statement timeout",
        "deadlock detected",
    ];
    signs.iter().any(|sign| text.contains(sign))
}

macro_rules! faults {
    ($($error:ty)*) => {$(
        impl From<$error> for Internal {
            fn from(error: $error) -> Self {
                Self::fault(error)
            }
        }
    )*};
}

faults! { HashError SealBroken serde_json::Error minijinja::Error jsonwebtoken::errors::Error }

/// Lets `?` turn what lies below into the `Internal` variant of a feature's own error.
macro_rules! internal_variant {
    ($feature:ty: $($error:ty)*) => {$(
        impl From<$error> for $feature {
            fn from(error: $error) -> Self {
                Self::Internal(error.into())
            }
        }
    )*};
}
pub(crate) use internal_variant;
