//! Whether a user may sign in: barred and let in again, made to choose another password, gone.
//!
//! The owner role's row is asked for before the user's own, as everywhere: owners who bar or delete each other at once
//! take turns, and the last of them stays.

use serde_json::json;

use super::{UserError, budget, guard, store};
use crate::{
    audit::{self, Record},
    auth::{self, Auth},
    id::UserId,
    mfa,
    outbox::{self, event},
    permission::{Authorized, UsersWrite},
    principal::Origin,
    privacy, rbac,
    session::{self, RevokeReason},
    signal::SignalKind,
    user::{UserStatus, one_time, one_time::Purpose, store as users},
};

/// Bars a user from signing in, and ends every session and whatever was mailed. A user who is barred already stays so.
///
/// # Errors
/// [`UserError::NotFound`], [`UserError::OwnAccount`], [`UserError::Escalation`], [`UserError::LastOwner`].
pub async fn disable(
    auth: &Auth,
    caller: &Authorized<UsersWrite>,
    origin: &Origin,
    id: UserId,
) -> Result<(), UserError> {
    let by = caller.principal();
    let tenant = auth.active_tenant(by.tenant).await?.ok_or(UserError::NotFound)?;
    let mut change = auth.context.change(tenant.id, caller.actor(), origin).await?;
    guard::subordinate(&change, &tenant, by, id).await?;
    let is_last = rbac::is_last_owner(&change, id).await?;
    if !store::set_status(&change, id, UserStatus::Disabled).await? {
        return Ok(());
    }
    if is_last {
        return Err(UserError::LastOwner);
    }
    one_time::revoke(&change, id.0, &[Purpose::ResetPassword, Purpose::ChangeEmail]).await?;
    mfa::drop_challenges(&change.tx, tenant.id, id).await?;
    session::revoke_all(&mut change, id, None, RevokeReason::AccountDisabled).await?;
    let detail = json!({ "before": { "status": "active" }, "after": { "status": "disabled" } });
    audit::record(&change, Record::success("user.disable", "user", id.0, detail)).await?;
    let data = event::UserDisabled {
        user: event::KnownUser { id },
    };
    outbox::emit(&mut change, Some(id), &data).await?;
    change.signal(SignalKind::AccountChanged, id.0).await?;
    change.commit().await?;
    Ok(())
}

/// Lets a barred user sign in again, with the password and the second factor of before.
///
/// # Errors
/// [`UserError::NotFound`], [`UserError::OwnAccount`], [`UserError::Escalation`].
pub async fn enable(
    auth: &Auth,
    caller: &Authorized<UsersWrite>,
    origin: &Origin,
    id: UserId,
) -> Result<(), UserError> {
    let by = caller.principal();
    let tenant = auth.active_tenant(by.tenant).await?.ok_or(UserError::NotFound)?;
    let mut change = auth.context.change(tenant.id, caller.actor(), origin).await?;
    let user = guard::subordinate(&change, &tenant, by, id).await?;
    if !store::set_status(&change, id, UserStatus::Active).await? {
        return Ok(());
    }
    let detail = json!({ "before": { "status": "disabled" }, "after": { "status": "active" } });
    audit::record(&change, Record::success("user.enable", "user", id.0, detail)).await?;
    let user = event::UpdatedUser {
        status: UserStatus::Active,
        ..(&user).into()
    };
    outbox::emit(&mut change, Some(id), &event::UserUpdated { user }).await?;
    change.signal(SignalKind::AccountChanged, id.0).await?;
    change.commit().await?;
    Ok(())
}

/// Deletes a user and what is stored about the user, as users delete themselves.
///
/// # Errors
/// As [`disable`].
pub async fn delete(
    auth: &Auth,
    caller: &Authorized<UsersWrite>,
    origin: &Origin,
    id: UserId,
) -> Result<(), UserError> {
    let by = caller.principal();
    let tenant = auth.active_tenant(by.tenant).await?.ok_or(UserError::NotFound)?;
    let mut change = auth.context.change(tenant.id, caller.actor(), origin).await?;
    guard::subordinate(&change, &tenant, by, id).await?;
    if rbac::is_last_owner(&change, id).await? {
        return Err(UserError::LastOwner);
    }
    privacy::hold(&change.tx, tenant.id, id).await?;
    // Read again: somebody may have been quicker.
    let user = users::find(&change.tx, tenant.id, id)
        .await?
        .ok_or(UserError::NotFound)?;
    privacy::forget(&mut change, &tenant, &user).await?;
    change.commit().await?;
    Ok(())
}

/// Lifts the locks of a user, on any device. Whoever guesses at the password of who may do more, or at their own, would
/// have as many tries as they like.
///
/// # Errors
/// [`UserError::NotFound`], [`UserError::OwnAccount`], [`UserError::Escalation`].
pub async fn unlock(
    auth: &Auth,
    caller: &Authorized<UsersWrite>,
    origin: &Origin,
    id: UserId,
) -> Result<(), UserError> {
    let by = caller.principal();
    let tenant = auth.active_tenant(by.tenant).await?.ok_or(UserError::NotFound)?;
    let change = auth.context.change(tenant.id, caller.actor(), origin).await?;
    let user = guard::subordinate(&change, &tenant, by, id).await?;
    auth::lift_locks(&change, &tenant, &user).await?;
    change.commit().await?;
    Ok(())
}

/// Ends a user's password and every session, and mails a link to choose another. A second factor stays, and so does a
/// lock, which the answer does not tell of.
///
/// # Errors
/// [`UserError::NotFound`], [`UserError::OwnAccount`], [`UserError::Escalation`]; [`UserError::Disabled`], for whom no
/// mail would open anything; [`UserError::TooOften`].
pub async fn require_new_password(
    auth: &Auth,
    caller: &Authorized<UsersWrite>,
    origin: &Origin,
    id: UserId,
) -> Result<(), UserError> {
    let by = caller.principal();
    let tenant = auth.active_tenant(by.tenant).await?.ok_or(UserError::NotFound)?;
    let mut change = auth.context.change(tenant.id, caller.actor(), origin).await?;
    guard::subordinate(&change, &tenant, by, id).await?;
    // What is refused to one costs nobody else anything.
    budget::mail_to(auth, &tenant, "require_password", id).await?;
    users::hold(&change.tx, tenant.id, id).await?;
    let user = users::find(&change.tx, tenant.id, id)
        .await?
        .ok_or(UserError::NotFound)?;
    if !auth::require_new_password(auth, &mut change, &tenant, &user).await? {
        return Err(UserError::Disabled);
    }
    let record = Record::success("user.require_new_password", "user", id.0, json!({}));
    audit::record(&change, record).await?;
    change.commit().await?;
    Ok(())
}
