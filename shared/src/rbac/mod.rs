//! Roles: named sets of permissions.
//!
//! Each tenant has the built-in roles `owner`, `admin` and `member`, and makes roles and permissions of its own. What
//! the built-in ones grant follows from the catalogue of permissions in code, so that a new permission reaches every
//! owner with the release that brings it; owners and administrators hold the tenant's own permissions besides, or
//! nobody could grant them. Platform permissions exist in the platform's tenant only, whatever a role elsewhere is
//! called and whatever its row says.
//!
//! Roles and permissions change one at a time in a tenant: whoever changes one holds the `owner` role's row. A user's
//! own row comes before it, and the tenant's after it, where both are held. So do the settings, which name roles: one
//! that the policy on second factors names stays, and the policy follows its name.
//!
//! What must never happen: somebody who grants what they do not hold ([`may_grant`]); somebody but an owner who decides
//! over an owner; a tenant without an owner who may sign in; a role with a permission that is gone.

mod assignment;
mod builtin;
mod error;
mod grant;
mod name;
mod permissions;
mod roles;
mod store;

use chrono::{DateTime, Utc};
use sea_orm::DbErr;
use uuid::Uuid;

pub use self::{
    assignment::{assign_checked, assign_role, list_user_roles, unassign_role},
    builtin::Builtin,
    error::{AssignError, RbacError},
    grant::may_grant,
    name::{
        InvalidPermissionName, InvalidRoleName, MAX_PERMISSION_NAME, MAX_ROLE_NAME, PermissionName, RoleName,
    },
    permissions::{NewPermission, PermissionInfo, create_permission, delete_permission, list_permissions},
    roles::{NewRole, RolePatch, create_role, delete_role, get_role, list_roles, update_role},
};
pub(crate) use self::{
    assignment::{find_grantable, find_roles, give, is_last_owner, may_decide_over},
    grant::Granter,
    permissions::hold_own,
    store::take_turns,
};
use crate::{
    context::Change,
    entity::{role, user},
    id::{RoleId, TenantId, UserId},
    permission::{CATALOGUE, Reach},
    postgres::Tx,
    principal::Permissions,
    version::Version,
};

/// Roles of a tenant's own.
pub const MAX_ROLES: u64 = 200;
/// Permissions of a tenant's own.
pub const MAX_PERMISSIONS: u64 = 500;
/// Roles of one user.
pub const MAX_ROLES_OF_USER: usize = 50;

/// A role, and what it grants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Role {
    /// Its id.
    pub id: RoleId,
    /// Its name.
    pub name: String,
    /// What it is for.
    pub description: Option<String>,
    /// Which of the built-in ones it is, if it is one.
    pub builtin: Option<Builtin>,
    /// What it grants.
    pub permissions: Permissions,
    /// How many changes it has seen.
    pub version: Version,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it last changed.
    pub updated_at: DateTime<Utc>,
}

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
    /// Whether one of them is `owner`.
    pub is_owner: bool,
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
    store::find_builtin(tx, tenant, role).await?.ok_or_else(missing)
}

/// The written name of the role that the name means.
pub(crate) async fn find_named(tx: &Tx, tenant: TenantId, name: &str) -> Result<Option<String>, DbErr> {
    match RoleName::parse(name) {
        Ok(name) => store::find_named(tx, tenant, &name).await,
        Err(_) => Ok(None),
    }
}

/// Gives the user the roles, whoever asks; one that is held already, or is gone, changes nothing. For Latchkey's own
/// ends: what a caller asks for goes through [`assign_checked`].
pub(crate) async fn assign(change: &Change<'_>, user: UserId, roles: &[RoleId]) -> Result<(), DbErr> {
    let roles: Vec<Uuid> = roles.iter().map(|role| role.0).collect();
    store::assign(&change.tx, change.tenant, user, roles, change.now)
        .await
        .map(drop)
}

