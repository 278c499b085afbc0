//! The shape of a session.

use latchkey_shared::session::SessionInfo;
use poem_openapi::Object;
use uuid::Uuid;

use crate::time::Timestamp;

/// A sign-in that goes on.
#[derive(Object)]
#[oai(rename = "Session")]
pub(in crate::routes) struct SessionView {
    id: Uuid,
    created_at: Timestamp,
    /// To a minute or two.
    last_seen_at: Timestamp,
    /// It ends then in any case.
    expires_at: Timestamp,
    /// Where the sign-in came from.
    address: Option<String>,
    /// What the client said of itself.
    user_agent: Option<String>,
    /// What the client calls the device; else a short name for what it said of itself.
    device_label: Option<String>,
    /// How its user signed in: `amr` values (RFC 8176).
    methods: Vec<String>,
    /// Whether it is the session of this very request.
    current: bool,
}

impl From<SessionInfo> for SessionView {
    fn from(session: SessionInfo) -> Self {
        let SessionInfo {
            id,
            created_at,
            last_seen_at,
            expires_at,
            address,
            user_agent,
            device_label,
            methods,
            current,
        } = session;
        Self {
            id: id.0,
            created_at: created_at.into(),
            last_seen_at: last_seen_at.into(),
            expires_at: expires_at.into(),
            address,
            user_agent,
            device_label,
            methods,
            current,
        }
    }
}
