//! Whether a user may sign in: barred and let in again, made to choose another password, rid of a second factor that was
//! lost, gone.
//!
//! The owner role's row is asked for before the user's own, as everywhere: owners who bar or delete each other at once
//! take turns, and the last of them stays.

use serde_json::json;

use super::{UserError, budget, guard, store};
use crate::{
    audit::{self, Record},
    auth::{self, Auth},
    context::Context,
    id::UserId,
    mfa,
    outbox::{self, event},
    permission::{Authorized, UsersWrite},
    principal::{Actor, Origin},
    privacy, rbac,
    session::{self, RevokeReason},
    signal::SignalKind,
    tenant::Tenant,
    user::{Email, UserStatus, one_time, one_time::Purpose, store as users},
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
    let (tenant, mut change, _) = guard::over(auth, caller, origin, id).await?;
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
    let (_, mut change, user) = guard::over(auth, caller, origin, id).await?;
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
    let (tenant, mut change, _) = guard::over(auth, caller, origin, id).await?;
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
    let (tenant, change, user) = guard::over(auth, caller, origin, id).await?;
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
    let (tenant, mut change, _) = guard::over(auth, caller, origin, id).await?;
    // What is refused to one costs nobody else anything.
    budget::mail_to(auth, &tenant, "require_password", id).await?;
    users::hold(&change.tx, tenant.id, id).await?;
    // Judged again: whoever held the user may have made an owner of them.
    let user = guard::subordinate(&change, &tenant, caller.principal(), id).await?;
    if !auth::require_new_password(auth, &mut change, &tenant, &user).await? {
        return Err(UserError::Disabled);
    }
    let record = Record::success("user.require_new_password", "user", id.0, json!({}));
    audit::record(&change, record).await?;
    change.commit().await?;
    Ok(())
}

/// Removes the second factor of a user who has lost it, with the recovery codes, the sign-ins under way and the trust in
/// devices; ends every session, and tells the user. The password, roles, keys and locks stay. For a user without a factor
/// nothing is done.
///
/// # Errors
/// [`UserError::NotFound`], [`UserError::OwnAccount`], [`UserError::Escalation`], [`UserError::TooOften`].
pub async fn reset_mfa(
    auth: &Auth,
    caller: &Authorized<UsersWrite>,
    origin: &Origin,
    id: UserId,
) -> Result<(), UserError> {
    let (tenant, mut change, _) = guard::over(auth, caller, origin, id).await?;
    // Whoever imports users gives them factors, and could have as many mails sent to whom they like.
    if mfa::is_enrolled(&change.tx, tenant.id, id).await? {
        budget::mail_to(auth, &tenant, "reset_mfa", id).await?;
    }
    users::hold(&change.tx, tenant.id, id).await?;
    // Judged again: whoever held the user may have made an owner of them.
    let user = guard::subordinate(&change, &tenant, caller.principal(), id).await?;
    if auth::reset_factor(&mut change, &tenant, &user).await? {
        change.commit().await?;
    }
    Ok(())
}

/// As [`reset_mfa`], for the operator, whom nobody is above: an only owner has nobody else to ask. Whether there was a
/// factor.
///
/// # Errors
/// [`UserError::NotFound`].
pub async fn reset_mfa_for_operator(
    context: &Context,
    tenant: &Tenant,
    email: &Email,
) -> Result<bool, UserError> {
    let origin = Origin::default();
    let mut change = context.change(tenant.id, Actor::System, &origin).await?;
    let user = users::hold_by_email(&change.tx, tenant.id, email.canonical())
        .await?
        .ok_or(UserError::NotFound)?;
    let was_there = auth::reset_factor(&mut change, tenant, &user).await?;
    if was_there {
        change.commit().await?;
    }
    Ok(was_there)
}
