//! Deleting one's own account.

use serde_json::json;

use super::{erase::erase, store};
use crate::{
    audit::{self, Record},
    auth::{Auth, LoginError, confirm_password},
    error::{Internal, internal_variant},
    mail::{self, Letter, To},
    outbox::{self, EventType},
    principal::{Actor, Origin, UserSession},
    rbac,
    secret::Secret,
    session::{self, RevokeReason},
    signal::SignalKind,
    tenant::Tenant,
};

/// Why the account stays.
#[derive(Debug, thiserror::Error)]
pub enum DeleteAccountError {
    /// The password was not confirmed.
    #[error(transparent)]
    Password(#[from] LoginError),
    /// The tenant would have no owner.
    #[error("the last owner of a tenant stays")]
    LastOwner,
    /// A failure inside.
    #[error(transparent)]
    Internal(Internal),
}

internal_variant!(DeleteAccountError: Internal sea_orm::DbErr);

/// Deletes the caller's account and what is stored about it, and ends its sessions everywhere.
///
/// # Errors
/// See [`DeleteAccountError`]; the account is as it was then.
pub async fn delete_account(
    auth: &Auth,
    tenant: &Tenant,
    caller: &UserSession,
    origin: &Origin,
    password: Secret<String>,
) -> Result<(), DeleteAccountError> {
    let user = confirm_password(auth, tenant, caller, origin, password).await?;
    let mut change = auth
        .context
        .change(tenant.id, Actor::from(caller), origin)
        .await?;
    if rbac::is_last_owner(&change, user.id).await? {
        return Err(DeleteAccountError::LastOwner);
    }
    // Whatever began before this has ended now, and whatever comes later finds no account.
    if !store::hold(&change.tx, tenant.id, &user).await? {
        return Err(LoginError::InvalidCredentials.into());
    }
    session::revoke_all(&mut change, user.id, None, RevokeReason::AccountDeleted).await?;
    // To the address alone: no row is to name the account.
    let to = To::address(&user.email);
    mail::queue(&mut change, tenant.brand(), to, Letter::AccountDeleted).await?;
    let record = Record::success("user.delete", "user", user.id.0, json!({}));
    audit::record(&change, record).await?;
    // The id alone, so that nothing of it has to be erased.
    outbox::emit(
        &mut change,
        EventType::UserDeleted,
        None,
        &json!({ "user_id": user.id }),
    )
    .await?;
    change.signal(SignalKind::AccountChanged, user.id.0).await?;
    erase(&change, tenant, &user).await?;
    change.commit().await?;
    Ok(())
}
