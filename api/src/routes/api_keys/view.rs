//! The shapes of what is shown of keys.

use latchkey_shared::api_key::{ApiKey, CreatedKey, UsageHour};
use poem_openapi::{Object, types::Any};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::model::{EnvironmentView, OwnerView, RateLimitView, StatusView};
use crate::time::Timestamp;

/// A key, without its text.
#[derive(Object)]
#[oai(rename = "ApiKey")]
pub(super) struct ApiKeyView {
    id: Uuid,
    name: String,
    /// Its beginning and its last four characters.
    hint: String,
    environment: EnvironmentView,
    owner: OwnerView,
    /// What it may do, as far as its owner may.
    scopes: Vec<String>,
    status: StatusView,
    /// Where it may be used from; from anywhere, if empty.
    allowed_cidrs: Vec<String>,
    rate_limit: Option<RateLimitView>,
    metadata: Any<Map<String, Value>>,
    created_at: Timestamp,
    updated_at: Timestamp,
    expires_at: Option<Timestamp>,
    /// The key whose place it took.
    rotated_from: Option<Uuid>,
    /// The key that has taken its place.
    rotated_to: Option<Uuid>,
    /// Until when it works beside that one.
    retires_at: Option<Timestamp>,
    revoked_at: Option<Timestamp>,
    /// `revoked`, `batch` or `leaked`.
    revoke_reason: Option<String>,
    /// When it was last used, to half a minute.
    last_used_at: Option<Timestamp>,
}

impl From<ApiKey> for ApiKeyView {
    fn from(key: ApiKey) -> Self {
        let ApiKey {
            id,
            name,
            hint,
            environment,
            owner,
            scopes,
            status,
            allowed_cidrs,
            rate_limit,
            metadata,
            created_at,
            updated_at,
            expires_at,
            rotated_from,
            rotated_to,
            retires_at,
            revoked_at,
            revoke_reason,
            last_used_at,
        } = key;
        Self {
            id: id.0,
            name,
            hint,
            environment: environment.into(),
            owner: owner.into(),
            scopes,
            status: status.into(),
            allowed_cidrs,
            rate_limit: rate_limit.map(Into::into),
            metadata: Any(metadata),
            created_at: created_at.into(),
            updated_at: updated_at.into(),
            expires_at: expires_at.map(Into::into),
            rotated_from: rotated_from.map(|id| id.0),
            rotated_to: rotated_to.map(|id| id.0),
            retires_at: retires_at.map(Into::into),
            revoked_at: revoked_at.map(Into::into),
            revoke_reason,
            last_used_at: last_used_at.map(Into::into),
        }
    }
}

/// A new key.
#[derive(Object)]
#[oai(rename = "CreatedApiKey")]
pub(super) struct CreatedApiKeyView {
    /// The credential itself; shown this once.
    key: String,
    api_key: ApiKeyView,
    /// The key whose place it takes, where it was rotated.
    #[oai(skip_serializing_if_is_none)]
    rotated_from: Option<Uuid>,
}

impl From<CreatedKey> for CreatedApiKeyView {
    fn from(created: CreatedKey) -> Self {
        let CreatedKey { key, text } = created;
        Self {
            key: text.expose().clone(),
            rotated_from: key.rotated_from.map(|id| id.0),
            api_key: key.into(),
        }
    }
}

/// An hour's use of a key.
#[derive(Object)]
#[oai(rename = "ApiKeyUsageHour")]
struct UsageHourView {
    /// Its begin.
    hour: Timestamp,
    /// So often the key was good.
    verified: i64,
    /// So often it was refused.
    denied: i64,
}

/// How often a key was used.
#[derive(Object)]
#[oai(rename = "ApiKeyUsage")]
pub(super) struct UsageView {
    /// Hours in which it was, newest first.
    data: Vec<UsageHourView>,
}

impl From<Vec<UsageHour>> for UsageView {
    fn from(hours: Vec<UsageHour>) -> Self {
        let view = |hour: UsageHour| UsageHourView {
            hour: hour.hour.into(),
            verified: hour.verified,
            denied: hour.denied,
        };
        Self {
            data: hours.into_iter().map(view).collect(),
        }
    }
}
