//! Lifting a lock: by its owner, with the token from the mail; and what an administrator does it with.

use super::Auth;
use crate::{
    context::Change,
    crypto::token::{Kind, Token},
    device,
    entity::user,
    error::{Internal, internal_variant},
    id::UserId,
    lockout,
    principal::{Actor, Origin},
    tenant::Tenant,
    user::{one_time, one_time::Purpose, store},
};

/// Why nothing was unlocked.
#[derive(Debug, thiserror::Error)]
pub enum UnlockError {
    /// The token is unknown, used, expired, superseded, or for something else.
    #[error("the token is not valid")]
    InvalidToken,
    /// A failure inside.
    #[error(transparent)]
    Internal(Internal),
}

internal_variant!(UnlockError: Internal sea_orm::DbErr);

/// Lifts the locks of the user to whom the token was mailed. Does not sign anyone in.
///
/// # Errors
/// [`UnlockError::InvalidToken`].
pub async fn unlock(auth: &Auth, origin: &Origin, token: &str) -> Result<(), UnlockError> {
    let token = Token::parse(Kind::OneTime, token).ok_or(UnlockError::InvalidToken)?;
    let tenant = auth.active_tenant(token.tenant()).await?;
    let tenant = tenant.ok_or(UnlockError::InvalidToken)?;
    let mut change = auth.context.change(tenant.id, Actor::Anonymous, origin).await?;
    let (id, now) = (tenant.id, change.now);
    let seen = one_time::peek(&change.tx, id, Purpose::Unlock, &token, now).await?;
    let seen = seen.ok_or(UnlockError::InvalidToken)?;
    let user = store::find(&change.tx, id, UserId(seen.subject_id))
        .await?
        .filter(|user| user.email_canonical == seen.address)
        .ok_or(UnlockError::InvalidToken)?;
    change.actor = Actor::User(user.id);
    // The lock before the token, as a failure takes them: two that wait for each other would both be refused.
    lift_locks(&change, &tenant, &user).await?;
    one_time::consume(&change.tx, id, Purpose::Unlock, &token, now)
        .await?
        .ok_or(UnlockError::InvalidToken)?;
    change.commit().await?;
    Ok(())
}

/// Lifts the locks on all that the user signs in with.
pub(crate) async fn lift_locks(
    change: &Change<'_>,
    tenant: &Tenant,
    user: &user::Model,
) -> Result<(), Internal> {
    let devices = device::of_user(&change.tx, tenant.id, user.id).await?;
    lockout::lift(change, tenant, user, &devices).await
}
