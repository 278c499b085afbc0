//! The shapes of the audit trail.

use latchkey_shared::audit::AuditEvent;
use poem_openapi::Object;
use serde_json::Value;
use uuid::Uuid;

use crate::{json_object::JsonObject, time::Timestamp};

/// Something that was done, or tried.
#[derive(Object)]
#[oai(rename = "AuditEvent")]
pub(super) struct AuditEventView {
    id: Uuid,
    /// `user`, `api_key`, `anonymous` (nobody had signed in) or `system` (Latchkey itself).
    actor_kind: String,
    /// The user or the API key.
    actor_id: Option<Uuid>,
    /// What was done, as `user.create`.
    action: String,
    /// What it was done to, as `user`.
    target_kind: Option<String>,
    target_id: Option<Uuid>,
    /// `success` or `failure`.
    outcome: String,
    /// `X-Request-Id` of the request.
    request_id: Option<String>,
    /// The client's address.
    address: Option<String>,
    /// What else is worth knowing; never a secret.
    detail: JsonObject,
    created_at: Timestamp,
}

impl From<AuditEvent> for AuditEventView {
    fn from(event: AuditEvent) -> Self {
        let AuditEvent {
            id,
            tenant_id: _,
            mac: _,
            mac_key: _,
            actor_kind,
            actor_id,
            action,
            target_kind,
            target_id,
            outcome,
            request_id,
            address,
            detail,
            created_at,
        } = event;
        // Only ever objects, but for what somebody else has put there.
        let detail = match detail {
            Value::Object(fields) => fields,
            other => [("value".to_owned(), other)].into_iter().collect(),
        };
        Self {
            id: id.0,
            actor_kind,
            actor_id,
            action,
            target_kind,
            target_id,
            outcome,
            request_id,
            address,
            detail: JsonObject(detail),
            created_at: created_at.into(),
        }
    }
}
