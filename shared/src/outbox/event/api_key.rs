//! Of API keys.

use schemars::JsonSchema;
use serde::Serialize;
use uuid::Uuid;

use super::{EventType, Payload, id, instant};
use crate::{
    clock::Timestamp,
    config::Rate,
    entity::{KeyEnvironment, KeyRevokeReason},
    id::{ApiKeyId, ServiceAccountId, UserId},
    principal::Subject,
};

/// A key: everything but its metadata, which is the tenant's own and may be long.
#[derive(Debug, Serialize, JsonSchema)]
pub struct KeyDetails {
    /// The key's id.
    pub key_id: ApiKeyId,
    /// Its name, for people.
    pub name: String,
    /// What of its text may be shown.
    pub hint: String,
    /// What it is meant for.
    pub environment: KeyEnvironment,
    /// In whose name it acts.
    pub owner: KeyOwner,
    /// What it may do, as far as its owner may.
    pub scopes: Vec<String>,
    /// Where it may be used from; empty for anywhere.
    pub allowed_cidrs: Vec<String>,
    /// How often it may be used; null for no limit of its own.
    pub rate_limit: Option<KeyRateLimit>,
    /// When it ends; null for never.
    pub expires_at: Option<Timestamp>,
}

impl KeyDetails {
    fn example() -> Self {
        Self {
            key_id: ApiKeyId(id(6)),
            name: "CI".to_owned(),
            hint: "lk_live_a1b2…".to_owned(),
            environment: KeyEnvironment::Live,
            owner: Subject::ServiceAccount(ServiceAccountId(id(7))).into(),
            scopes: vec!["users:read".to_owned()],
            allowed_cidrs: vec!["203.0.113.0/24".to_owned()],
            rate_limit: Some(KeyRateLimit {
                limit: 100,
                window_seconds: 60,
            }),
            expires_at: Some(instant()),
        }
    }
}

/// In whose name a key acts.
#[derive(Debug, Serialize, JsonSchema)]
pub struct KeyOwner {
    /// What the owner is.
    #[serde(rename = "type")]
    pub kind: OwnerKind,
    /// The owner's id; null for the tenant.
    pub id: Option<Uuid>,
}

/// What a key's owner is.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OwnerKind {
    /// A user.
    User,
    /// A service account.
    ServiceAccount,
    /// The tenant as a whole.
    Tenant,
}

impl From<Subject> for KeyOwner {
    fn from(owner: Subject) -> Self {
        let (kind, id) = match owner {
            Subject::User(UserId(id)) => (OwnerKind::User, Some(id)),
            Subject::ServiceAccount(ServiceAccountId(id)) => (OwnerKind::ServiceAccount, Some(id)),
            Subject::Tenant => (OwnerKind::Tenant, None),
        };
        Self { kind, id }
    }
}

/// How often a key may be used.
#[derive(Debug, Serialize, JsonSchema)]
pub struct KeyRateLimit {
    /// So many uses.
    pub limit: u32,
    /// In so many seconds.
    pub window_seconds: u64,
}

impl From<Rate> for KeyRateLimit {
    fn from(rate: Rate) -> Self {
        Self {
            limit: rate.count.get(),
            window_seconds: rate.window.as_secs(),
        }
    }
}

/// An API key was made.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(transparent)]
pub struct ApiKeyCreated(pub KeyDetails);

impl Payload for ApiKeyCreated {
    const TYPE: EventType = EventType::ApiKeyCreated;

    fn example() -> Self {
        Self(KeyDetails::example())
    }
}

/// An API key will expire soon.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(transparent)]
pub struct ApiKeyExpiring(pub KeyDetails);

impl Payload for ApiKeyExpiring {
    const TYPE: EventType = EventType::ApiKeyExpiring;

    fn example() -> Self {
        Self(KeyDetails::example())
    }
}

/// An API key was replaced.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ApiKeyRotated {
    /// The new key's id.
    pub key_id: ApiKeyId,
    /// The id of the key that it replaces.
    pub rotated_from: ApiKeyId,
    /// Until then that one works beside it.
    pub retires_at: Timestamp,
    /// The new key.
    pub key: KeyDetails,
}

impl Payload for ApiKeyRotated {
    const TYPE: EventType = EventType::ApiKeyRotated;

    fn example() -> Self {
        let key = KeyDetails::example();
        Self {
            key_id: key.key_id,
            rotated_from: ApiKeyId(id(8)),
            retires_at: instant(),
            key,
        }
    }
}

/// An API key was revoked.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ApiKeyRevoked {
    /// The key's id.
    pub key_id: ApiKeyId,
    /// Why it was revoked.
    pub reason: KeyRevokeReason,
}

impl Payload for ApiKeyRevoked {
    const TYPE: EventType = EventType::ApiKeyRevoked;

    fn example() -> Self {
        Self {
            key_id: ApiKeyId(id(6)),
            reason: KeyRevokeReason::Revoked,
        }
    }
}
