//! The shapes of what is asked about keys.

use std::{num::NonZeroU32, time::Duration};

use chrono::{DateTime, Utc};
use latchkey_shared::{
    api_key::{ApiKeyPatch, KeyEnvironment, KeyStatus, MAX_OVERLAP, NewApiKey, RevokeBatch},
    config::Rate,
    id::{ApiKeyId, ServiceAccountId, UserId},
    principal::Subject,
    secret::Secret,
};
use poem_openapi::{
    Enum, Object,
    types::{Example, MaybeUndefined},
};
use serde_json::{Map, json};
use uuid::Uuid;

use crate::{
    extract::Kept,
    json_object::JsonObject,
    problem::{Failure, FieldError, ProblemCode},
    routes::changed,
};

/// How long a rotated key works beside its successor, if nothing is said.
const OVERLAP: Duration = Duration::from_hours(24);

/// What a key is meant for; what that comes to is the tenant's to say.
#[derive(Clone, Copy, Enum)]
#[oai(rename = "ApiKeyEnvironment", rename_all = "snake_case")]
pub(super) enum EnvironmentView {
    Live,
    Test,
}

impl From<EnvironmentView> for KeyEnvironment {
    fn from(view: EnvironmentView) -> Self {
        match view {
            EnvironmentView::Live => Self::Live,
            EnvironmentView::Test => Self::Test,
        }
    }
}

impl From<KeyEnvironment> for EnvironmentView {
    fn from(environment: KeyEnvironment) -> Self {
        match environment {
            KeyEnvironment::Live => Self::Live,
            KeyEnvironment::Test => Self::Test,
        }
    }
}

/// Where a key stands; `retiring` is one that was replaced and works for a while yet.
#[derive(Clone, Copy, Enum)]
#[oai(rename = "ApiKeyStatus", rename_all = "snake_case")]
pub(super) enum StatusView {
    Active,
    Retiring,
    Expired,
    Revoked,
}

impl From<StatusView> for KeyStatus {
    fn from(view: StatusView) -> Self {
        match view {
            StatusView::Active => Self::Active,
            StatusView::Retiring => Self::Retiring,
            StatusView::Expired => Self::Expired,
            StatusView::Revoked => Self::Revoked,
        }
    }
}

impl From<KeyStatus> for StatusView {
    fn from(status: KeyStatus) -> Self {
        match status {
            KeyStatus::Active => Self::Active,
            KeyStatus::Retiring => Self::Retiring,
            KeyStatus::Expired => Self::Expired,
            KeyStatus::Revoked => Self::Revoked,
        }
    }
}

/// The kinds of owners.
#[derive(Clone, Copy, Enum)]
#[oai(rename = "ApiKeyOwnerType", rename_all = "snake_case")]
pub(super) enum OwnerType {
    User,
    ServiceAccount,
    Tenant,
}

/// In whose name a key acts.
#[derive(Clone, Copy, Object)]
#[oai(rename = "ApiKeyOwner", deny_unknown_fields)]
pub(super) struct OwnerView {
    /// The kind.
    #[oai(rename = "type")]
    owner_type: OwnerType,
    /// Of the user or service account; none for the tenant.
    id: Option<Uuid>,
}

impl From<Subject> for OwnerView {
    fn from(owner: Subject) -> Self {
        let (owner_type, id) = match owner {
            Subject::User(user) => (OwnerType::User, Some(user.0)),
            Subject::ServiceAccount(account) => (OwnerType::ServiceAccount, Some(account.0)),
            Subject::Tenant => (OwnerType::Tenant, None),
        };
        Self { owner_type, id }
    }
}

/// The owner, if the kind has an id where it needs one.
fn subject(owner_type: OwnerType, id: Option<Uuid>) -> Result<Subject, &'static str> {
    match (owner_type, id) {
        (OwnerType::User, Some(id)) => Ok(Subject::User(UserId(id))),
        (OwnerType::ServiceAccount, Some(id)) => Ok(Subject::ServiceAccount(ServiceAccountId(id))),
        (OwnerType::Tenant, None) => Ok(Subject::Tenant),
        (OwnerType::Tenant, Some(_)) => Err("The tenant is named by its type alone."),
        (_, None) => Err("An owner of this type has an id."),
    }
}

