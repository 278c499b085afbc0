//! Who may decide over whom.

use std::sync::Arc;

use super::UserError;
use crate::{
    auth::Auth,
    context::Change,
    entity::user,
    id::UserId,
    permission::{Authorized, UsersWrite},
    principal::{Origin, Principal, Subject},
    rbac,
    tenant::Tenant,
    user::store,
};

/// A change to what is the user's, with its tenant and the user, if the caller may decide over it.
pub(super) async fn over<'a>(
    auth: &'a Auth,
    caller: &Authorized<UsersWrite>,
    origin: &'a Origin,
    id: UserId,
) -> Result<(Arc<Tenant>, Change<'a>, user::Model), UserError> {
    let by = caller.principal();
    let tenant = auth.active_tenant(by.tenant).await?.ok_or(UserError::NotFound)?;
    let change = auth.context.change(tenant.id, caller.actor(), origin).await?;
    let user = subordinate(&change, &tenant, by, id).await?;
    Ok((tenant, change, user))
}

/// The user, if the caller may decide over it: it is another user, holds no permission that the caller lacks, and is no
/// owner unless the caller is one. Otherwise who may write users could take over whoever they like, by their mail.
pub(super) async fn subordinate(
    change: &Change<'_>,
    tenant: &Tenant,
    by: &Principal,
    id: UserId,
) -> Result<user::Model, UserError> {
    let tx = &change.tx;
    let user = store::find(tx, tenant.id, id).await?.ok_or(UserError::NotFound)?;
    if is_own(by, id) {
        return Err(UserError::OwnAccount);
    }
    let held = rbac::held(tx, tenant.id, tenant.is_platform(), id).await?;
    if !rbac::may_decide_over(tx, by, &held).await? {
        return Err(UserError::Escalation);
    }
    Ok(user)
}

/// Whether the user is who asks, by a session or by a key.
fn is_own(by: &Principal, id: UserId) -> bool {
    by.subject == Subject::User(id)
}
