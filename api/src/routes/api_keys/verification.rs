//! The shapes of a key's verification.

use std::{net::IpAddr, num::NonZeroU32, time::Duration};

use latchkey_shared::{
    auth::{Verification, Verified, VerifyCode},
    limit::{Scope, Standing},
};
use poem_openapi::{
    Enum, Object,
    types::{Any, Example},
};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::model::{EnvironmentView, OwnerView};
use crate::{
    problem::{Failure, FieldError, ProblemCode},
    time::Timestamp,
};

/// What is asked about a key.
#[derive(Object)]
#[oai(deny_unknown_fields, example)]
pub(super) struct VerifyApiKeyRequest {
    /// The key, whole.
    #[oai(validator(max_length = 1024))]
    key: String,
    /// What it is to be used for: all of these.
    #[oai(validator(max_items = 100, max_length = 128))]
    permissions: Option<Vec<String>>,
    /// Where it is used from. A key that is held to certain addresses is refused without it.
    #[oai(validator(max_length = 64))]
    client_ip: Option<String>,
    /// So many uses of its rate limit; one, if absent.
    #[oai(validator(minimum(value = "1"), maximum(value = "1000")))]
    cost: Option<u32>,
}

impl Example for VerifyApiKeyRequest {
    fn example() -> Self {
        Self {
            key: "lk_live_…".to_owned(),
            permissions: Some(vec!["users:read".to_owned()]),
            client_ip: Some("203.0.113.9".to_owned()),
            cost: None,
        }
    }
}

impl VerifyApiKeyRequest {
    pub(super) fn read(self) -> Result<Verification, Failure> {
        let address = self.client_ip.map(|text| text.parse::<IpAddr>()).transpose();
        let client_ip = address.map_err(|_| {
            let field = FieldError::new("/client_ip", "invalid_format", "client_ip is no address");
            Failure::fields(ProblemCode::ValidationFailed, vec![field])
        })?;
        Ok(Verification {
            key: self.key,
            permissions: self.permissions.unwrap_or_default(),
            client_ip,
            cost: self.cost.and_then(NonZeroU32::new).unwrap_or(NonZeroU32::MIN),
        })
    }
}

/// What a key is worth, as a stable word.
#[derive(Enum)]
#[oai(rename = "ApiKeyVerificationCode", rename_all = "snake_case")]
enum CodeView {
    Valid,
    NotFound,
    Expired,
    Revoked,
    InsufficientPermissions,
    IpDenied,
    RateLimited,
    OwnerDisabled,
}

impl From<VerifyCode> for CodeView {
    fn from(code: VerifyCode) -> Self {
        match code {
            VerifyCode::Valid => Self::Valid,
            VerifyCode::NotFound => Self::NotFound,
            VerifyCode::Expired => Self::Expired,
            VerifyCode::Revoked => Self::Revoked,
            VerifyCode::InsufficientPermissions => Self::InsufficientPermissions,
            VerifyCode::IpDenied => Self::IpDenied,
            VerifyCode::RateLimited => Self::RateLimited,
            VerifyCode::OwnerDisabled => Self::OwnerDisabled,
        }
    }
}

/// Where a key stands with its own limit.
#[derive(Object)]
#[oai(rename = "ApiKeyRateLimitStanding")]
struct StandingView {
    /// Uses in the limit's window.
    limit: u32,
    /// So many are left.
    remaining: u32,
    /// Until all of them are there again; to who has used too many, until this use would pass.
    reset_seconds: u64,
}

impl From<Standing> for StandingView {
    fn from(standing: Standing) -> Self {
        let seconds = |wait: Duration| wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        let is_refused = !standing.wait.is_zero();
        Self {
            limit: standing.rate.count.get(),
            remaining: standing.remaining,
            reset_seconds: seconds(if is_refused {
                standing.wait
            } else {
                standing.whole_in
            }),
        }
    }
}

/// What a key is worth.
#[derive(Object)]
#[oai(rename = "ApiKeyVerification")]
pub(super) struct VerificationView {
    /// Whether it counts for what is asked.
    valid: bool,
    /// Why, or why not.
    code: CodeView,
    key_id: Option<Uuid>,
    owner: Option<OwnerView>,
    environment: Option<EnvironmentView>,
    /// What it may do now; nothing, if it does not count.
    scopes: Vec<String>,
    expires_at: Option<Timestamp>,
    /// Of a key that has one, and comes as far as it.
    #[oai(skip_serializing_if_is_none)]
    rate_limit: Option<StandingView>,
    metadata: Option<Any<Map<String, Value>>>,
}

impl From<Verified> for VerificationView {
    fn from(verified: Verified) -> Self {
        let Verified {
            code,
            key,
            permissions,
            verdict,
        } = verified;
        let key = key.as_deref();
        Self {
            valid: code == VerifyCode::Valid,
            code: code.into(),
            key_id: key.map(|key| key.id.0),
            owner: key.map(|key| key.owner.into()),
            environment: key.map(|key| key.environment.into()),
            scopes: permissions.iter().map(str::to_owned).collect(),
            expires_at: key.and_then(|key| key.expires_at).map(Into::into),
            rate_limit: verdict.and_then(|verdict| verdict.of(Scope::Key)).map(Into::into),
            metadata: key.map(|key| Any(key.metadata.clone())),
        }
    }
}