/// The owner of a body.
fn owner(view: Option<OwnerView>) -> Result<Option<Subject>, Failure> {
    let fault = |detail: &str| {
        let field = FieldError::new("/owner/id", "invalid", detail);
        Failure::fields(ProblemCode::ValidationFailed, vec![field])
    };
    let read = |view: OwnerView| subject(view.owner_type, view.id).map_err(fault);
    view.map(read).transpose()
}

/// The owner that a list's parameters name.
pub(super) fn listed_owner(
    owner_type: Option<OwnerType>,
    id: Option<Uuid>,
) -> Result<Option<Subject>, Failure> {
    let fault = |pointer: &str, detail: &str| {
        let field = FieldError::new(pointer, "invalid", detail);
        Failure::fields(ProblemCode::InvalidParameter, vec![field])
    };
    match (owner_type, id) {
        (None, None) => Ok(None),
        (None, Some(_)) => Err(fault("/query/owner_type", "Say of which type the owner is.")),
        (Some(owner_type), id) => subject(owner_type, id)
            .map(Some)
            .map_err(|detail| fault("/query/owner_id", detail)),
    }
}

/// How often a key may be used.
#[derive(Clone, Copy, Object)]
#[oai(rename = "ApiKeyRateLimit", deny_unknown_fields)]
pub(super) struct RateLimitView {
    /// Uses.
    #[oai(validator(minimum(value = "1"), maximum(value = "1000000")))]
    limit: u32,
    /// In so many seconds.
    #[oai(validator(minimum(value = "1"), maximum(value = "86400")))]
    window_seconds: u32,
}

impl From<RateLimitView> for Rate {
    fn from(view: RateLimitView) -> Self {
        Self {
            count: NonZeroU32::new(view.limit).unwrap_or(NonZeroU32::MIN),
            window: Duration::from_secs(view.window_seconds.into()),
        }
    }
}

impl From<Rate> for RateLimitView {
    fn from(rate: Rate) -> Self {
        Self {
            limit: rate.count.get(),
            window_seconds: u32::try_from(rate.window.as_secs()).unwrap_or(u32::MAX),
        }
    }
}

/// A key to be.
#[derive(Object)]
#[oai(deny_unknown_fields, example)]
pub(super) struct CreateApiKeyRequest {
    /// For people.
    #[oai(validator(min_length = 1, max_length = 200))]
    name: String,
    /// What it is meant for.
    environment: EnvironmentView,
    /// Permissions that the caller holds.
    #[oai(validator(max_items = 100, max_length = 128))]
    scopes: Vec<String>,
    /// In whose name it acts; in the caller's, if absent.
    owner: Option<OwnerView>,
    /// It ends then in any case; never, if absent.
    expires_at: Option<DateTime<Utc>>,
    /// Where it may be used from: addresses and ranges. From anywhere, if absent or empty.
    #[oai(validator(max_items = 32, max_length = 64))]
    allowed_cidrs: Option<Vec<String>>,
    /// How often it may be used.
    rate_limit: Option<RateLimitView>,
    /// Anything, up to 4,096 bytes of JSON.
    metadata: Option<JsonObject>,
}

impl Example for CreateApiKeyRequest {
    fn example() -> Self {
        Self {
            name: "Nightly export".to_owned(),
            environment: EnvironmentView::Live,
            scopes: vec!["users:read".to_owned()],
            owner: None,
            expires_at: DateTime::from_timestamp(1_893_456_000, 0),
            allowed_cidrs: Some(vec!["203.0.113.0/24".to_owned()]),
            rate_limit: Some(RateLimitView {
                limit: 600,
                window_seconds: 60,
            }),
            metadata: Some(JsonObject(Map::from_iter([(
                "team".to_owned(),
                json!("finance"),
            )]))),
        }
    }
}

impl CreateApiKeyRequest {
    pub(super) fn read(self) -> Result<NewApiKey, Failure> {
        Ok(NewApiKey {
            name: self.name,
            environment: self.environment.into(),
            scopes: self.scopes,
            owner: owner(self.owner)?,
            expires_at: self.expires_at,
            allowed_cidrs: self.allowed_cidrs.unwrap_or_default(),
            rate_limit: self.rate_limit.map(Into::into),
            metadata: self.metadata.map(|metadata| metadata.0).unwrap_or_default(),
        })
    }
}

