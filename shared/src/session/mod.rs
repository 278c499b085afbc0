//! Sessions: a sign-in and everything that follows from it.
//!
//! A session is one family of refresh tokens, of which one is live. It ends when it is revoked, when it was not
//! refreshed for a while, and at the end of its absolute lifetime. Its access tokens name it, so that its end is
//! theirs.
//!
//! What must never happen: two live refresh tokens in one family; an access token that outlives its session by
//! more than a moment, on any process; a used refresh token that works again once its grace is over.

mod revoked;
mod rotation;
mod store;

use chrono::{DateTime, Utc};
use sea_orm::{ActiveModelTrait, ActiveValue::Set, DbErr};
use serde_json::json;

pub use self::{
    revoked::RevokedSessions,
    rotation::{RefreshError, Rotated, rotate},
};
use crate::{
    audit::{self, Record},
    context::Change,
    crypto::token::{Kind, Token},
    entity::{refresh_token, session},
    error::Internal,
    id::{DeviceId, SessionId, TenantId, UserId},
    outbox::{self, EventType},
    postgres::Tx,
    secret::Secret,
    signal::SignalKind,
    tenant::SessionPolicy,
};

/// Why a session was ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RevokeReason {
    /// Its user asked for it.
    Logout,
    /// One of its refresh tokens came back after its time: someone else has it.
    RefreshTokenReuse,
    /// It was begun before the address was proven, by whoever registered it first.
    AccountTakenOver,
    /// The password was changed in another session.
    PasswordChanged,
    /// The password was reset by mail.
    PasswordReset,
    /// Its user deleted the account.
    AccountDeleted,
}

impl RevokeReason {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Logout => "logout",
            Self::RefreshTokenReuse => "refresh_token_reuse",
            Self::AccountTakenOver => "account_taken_over",
            Self::PasswordChanged => "password_changed",
            Self::PasswordReset => "password_reset",
            Self::AccountDeleted => "account_deleted",
        }
    }
}

/// A session that has just begun or gone on.
pub struct Live {
    /// Which.
    pub id: SessionId,
    /// Whose.
    pub user: UserId,
    /// It ends then in any case.
    pub ends_at: DateTime<Utc>,
    /// Continues it, once.
    pub refresh_token: Secret<String>,
    /// Until when the refresh token can be used.
    pub refresh_expires_at: DateTime<Utc>,
}

/// How a user proved to be that user: `amr` values (RFC 8176 section 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// A password.
    Password,
    /// A time-based code.
    Totp,
    /// A recovery code.
    RecoveryCode,
}

impl Method {
    /// The word in tokens and in the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Password => "pwd",
            Self::Totp => "otp",
            Self::RecoveryCode => "recovery",
        }
    }
}

/// Someone who may have a session.
pub(crate) struct Entry {
    /// Who.
    pub(crate) user: UserId,
    /// How that was proven.
    pub(crate) methods: Vec<Method>,
    /// The device, where it has signed in before.
    pub(crate) device: Option<DeviceId>,
    /// What the client calls the device.
    pub(crate) device_label: Option<String>,
}

/// Begins a session for a user who has signed in by every step the policy asks for.
pub(crate) async fn begin(
    change: &mut Change<'_>,
    _policy: &SessionPolicy,
    entry: Entry,
) -> Result<Live, Internal> {
    let Entry {
        user,
        methods,
        device,
        device_label,
    } = entry;
    let tokens = &change.context.config.tokens;
    let id = SessionId::new(change.now, &*change.context.random);
    let ends_at = change.now + tokens.session_ttl;
    let row = session::ActiveModel {
        id: Set(id),
        tenant_id: Set(change.tenant),
        user_id: Set(user),
        address: Set(change.origin.address.map(|address| address.to_string())),
        user_agent: Set(change.origin.user_agent.clone()),
        device_label: Set(device_label),
        device_id: Set(device),
        methods: Set(methods.iter().map(|method| method.as_str().to_owned()).collect()),
        authenticated_at: Set(Some(change.now)),
        last_seen_at: Set(Some(change.now)),
        created_at: Set(change.now),
        expires_at: Set(ends_at),
        revoked_at: Set(None),
        revoke_reason: Set(None),
    };
    row.insert(&change.tx).await?;
    let token = Token::new(Kind::Refresh, change.tenant, &*change.context.random);
    let refresh_expires_at = (change.now + tokens.refresh_ttl).min(ends_at);
    keep(change, id, &token, refresh_expires_at).await?;
    audit::record(
        change,
        Record::success("session.create", "session", id.0, json!({ "user_id": user })),
    )
    .await?;
    outbox::emit(
        change,
        EventType::SessionCreated,
        Some(user),
        &json!({ "session_id": id, "user_id": user }),
    )
    .await?;
    Ok(Live {
        id,
        user,
        ends_at,
        refresh_token: token.into_text(),
        refresh_expires_at,
    })
}

/// Stores the hash of a family's new live token.
async fn keep(
    change: &Change<'_>,
    id: SessionId,
    token: &Token,
    expires_at: DateTime<Utc>,
) -> Result<(), DbErr> {
    let row = refresh_token::ActiveModel {
        hash: Set(token.hash()),
        tenant_id: Set(change.tenant),
        session_id: Set(id),
        created_at: Set(change.now),
        expires_at: Set(expires_at),
        used_at: Set(None),
    };
    row.insert(&change.tx).await.map(drop)
}

/// The device that a session belongs to, where it has signed in before.
pub(crate) async fn device(tx: &Tx, tenant: TenantId, id: SessionId) -> Result<Option<DeviceId>, DbErr> {
    store::device(tx, tenant, id).await
}

/// Ends a session, and with it its refresh and access tokens. Ending an ended session changes nothing.
pub(crate) async fn revoke(
    change: &mut Change<'_>,
    id: SessionId,
    reason: RevokeReason,
) -> Result<(), Internal> {
    let Some(user) = store::revoke(&change.tx, change.tenant, id, reason.as_str(), change.now).await? else {
        return Ok(());
    };
    let detail = json!({ "session_id": id, "user_id": user, "reason": reason.as_str() });
    audit::record(
        change,
        Record::success("session.revoke", "session", id.0, detail.clone()),
    )
    .await?;
    outbox::emit(change, EventType::SessionRevoked, Some(user), &detail).await?;
    change.signal(SignalKind::SessionRevoked, id.0).await?;
    Ok(())
}
