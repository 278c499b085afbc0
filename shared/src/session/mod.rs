//! Sessions: a sign-in and everything that follows from it.
//!
//! A session is one family of refresh tokens, of which one is live. It ends when it is revoked, when it was not
//! refreshed for a while, at the end of its absolute lifetime, and when its user begins more than the tenant
//! allows. Its access tokens name it, so that its end is theirs.
//!
//! What must never happen: two live refresh tokens in one family; an access token that outlives its session by
//! more than a moment, on any process; a used refresh token that works again once its grace is over.

mod label;
mod lifetime;
mod proof;
mod revoked;
mod rotation;
mod seen;
mod service;
mod store;
mod tokens;

use chrono::{DateTime, Utc};
use serde_json::json;
use uuid::Uuid;

use self::lifetime::Lifetime;
pub use self::{
    proof::Proof,
    revoked::RevokedSessions,
    rotation::{RefreshError, Rotated},
    seen::LastSeen,
    service::{SessionError, SessionInfo, end, list, logout, logout_all},
};
pub(crate) use self::{
    proof::{BOTH_FACTORS, prove_again, second_factor_added},
    rotation::{end_forgotten, hold, rotate},
    service::{end_of, find_live, find_refreshable, hold_live, list_of},
};
pub use crate::entity::SessionRevokeReason as RevokeReason;
use crate::{
    audit::{self, Record},
    context::Change,
    crypto::token::Token,
    entity::session,
    error::Internal,
    id::{DeviceId, SessionId, TenantId, UserId},
    outbox::{self, event},
    postgres::Tx,
    secret::Secret,
    signal::SignalKind,
    tenant::SessionPolicy,
};

/// A session that has just begun or gone on.
pub struct Live {
    /// Which.
    pub id: SessionId,
    /// Whose.
    pub user: UserId,
    /// How and when its user proved to be that user.
    pub proof: Proof,
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
    const ALL: [Self; 3] = [Self::Password, Self::Totp, Self::RecoveryCode];

    fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|method| method.as_str() == word)
    }

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

/// Begins a session for a user who has signed in by every step the policy asks for. Whoever calls holds the user's row.
pub(crate) async fn begin(
    change: &mut Change<'_>,
    policy: &SessionPolicy,
    entry: Entry,
) -> Result<Live, Internal> {
    let Entry {
        user,
        methods,
        device,
        device_label,
    } = entry;
    let tokens = &change.context.config.tokens;
    let lifetime = Lifetime::of(tokens, policy);
    let (id, now) = (SessionId::new(change.now, &*change.context.random), change.now);
    let ends_at = lifetime.ends_at(now);
    let key = change.context.config.secrets.data_keys.current();
    let token = Token::of_session(change.tenant, id, key, &*change.context.random);
    let refresh_expires_at = lifetime.idle_until(now).min(ends_at);
    let reason = RevokeReason::TooManySessions;
    let row = session::Model {
        id,
        tenant_id: change.tenant,
        user_id: user,
        address: change.origin.address.map(|address| address.to_string()),
        user_agent: change.origin.user_agent.clone(),
        device_label,
        device_id: device,
        methods: methods.iter().map(|method| method.as_str().to_owned()).collect(),
        authenticated_at: Some(now),
        last_seen_at: Some(now),
        created_at: now,
        expires_at: ends_at,
        revoked_at: None,
        revoke_reason: None,
    };
    let beginning = store::Beginning {
        token: &token,
        refresh_expires_at,
        device_expires_at: now + tokens.device_ttl,
        limit: policy.max_per_user,
        reason: reason.as_str(),
    };
    let detail = json!({ "user_id": user, "methods": row.methods, "device_id": device });
    let surplus = store::begin(&change.tx, row, beginning).await?;
    audit::record(change, Record::success("session.create", "session", id.0, detail)).await?;
    let data = event::SessionCreated {
        session_id: id,
        user_id: user,
    };
    outbox::emit(change, Some(user), &data).await?;
    announce(change, user, &surplus, reason).await?;
    Ok(Live {
        id,
        user,
        proof: Proof { at: now, methods },
        ends_at,
        refresh_token: token.into_text(),
        refresh_expires_at,
    })
}

/// The device that a session belongs to, where it has signed in before.
pub(crate) async fn device(
    tx: &Tx,
    tenant: TenantId,
    id: SessionId,
) -> Result<Option<DeviceId>, sea_orm::DbErr> {
    store::device(tx, tenant, id).await
}

/// Ends a session, and with it its refresh and access tokens. Ending an ended session changes nothing.
pub(crate) async fn revoke(
    change: &mut Change<'_>,
    id: SessionId,
    reason: RevokeReason,
) -> Result<(), Internal> {
    let ended = store::revoke(&change.tx, change.tenant, id, reason.as_str(), change.now).await?;
    match ended {
        Some(user) => announce(change, user, &[id], reason).await,
        None => Ok(()),
    }
}

/// Ends all live sessions of a user, but for the one that is to stay; how many that were. However many there are,
/// it takes one statement each for their rows, the audit trail, the events and the signals.
pub(crate) async fn revoke_all(
    change: &mut Change<'_>,
    user: UserId,
    except: Option<SessionId>,
    reason: RevokeReason,
) -> Result<usize, Internal> {
    let (tenant, now) = (change.tenant, change.now);
    let ended = store::revoke_all(&change.tx, tenant, user, except, reason.as_str(), now).await?;
    announce(change, user, &ended, reason).await?;
    Ok(ended.len())
}

/// Tells the audit trail, the tenant's endpoints and every process of sessions that have ended.
async fn announce(
    change: &mut Change<'_>,
    user: UserId,
    ended: &[SessionId],
    reason: RevokeReason,
) -> Result<(), Internal> {
    if ended.is_empty() {
        return Ok(());
    }
    let revoked = |id: &SessionId| event::SessionRevoked {
        session_id: *id,
        user_id: user,
        reason,
    };
    let events: Vec<_> = ended.iter().map(revoked).collect();
    let ids: Vec<Uuid> = ended.iter().map(|id| id.0).collect();
    let targets = events.iter().map(|event| (event.session_id.0, json!(event)));
    audit::record_each(change, "session.revoke", "session", targets).await?;
    outbox::emit_each(change, Some(user), &events).await?;
    change.signal_each(SignalKind::SessionRevoked, &ids).await?;
    Ok(())
}
