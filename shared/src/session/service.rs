//! What users do with their sessions.

use chrono::{DateTime, Utc};
use sea_orm::DbErr;

use super::{RevokeReason, announce, label, lifetime::Lifetime, revoke, revoke_all, store, tokens};
use crate::{
    context::{Change, Context},
    crypto::token::Token,
    entity::{session, user},
    error::{Internal, internal_variant},
    id::{SessionId, TenantId, UserId},
    page::{Page, PageRequest},
    postgres::Tx,
    principal::{Actor, Origin, UserSession},
    tenant::Tenant,
};

/// Why nothing was done to a session.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The caller has no such session.
    #[error("there is no such session")]
    NotFound,
    /// A failure inside.
    #[error(transparent)]
    Internal(Internal),
}

internal_variant!(SessionError: Internal DbErr);

/// A session as its user may see it.
#[derive(Clone, Debug)]
pub struct SessionInfo {
    /// Which.
    pub id: SessionId,
    /// When its user signed in.
    pub created_at: DateTime<Utc>,
    /// When it was used last, to a minute or two.
    pub last_seen_at: DateTime<Utc>,
    /// It ends then in any case.
    pub expires_at: DateTime<Utc>,
    /// Where the sign-in came from.
    pub address: Option<String>,
    /// What the client said of itself.
    pub user_agent: Option<String>,
    /// What its user calls the device, or a short name for what the client said.
    pub device_label: Option<String>,
    /// How its user signed in: `amr` values (RFC 8176).
    pub methods: Vec<String>,
    /// Whether it is the session that asks.
    pub current: bool,
}

impl SessionInfo {
    fn of(row: session::Model, current: Option<SessionId>) -> Self {
        let session::Model {
            id,
            tenant_id: _,
            user_id: _,
            address,
            user_agent,
            device_label,
            device_id: _,
            methods,
            authenticated_at: _,
            last_seen_at,
            created_at,
            expires_at,
            revoked_at: _,
            revoke_reason: _,
        } = row;
        Self {
            id,
            created_at,
            last_seen_at: last_seen_at.unwrap_or(created_at),
            expires_at,
            address,
            device_label: device_label.or_else(|| label::of_user_agent(user_agent.as_deref()?)),
            user_agent,
            methods,
            current: current == Some(id),
        }
    }
}

/// The caller's live sessions, newest first.
///
/// # Errors
/// Only failures inside.
pub async fn list(
    context: &Context,
    caller: &UserSession,
    page: PageRequest,
) -> Result<Page<SessionInfo>, Internal> {
    let tx = context.postgres.tenant(caller.tenant).await?;
    let now = context.clock.now();
    Ok(list_of(&tx, caller.tenant, caller.user, Some(caller.session), page, now).await?)
}

/// A user's live sessions, newest first; the one that asks may be among them.
pub(crate) async fn list_of(
    tx: &Tx,
    tenant: TenantId,
    user: UserId,
    current: Option<SessionId>,
    page: PageRequest,
    now: DateTime<Utc>,
) -> Result<Page<SessionInfo>, DbErr> {
    let rows = store::list(tx, tenant, user, page, now).await?;
    let page = Page::cut(rows, page, |row| row.id.0);
    Ok(page.map(|row| SessionInfo::of(row, current)))
}

/// Ends one of the caller's sessions.
///
/// # Errors
/// [`SessionError::NotFound`] for a session that is another's, has ended or never was: nobody learns which.
pub async fn end(
    context: &Context,
    caller: &UserSession,
    origin: &Origin,
    id: SessionId,
) -> Result<(), SessionError> {
    let mut change = context.change(caller.tenant, caller.into(), origin).await?;
    if !end_of(&mut change, caller.user, id, RevokeReason::EndedByUser).await? {
        return Err(SessionError::NotFound);
    }
    change.commit().await?;
    Ok(())
}

/// Ends a live session of that user; says whether there was one.
pub(crate) async fn end_of(
    change: &mut Change<'_>,
    user: UserId,
    id: SessionId,
    reason: RevokeReason,
) -> Result<bool, Internal> {
    let (tenant, now) = (change.tenant, change.now);
    let ended = store::revoke_of(&change.tx, tenant, user, id, reason.as_str(), now).await?;
    if ended {
        announce(change, user, &[id], reason).await?;
    }
    Ok(ended)
}

/// Ends the caller's session.
///
/// # Errors
/// Only failures inside.
pub async fn logout(context: &Context, caller: &UserSession, origin: &Origin) -> Result<(), Internal> {
    let mut change = context.change(caller.tenant, Actor::from(caller), origin).await?;
    revoke(&mut change, caller.session, RevokeReason::Logout).await?;
    change.commit().await?;
    Ok(())
}

/// Ends all of the caller's sessions, this one among them.
///
/// # Errors
/// Only failures inside.
pub async fn logout_all(context: &Context, caller: &UserSession, origin: &Origin) -> Result<(), Internal> {
    let mut change = context.change(caller.tenant, Actor::from(caller), origin).await?;
    revoke_all(&mut change, caller.user, None, RevokeReason::LogoutAll).await?;
    change.commit().await?;
    Ok(())
}

/// A session that has not ended, for whoever asks about one of its access tokens.
pub(crate) async fn find_live(
    tx: &Tx,
    tenant: TenantId,
    id: SessionId,
    now: DateTime<Utc>,
) -> Result<Option<session::Model>, DbErr> {
    store::find_live(tx, tenant, id, now).await
}

/// As [`find_live`]: whether there is such a session. It does not end before the transaction does.
pub(crate) async fn hold_live(
    tx: &Tx,
    tenant: TenantId,
    id: SessionId,
    now: DateTime<Utc>,
) -> Result<bool, DbErr> {
    store::hold_live(tx, tenant, id, now).await
}

/// A refresh token that could be used now.
pub(crate) struct Refreshable {
    /// Its session.
    pub(crate) session: SessionId,
    /// Whose it is.
    pub(crate) user: user::Model,
    /// Since when it stands.
    pub(crate) issued_at: DateTime<Utc>,
    /// Until when it can be used.
    pub(crate) expires_at: DateTime<Utc>,
    /// When its user last proved a credential.
    pub(crate) authenticated_at: DateTime<Utc>,
}

/// The refresh token, if it could be used now. It is not used, and no lock is heeded: an answer tells of none.
pub(crate) async fn find_refreshable(
    context: &Context,
    tx: &Tx,
    tenant: &Tenant,
    token: &Token,
    now: DateTime<Utc>,
) -> Result<Option<Refreshable>, DbErr> {
    let lifetime = Lifetime::of(&context.config.tokens, &tenant.settings.sessions);
    let found = tokens::find(tx, tenant.id, token, now).await?;
    Ok(found.and_then(|found| {
        let expires_at = found.span.usable_until(&lifetime);
        (found.used_at.is_none() && expires_at > now).then_some(Refreshable {
            session: found.session,
            issued_at: found.span.refreshed,
            expires_at,
            authenticated_at: found.proof.at,
            user: found.user,
        })
    }))
}
