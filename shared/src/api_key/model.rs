//! What is known of keys, and what can be wrong with them. Pure.

use std::{num::NonZeroU32, time::Duration};

use chrono::{DateTime, Utc};
use ipnet::IpNet;
use sea_orm::DbErr;
use serde_json::{Map, Value};

use super::KeyEnvironment;
use crate::{
    clock::Timestamp,
    config::Rate,
    entity::api_key,
    error::{Internal, internal_variant},
    id::ApiKeyId,
    outbox::event::KeyDetails,
    principal::Subject,
    secret::Secret,
};

/// Why nothing was done to a key.
#[derive(Debug, thiserror::Error)]
pub enum ApiKeyError {
    /// The tenant has no such key.
    #[error("there is no such key")]
    NotFound,
    /// The tenant knows no such permission; which of those named.
    #[error("there is no such permission")]
    UnknownScope(usize),
    /// The scopes are more than the caller holds, or the key would act for somebody else.
    #[error("nobody grants what they do not hold, or acts in another's name")]
    Escalation,
    /// The caller's own key or session has ended meanwhile.
    #[error("the credential has ended")]
    CallerEnded,
    /// The tenant has no such service account.
    #[error("there is no such service account")]
    UnknownOwner,
    /// That is no address range; which of those named.
    #[error("expects an address or a range, as 203.0.113.0/24")]
    InvalidCidr(usize),
    /// There is more metadata than may be kept.
    #[error("metadata has more than {0} bytes of JSON")]
    MetadataTooLarge(usize),
    /// A key that has expired opens nothing.
    #[error("expects a time to come")]
    InvalidExpiry,
    /// No key was made before that.
    #[error("expects a year from 1 to 9999")]
    InvalidCreation,
    /// It has ended, or was replaced already.
    #[error("the key has ended, or was replaced already")]
    NotActive,
    /// A batch that names nothing would be everything.
    #[error("says of no key that it is meant")]
    NothingNamed,
    /// There are as many as there may be.
    #[error("there are at most {0} live keys")]
    LimitReached(u32),
    /// A failure inside.
    #[error(transparent)]
    Internal(Internal),
}

internal_variant!(ApiKeyError: Internal DbErr);

/// Where a key stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyStatus {
    /// It works.
    Active,
    /// It works for a while yet beside the one that has taken its place.
    Retiring,
    /// Its time is over.
    Expired,
    /// Somebody has ended it.
    Revoked,
}

/// A key as others may see it.
#[derive(Clone, Debug)]
pub struct ApiKey {
    /// Its id.
    pub id: ApiKeyId,
    /// For people.
    pub name: String,
    /// What of its text may be shown.
    pub hint: String,
    /// What it is meant for.
    pub environment: KeyEnvironment,
    /// In whose name it acts.
    pub owner: Subject,
    /// What it may do, as far as its owner may.
    pub scopes: Vec<String>,
    /// Where it stands.
    pub status: KeyStatus,
    /// Where it may be used from; empty for anywhere.
    pub allowed_cidrs: Vec<String>,
    /// How often it may be used.
    pub rate_limit: Option<Rate>,
    /// What the tenant keeps with it.
    pub metadata: Map<String, Value>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it last changed.
    pub updated_at: DateTime<Utc>,
    /// It ends then in any case.
    pub expires_at: Option<DateTime<Utc>>,
    /// The key whose place it took.
    pub rotated_from: Option<ApiKeyId>,
    /// The key that has taken its place.
    pub rotated_to: Option<ApiKeyId>,
    /// Until when it works beside that one.
    pub retires_at: Option<DateTime<Utc>>,
    /// When it was revoked.
    pub revoked_at: Option<DateTime<Utc>>,
    /// Why.
    pub revoke_reason: Option<String>,
    /// When it was last used, to a minute.
    pub last_used_at: Option<DateTime<Utc>>,
}

impl ApiKey {
    pub(super) fn of(row: api_key::Model, now: DateTime<Utc>) -> Self {
        let (status, owner, rate_limit) = (status(&row, now), owner(&row), rate(&row));
        let api_key::Model {
            id,
            tenant_id: _,
            hash: _,
            hint,
            name,
            environment,
            scopes,
            user_id: _,
            service_account_id: _,
            allowed_cidrs,
            rate_count: _,
            rate_seconds: _,
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
            expiry_told_at: _,
        } = row;
        Self {
            id,
            name,
            hint,
            environment,
            owner,
            scopes,
            status,
            allowed_cidrs,
            rate_limit,
            metadata: object(metadata),
            created_at,
            updated_at,
            expires_at,
            rotated_from,
            rotated_to,
            retires_at,
            revoked_at,
            revoke_reason,
            last_used_at,
        }
    }

