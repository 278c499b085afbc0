//! Of sessions.

use schemars::JsonSchema;
use serde::Serialize;

use super::{EventType, Payload, id};
use crate::{
    entity::SessionRevokeReason,
    id::{SessionId, UserId},
};

/// Someone signed in.
#[derive(Debug, Serialize, JsonSchema)]
pub struct SessionCreated {
    /// The session's id.
    pub session_id: SessionId,
    /// Who signed in.
    pub user_id: UserId,
}

impl Payload for SessionCreated {
    const TYPE: EventType = EventType::SessionCreated;

    fn example() -> Self {
        Self {
            session_id: SessionId(id(5)),
            user_id: UserId(id(2)),
        }
    }
}

/// A session has ended before its time.
#[derive(Debug, Serialize, JsonSchema)]
pub struct SessionRevoked {
    /// The session's id.
    pub session_id: SessionId,
    /// Whose session it was.
    pub user_id: UserId,
    /// Why it ended.
    pub reason: SessionRevokeReason,
}

impl Payload for SessionRevoked {
    const TYPE: EventType = EventType::SessionRevoked;

    fn example() -> Self {
        Self {
            session_id: SessionId(id(5)),
            user_id: UserId(id(2)),
            reason: SessionRevokeReason::Logout,
        }
    }
}
