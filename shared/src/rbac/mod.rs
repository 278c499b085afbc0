//! Roles: named sets of permissions.
//!
//! Each tenant has the built-in roles `owner`, `admin` and `member`. What they grant follows from the catalogue
//! of permissions in code, so that a new permission reaches every owner with the release that brings it. Platform
//! permissions exist in the platform's tenant only, whatever a role elsewhere is called.

mod builtin;
mod store;

use sea_orm::DbErr;
use uuid::Uuid;

use crate::{
    context::Change,
    id::{RoleId, TenantId, UserId},
    postgres::Tx,
    principal::Permissions,
};
pub use builtin::Builtin;

/// The ids of a tenant's built-in roles.
#[derive(Clone, Copy, Debug)]
pub struct BuiltinRoles {
    /// Of `owner`.
    pub owner: RoleId,
    /// Of `admin`.
    pub admin: RoleId,
    /// Of `member`.
    pub member: RoleId,
}

/// What a user holds.
#[derive(Clone, Debug, Default)]
pub struct Held {
    /// The names of the user's roles, in alphabetical order.
    pub roles: Vec<String>,
    /// What they grant together.
    pub permissions: Permissions,
}

/// Creates the built-in roles of the change's tenant.
pub(crate) async fn create_builtin(change: &Change<'_>) -> Result<BuiltinRoles, DbErr> {
    let id = || RoleId::new(change.now, &*change.context.random);
    let roles = BuiltinRoles {
        owner: id(),
        admin: id(),
        member: id(),
    };
    let rows = [
        (roles.owner, Builtin::Owner),
        (roles.admin, Builtin::Admin),
        (roles.member, Builtin::Member),
    ];
    store::insert_builtin(&change.tx, change.tenant, change.now, &rows).await?;
    Ok(roles)
}

/// The id of one of the tenant's built-in roles.
pub(crate) async fn builtin_id(tx: &Tx, tenant: TenantId, role: Builtin) -> Result<RoleId, DbErr> {
    let missing = || DbErr::RecordNotFound(format!("role {}", role.as_str()));
    store::find_id(tx, tenant, role.as_str())
        .await?
        .ok_or_else(missing)
}

/// Gives the user the roles; one that is held already, or is gone, changes nothing.
pub(crate) async fn assign(change: &Change<'_>, user: UserId, roles: &[RoleId]) -> Result<(), DbErr> {
    let roles: Vec<Uuid> = roles.iter().map(|role| role.0).collect();
    store::assign(&change.tx, change.tenant, user, roles, change.now).await
}

/// Whether nobody else who may sign in owns the tenant. Of owners who leave at once each waits here for the one
/// before, until the transaction ends.
pub(crate) async fn is_last_owner(change: &Change<'_>, user: UserId) -> Result<bool, DbErr> {
    let owner = Builtin::Owner.as_str();
    let Some(role) = store::hold_if_assigned(&change.tx, change.tenant, owner, user).await? else {
        return Ok(false);
    };
    store::is_only_active_holder(&change.tx, change.tenant, role, user).await
}

/// What the user holds in the tenant.
pub(crate) async fn held(tx: &Tx, tenant: TenantId, is_platform: bool, user: UserId) -> Result<Held, DbErr> {
    let rows = store::held(tx, tenant, user).await?;
    let granted = rows
        .iter()
        .flat_map(|row| match Builtin::parse(&row.name).filter(|_| row.builtin) {
            Some(role) => role.permissions(is_platform).map(str::to_owned).collect(),
            None => row.permissions.clone(),
        });
    let permissions = granted.collect();
    Ok(Held {
        roles: rows.into_iter().map(|row| row.name).collect(),
        permissions,
    })
}
