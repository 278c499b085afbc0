//! Other people's sessions.

use super::{UserError, guard};
use crate::{
    auth::Auth,
    context::Context,
    id::{SessionId, UserId},
    page::{Page, PageRequest},
    permission::{Authorized, UsersRead, UsersWrite},
    principal::Origin,
    session::{self, RevokeReason, SessionInfo},
    user::store as users,
};

/// A user's live sessions, newest first.
///
/// # Errors
/// [`UserError::NotFound`].
pub async fn list_sessions(
    context: &Context,
    caller: &Authorized<UsersRead>,
    user: UserId,
    page: PageRequest,
) -> Result<Page<SessionInfo>, UserError> {
    let tenant = caller.principal().tenant;
    let tx = context.postgres.tenant(tenant).await?;
    users::find(&tx, tenant, user).await?.ok_or(UserError::NotFound)?;
    Ok(session::list_of(&tx, tenant, user, None, page, context.clock.now()).await?)
}

/// Ends every session of a user. Who could do that to whom they like could keep an owner from stopping them.
///
/// # Errors
/// [`UserError::NotFound`], [`UserError::OwnAccount`], [`UserError::Escalation`].
pub async fn end_sessions(
    auth: &Auth,
    caller: &Authorized<UsersWrite>,
    origin: &Origin,
    user: UserId,
) -> Result<(), UserError> {
    let (tenant, mut change, _) = guard::over(auth, caller, origin, user).await?;
    users::hold(&change.tx, tenant.id, user).await?;
    session::revoke_all(&mut change, user, None, RevokeReason::EndedByAdministrator).await?;
    change.commit().await?;
    Ok(())
}

/// Ends one session of a user.
///
/// # Errors
/// As [`end_sessions`]; [`UserError::NotFound`] also for a session that is another's, has ended or never was.
pub async fn end_session(
    auth: &Auth,
    caller: &Authorized<UsersWrite>,
    origin: &Origin,
    user: UserId,
    id: SessionId,
) -> Result<(), UserError> {
    let (tenant, mut change, _) = guard::over(auth, caller, origin, user).await?;
    users::hold(&change.tx, tenant.id, user).await?;
    if !session::end_of(&mut change, user, id, RevokeReason::EndedByAdministrator).await? {
        return Err(UserError::NotFound);
    }
    change.commit().await?;
    Ok(())
}