/// What to change of a key.
#[derive(Object)]
#[oai(deny_unknown_fields)]
pub(super) struct UpdateApiKeyRequest {
    /// For people.
    #[oai(validator(min_length = 1, max_length = 200))]
    name: Kept<String>,
    /// Replaces its scopes; those that it gains are permissions of the caller. Null leaves none.
    #[oai(validator(max_items = 100, max_length = 128))]
    scopes: MaybeUndefined<Vec<String>>,
    /// It ends then in any case; null for never.
    expires_at: MaybeUndefined<DateTime<Utc>>,
    /// Where it may be used from; null for anywhere.
    #[oai(validator(max_items = 32, max_length = 64))]
    allowed_cidrs: MaybeUndefined<Vec<String>>,
    /// How often it may be used; null for as often as anybody.
    rate_limit: MaybeUndefined<RateLimitView>,
    /// Replaces the metadata; null clears it.
    metadata: MaybeUndefined<JsonObject>,
}

impl From<UpdateApiKeyRequest> for ApiKeyPatch {
    fn from(request: UpdateApiKeyRequest) -> Self {
        let UpdateApiKeyRequest {
            name,
            scopes,
            expires_at,
            allowed_cidrs,
            rate_limit,
            metadata,
        } = request;
        Self {
            name: name.0,
            scopes: changed(scopes).map(Option::unwrap_or_default),
            expires_at: changed(expires_at),
            allowed_cidrs: changed(allowed_cidrs).map(Option::unwrap_or_default),
            rate_limit: changed(rate_limit).map(|rate| rate.map(Into::into)),
            metadata: changed(metadata).map(|metadata| metadata.map(|fields| fields.0).unwrap_or_default()),
        }
    }
}

/// How to replace a key.
#[derive(Object)]
#[oai(deny_unknown_fields)]
pub(super) struct RotateApiKeyRequest {
    /// For so long the old key works beside the new one.
    #[oai(validator(minimum(value = "0"), maximum(value = "604800")))]
    overlap_seconds: Option<u32>,
}

impl RotateApiKeyRequest {
    pub(super) fn overlap(&self) -> Duration {
        let seconds = self
            .overlap_seconds
            .map(|seconds| Duration::from_secs(seconds.into()));
        seconds.unwrap_or(OVERLAP).min(MAX_OVERLAP)
    }
}

/// Which keys are meant.
#[derive(Object)]
#[oai(deny_unknown_fields)]
pub(super) struct RevokeApiKeysRequest {
    /// By id.
    #[oai(validator(max_items = 1000))]
    ids: Option<Vec<Uuid>>,
    /// By the keys themselves.
    #[oai(validator(max_items = 1000, max_length = 128))]
    keys: Option<Vec<String>>,
    /// Those of one owner.
    owner: Option<OwnerView>,
    /// Those that were made earlier than that.
    created_before: Option<DateTime<Utc>>,
}

impl RevokeApiKeysRequest {
    pub(super) fn read(self) -> Result<RevokeBatch, Failure> {
        Ok(RevokeBatch {
            ids: self.ids.map(|ids| ids.into_iter().map(ApiKeyId).collect()),
            keys: self.keys.map(|keys| keys.into_iter().map(Secret::new).collect()),
            owner: owner(self.owner)?,
            created_before: self.created_before,
        })
    }
}

/// How many keys were revoked.
#[derive(Object)]
#[oai(rename = "RevokedApiKeys")]
pub(super) struct RevokedView {
    revoked: u64,
}

impl RevokedView {
    pub(super) fn of(revoked: usize) -> Self {
        Self {
            revoked: revoked as u64,
        }
    }
}

/// Keys that were found where they should not be.
#[derive(Object)]
#[oai(deny_unknown_fields)]
pub(super) struct ReportLeakedApiKeysRequest {
    /// The keys, whole.
    #[oai(validator(min_items = 1, max_items = 20, max_length = 128))]
    pub(super) keys: Vec<String>,
    /// Where they were found.
    #[oai(validator(max_length = 2048))]
    pub(super) source_url: Option<String>,
}

#[derive(Enum)]
#[oai(rename = "LeakReportStatus", rename_all = "snake_case")]
enum ReportStatus {
    Received,
}

/// The report was taken.
#[derive(Object)]
#[oai(rename = "LeakReport")]
pub(super) struct ReportedView {
    status: ReportStatus,
}

impl ReportedView {
    pub(super) fn taken() -> Self {
        Self {
            status: ReportStatus::Received,
        }
    }
}