/// The tenant's owners who can sign in, for what they must hear of; of very many as many as help.
pub(crate) async fn owners(tx: &Tx, tenant: TenantId) -> Result<Vec<user::Model>, DbErr> {
    store::owners(tx, tenant).await
}

fn is_platforms(permission: &str) -> bool {
    let platforms = |(name, reach, _): &(&str, Reach, &str)| *name == permission && *reach == Reach::Platform;
    CATALOGUE.iter().any(platforms)
}

/// What the user holds in the tenant.
pub(crate) async fn held(tx: &Tx, tenant: TenantId, is_platform: bool, user: UserId) -> Result<Held, DbErr> {
    let rows = store::all_of_user(tx, tenant, user).await?;
    let roles = resolve(tx, tenant, is_platform, rows).await?;
    let granted = roles.iter().flat_map(|role| role.permissions.iter());
    Ok(Held {
        permissions: granted.collect(),
        is_owner: roles.iter().any(|role| role.builtin == Some(Builtin::Owner)),
        roles: roles.into_iter().map(|role| role.name).collect(),
    })
}

/// The roles with what they grant. It takes one statement more if one of them governs.
pub(crate) async fn resolve(
    tx: &Tx,
    tenant: TenantId,
    is_platform: bool,
    rows: Vec<role::Model>,
) -> Result<Vec<Role>, DbErr> {
    let governs = |row: &role::Model| builtin(row).is_some_and(Builtin::governs);
    let own = if rows.iter().any(governs) {
        store::permissions::names(tx, tenant).await?
    } else {
        Vec::new()
    };
    Ok(rows.into_iter().map(|row| read(row, is_platform, &own)).collect())
}

fn builtin(row: &role::Model) -> Option<Builtin> {
    Builtin::parse(&row.name).filter(|_| row.builtin)
}

/// The role of a row, in a tenant with permissions of its `own`.
fn read(row: role::Model, is_platform: bool, own: &[String]) -> Role {
    let builtin = builtin(&row);
    let role::Model {
        id,
        tenant_id: _,
        name,
        name_canonical: _,
        description,
        builtin: _,
        permissions,
        version,
        created_at,
        updated_at,
    } = row;
    let permissions = match builtin {
        Some(role) => {
            let own = own.iter().filter(|_| role.governs()).cloned();
            let ours = role.permissions(is_platform).map(str::to_owned);
            ours.chain(own).collect()
        }
        // A row that names what exists elsewhere only, by whatever accident, grants nothing by it.
        None => permissions
            .into_iter()
            .filter(|name| is_platform || !is_platforms(name))
            .collect(),
    };
    Role {
        id,
        name,
        description,
        builtin,
        permissions,
        version,
        created_at,
        updated_at,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &str, builtin: bool, permissions: &[&str]) -> role::Model {
        role::Model {
            id: RoleId(Uuid::nil()),
            tenant_id: TenantId(Uuid::nil()),
            name: name.to_owned(),
            name_canonical: name.to_owned(),
            description: None,
            builtin,
            permissions: permissions.iter().map(|&name| name.to_owned()).collect(),
            version: Version::FIRST,
            created_at: DateTime::UNIX_EPOCH,
            updated_at: DateTime::UNIX_EPOCH,
        }
    }

    #[test]
    fn s27_a_row_that_names_platform_permissions_grants_none_outside_the_platform() {
        let row = || row("owner", false, &["tenants:write", "users:read"]);
        let outside = read(row(), false, &["invoices:read".to_owned()]);
        assert_eq!(outside.builtin, None);
        assert_eq!(outside.permissions.iter().collect::<Vec<_>>(), ["users:read"]);
        assert!(read(row(), true, &[]).permissions.contains("tenants:write"));
    }

    #[test]
    fn who_governs_holds_the_tenants_own_permissions() {
        let own = ["invoices:read".to_owned()];
        let holds = |name| {
            read(row(name, true, &[]), false, &own)
                .permissions
                .contains("invoices:read")
        };
        assert!(holds("owner") && holds("admin") && !holds("member"));
    }
}