    /// What the audit trail and the tenant's endpoints are told.
    pub(super) fn told(&self) -> KeyDetails {
        KeyDetails {
            key_id: self.id,
            name: self.name.clone(),
            hint: self.hint.clone(),
            environment: self.environment,
            owner: self.owner.into(),
            scopes: self.scopes.clone(),
            allowed_cidrs: self.allowed_cidrs.clone(),
            rate_limit: self.rate_limit.map(Into::into),
            expires_at: self.expires_at.map(Timestamp),
        }
    }
}

pub(super) fn object(metadata: Value) -> Map<String, Value> {
    match metadata {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

/// In whose name the key acts.
pub(super) fn owner(row: &api_key::Model) -> Subject {
    match (row.user_id, row.service_account_id) {
        (Some(user), _) => Subject::User(user),
        (None, Some(account)) => Subject::ServiceAccount(account),
        (None, None) => Subject::Tenant,
    }
}

pub(super) fn rate(row: &api_key::Model) -> Option<Rate> {
    let count = NonZeroU32::new(u32::try_from(row.rate_count?).ok()?)?;
    let seconds = u64::try_from(row.rate_seconds?).ok()?;
    Some(Rate {
        count,
        window: Duration::from_secs(seconds),
    })
}

pub(super) fn status(row: &api_key::Model, now: DateTime<Utc>) -> KeyStatus {
    let is_over = |end: Option<DateTime<Utc>>| end.is_some_and(|end| end <= now);
    if row.revoked_at.is_some() {
        KeyStatus::Revoked
    } else if is_over(row.expires_at) || is_over(row.retires_at) {
        KeyStatus::Expired
    } else if row.rotated_to.is_some() {
        KeyStatus::Retiring
    } else {
        KeyStatus::Active
    }
}

/// A key to be.
#[derive(Debug)]
pub struct NewApiKey {
    /// For people.
    pub name: String,
    /// What it is meant for.
    pub environment: KeyEnvironment,
    /// What it may do.
    pub scopes: Vec<String>,
    /// In whose name it is to act; in the caller's, where nothing is said.
    pub owner: Option<Subject>,
    /// It ends then in any case.
    pub expires_at: Option<DateTime<Utc>>,
    /// Where it may be used from; empty for anywhere.
    pub allowed_cidrs: Vec<String>,
    /// How often it may be used.
    pub rate_limit: Option<Rate>,
    /// What the tenant keeps with it.
    pub metadata: Map<String, Value>,
}

/// A new key and its text, which is shown this once.
#[derive(Debug)]
pub struct CreatedKey {
    /// The key.
    pub key: ApiKey,
    /// Its text.
    pub text: Secret<String>,
}

/// What to change of a key.
#[derive(Debug, Default)]
pub struct ApiKeyPatch {
    /// For people.
    pub name: Option<String>,
    /// What it may do.
    pub scopes: Option<Vec<String>>,
    /// It ends then in any case.
    pub expires_at: Option<Option<DateTime<Utc>>>,
    /// Where it may be used from.
    pub allowed_cidrs: Option<Vec<String>>,
    /// How often it may be used.
    pub rate_limit: Option<Option<Rate>>,
    /// What the tenant keeps with it.
    pub metadata: Option<Map<String, Value>>,
}

/// Which keys are listed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Filter {
    /// Those of one owner.
    pub owner: Option<Subject>,
    /// Those meant for this.
    pub environment: Option<KeyEnvironment>,
    /// Those that stand there.
    pub status: Option<KeyStatus>,
}

/// How often a key was used within an hour.
#[derive(Clone, Copy, Debug)]
pub struct UsageHour {
    /// The hour's begin.
    pub hour: DateTime<Utc>,
    /// So often it was good.
    pub verified: i64,
    /// So often it was refused.
    pub denied: i64,
}

/// Whether one of the ranges holds the address; an empty list holds every one.
pub(super) fn allows(cidrs: &[IpNet], address: Option<std::net::IpAddr>) -> bool {
    cidrs.is_empty()
        || address.is_some_and(|address| {
            let address = address.to_canonical();
            cidrs.iter().any(|range| range.contains(&address))
        })
}
