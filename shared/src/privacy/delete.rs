//! Deleting one's own account.

use sea_orm::DbErr;
use serde_json::json;

use super::{erase::erase, store};
use crate::{
    api_key::{self, RevokeReason as KeyRevokeReason},
    audit::{self, Record},
    auth::{Auth, LoginError, confirm_password},
    context::Change,
    entity::user,
    error::{Internal, internal_variant},
    id::{TenantId, UserId},
    mail::{self, Letter, To},
    outbox::{self, event},
    postgres::Tx,
    principal::{Actor, Origin, Subject, UserSession},
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
    if !store::hold(&change.tx, tenant.id, user.id, Some(&user.password_hash)).await? {
        return Err(LoginError::InvalidCredentials.into());
    }
    forget(&mut change, tenant, &user).await?;
    change.commit().await?;
    Ok(())
}

/// Deletes a user and what is stored about it, whose row and sessions are held: see [`hold`]. Whoever calls has asked
/// whether it is the last owner.
pub(crate) async fn forget(
    change: &mut Change<'_>,
    tenant: &Tenant,
    user: &user::Model,
) -> Result<(), Internal> {
    session::revoke_all(change, user.id, None, RevokeReason::AccountDeleted).await?;
    // The rows go below; who was told of the keys is told that they have ended.
    api_key::revoke_of(change, Subject::User(user.id), KeyRevokeReason::OwnerDeleted).await?;
    // To the address alone: no row is to name the account.
    let to = To::address(&user.email);
    mail::queue(change, tenant.brand(), to, Letter::AccountDeleted).await?;
    let record = Record::success("user.delete", "user", user.id.0, json!({}));
    audit::record(change, record).await?;
    // The id alone, so that nothing of it has to be erased.
    outbox::emit(change, None, &event::UserDeleted { user_id: user.id }).await?;
    change.signal(SignalKind::AccountChanged, user.id.0).await?;
    erase(change, tenant, user).await
}

/// Locks all that a credential of the user is checked against until the transaction ends; says whether there is the
/// user.
pub(crate) async fn hold(tx: &Tx, tenant: TenantId, user: UserId) -> Result<bool, DbErr> {
    store::hold(tx, tenant, user, None).await
}
