//! Another password, from someone who knows the present one.

use serde_json::json;

use super::{
    Auth, LoginError, NewPasswordError,
    confirm::confirm_password,
    password::{Replacement, hash_replacement, replace},
};
use crate::{
    audit::{self, Record},
    error::{Internal, internal_variant},
    mail::{self, Letter, To},
    outbox::{self, event},
    principal::{Actor, Origin, UserSession},
    secret::Secret,
    session::RevokeReason,
    tenant::Tenant,
};

/// Why the password is still the old one.
#[derive(Debug, thiserror::Error)]
pub enum ChangePasswordError {
    /// The present one was not proven.
    #[error(transparent)]
    Confirm(#[from] LoginError),
    /// The new one cannot be set.
    #[error(transparent)]
    Password(#[from] NewPasswordError),
    /// A failure inside.
    #[error(transparent)]
    Internal(Internal),
}

internal_variant!(ChangePasswordError: Internal sea_orm::DbErr);

/// Sets the caller's new password. The caller's session goes on; every other one ends.
///
/// # Errors
/// See [`ChangePasswordError`].
pub async fn change_password(
    auth: &Auth,
    tenant: &Tenant,
    caller: &UserSession,
    origin: &Origin,
    current: Secret<String>,
    new: Secret<String>,
) -> Result<(), ChangePasswordError> {
    let user = confirm_password(auth, tenant, caller, origin, current).await?;
    let hash = hash_replacement(auth, tenant, &user, new).await?;
    let mut change = auth
        .context
        .change(tenant.id, Actor::from(caller), origin)
        .await?;
    let replacement = Replacement {
        hash,
        keep: Some(caller.session),
        reason: RevokeReason::PasswordChanged,
        remember: tenant.settings.passwords.history,
    };
    if !replace(&mut change, &user, replacement).await? {
        // Someone was quicker: what was just confirmed is no longer the password.
        return Err(LoginError::InvalidCredentials.into());
    }
    audit::record(
        &change,
        Record::success("user.change_password", "user", user.id.0, json!({})),
    )
    .await?;
    let data = event::PasswordChanged { user_id: user.id };
    outbox::emit(&mut change, Some(user.id), &data).await?;
    mail::queue(
        &mut change,
        tenant.brand(),
        To::user(&user),
        Letter::PasswordChanged,
    )
    .await?;
    change.commit().await?;
    Ok(())
}
