//! What administrators do with their tenant's own permissions.

use sea_orm::{ActiveValue::Set, DbErr};
use serde_json::json;
use uuid::Uuid;

use super::{MAX_PERMISSIONS, PermissionName, RbacError, builtin::catalogue, grant::may_grant, store};
use crate::{
    audit::{self, Record},
    context::{Change, Context},
    entity::permission,
    error::Internal,
    id::{PermissionId, TenantId},
    page::{Page, PageRequest},
    permission::{Authorized, RolesRead, RolesWrite},
    postgres::Tx,
    principal::Origin,
    signal::SignalKind,
};

/// A permission to be.
#[derive(Clone, Debug)]
pub struct NewPermission {
    /// Its `resource:action`.
    pub name: PermissionName,
    /// What it allows.
    pub description: Option<String>,
}

/// A permission that a role of the tenant may grant.
#[derive(Clone, Debug)]
pub struct PermissionInfo {
    /// Its `resource:action`.
    pub name: String,
    /// What it allows.
    pub description: Option<String>,
    /// Whether it came with Latchkey.
    pub builtin: bool,
    /// Where it stands in the list.
    key: Uuid,
}

/// A page of what there is to grant: the tenant's own permissions, newest first, then the built-in ones.
///
/// # Errors
/// Only failures inside.
pub async fn list_permissions(
    context: &Context,
    caller: &Authorized<RolesRead>,
    page: PageRequest,
) -> Result<Page<PermissionInfo>, Internal> {
    let tenant = caller.principal().tenant;
    let tx = context.postgres.tenant(tenant).await?;
    let own = store::permissions::list(&tx, tenant, page).await?;
    let own = own.into_iter().map(|row| PermissionInfo {
        name: row.name,
        description: row.description,
        builtin: false,
        key: row.id.0,
    });
    let builtin = built_in(store::is_platform(&tx, tenant).await?)
        .into_iter()
        .filter(|permission| permission.key < page.before_or_max());
    Ok(Page::cut(own.chain(builtin).collect(), page, |permission| {
        permission.key
    }))
}

/// The built-in permissions in the order of the catalogue. Their keys come after those of all rows, which begin with
/// a time.
fn built_in(is_platform: bool) -> Vec<PermissionInfo> {
    let named = catalogue(is_platform).rev().zip(1_u128..);
    let mut permissions: Vec<PermissionInfo> = named
        .map(|((name, description), place)| PermissionInfo {
            name: name.to_owned(),
            description: Some(description.to_owned()),
            builtin: true,
            key: Uuid::from_u128(place),
        })
        .collect();
    permissions.reverse();
    permissions
}

/// Makes a permission. Owners and administrators hold it from now on.
///
/// # Errors
/// [`RbacError::NameTaken`], [`RbacError::TooManyPermissions`].
pub async fn create_permission(
    context: &Context,
    caller: &Authorized<RolesWrite>,
    origin: &Origin,
    request: NewPermission,
) -> Result<PermissionInfo, RbacError> {
    let tenant = caller.principal().tenant;
    let mut change = context.change(tenant, caller.actor(), origin).await?;
    store::take_turns(&change.tx, tenant).await?;
    if store::permissions::count(&change.tx, tenant).await? >= MAX_PERMISSIONS {
        return Err(RbacError::TooManyPermissions);
    }
    let NewPermission { name, description } = request;
    let id = PermissionId::new(change.now, &*context.random);
    let row = permission::ActiveModel {
        id: Set(id),
        tenant_id: Set(tenant),
        name: Set(name.as_str().to_owned()),
        description: Set(description.clone()),
        created_at: Set(change.now),
    };
    if !store::permissions::insert(&change.tx, row).await? {
        return Err(RbacError::NameTaken);
    }
    let detail = json!({ "after": { "name": name.as_str(), "description": description } });
    let record = Record::success("permission.create", "permission", id.0, detail);
    audit::record(&change, record).await?;
    tell(&mut change, Vec::new()).await?;
    change.commit().await?;
    Ok(PermissionInfo {
        name: name.as_str().to_owned(),
        description,
        builtin: false,
        key: id.0,
    })
}

/// Deletes one of the tenant's own permissions, and takes it out of every role and key. Where it is in one, that takes
/// somebody who holds it.
///
/// # Errors
/// [`RbacError::NotFound`], [`RbacError::BuiltIn`], [`RbacError::Escalation`].
pub async fn delete_permission(
    context: &Context,
    caller: &Authorized<RolesWrite>,
    origin: &Origin,
    name: &str,
) -> Result<(), RbacError> {
    let tenant = caller.principal().tenant;
    let mut change = context.change(tenant, caller.actor(), origin).await?;
    store::take_turns(&change.tx, tenant).await?;
    let Some(id) = store::permissions::delete(&change.tx, tenant, name).await? else {
        let mut known = catalogue(store::is_platform(&change.tx, tenant).await?);
        return Err(if known.any(|(known, _)| known == name) {
            RbacError::BuiltIn
        } else {
            RbacError::NotFound
        });
    };
    let roles = store::withdraw(&change.tx, tenant, name, change.now).await?;
    // Or one of that name, made anew for something else, would be theirs as well.
    let keys = store::permissions::withdraw_from_keys(&change.tx, tenant, name, change.now).await?;
    let is_granted = !(roles.is_empty() && keys.is_empty());
    if is_granted && !may_grant(&caller.principal().permissions, [name]) {
        return Err(RbacError::Escalation);
    }
    change.signal_each(SignalKind::ApiKeyChanged, &keys).await?;
    let detail = json!({ "before": { "name": name }, "role_ids": roles, "api_key_ids": keys });
    let record = Record::success("permission.delete", "permission", id.0, detail);
    audit::record(&change, record).await?;
    tell(&mut change, roles).await?;
    change.commit().await?;
    Ok(())
}

/// Tells every process that these roles grant something else now, and those that grant whatever there is.
async fn tell(change: &mut Change<'_>, mut roles: Vec<Uuid>) -> Result<(), Internal> {
    roles.extend(store::touch_governing(&change.tx, change.tenant, change.now).await?);
    change.signal_each(SignalKind::RoleChanged, &roles).await?;
    Ok(())
}

/// The tenant's own permissions, none of which can go until the transaction ends. An owner's row comes before this, the
/// tenant's and those of keys after it.
pub(crate) async fn hold_own(tx: &Tx, tenant: TenantId) -> Result<Vec<String>, DbErr> {
    store::take_turns(tx, tenant).await?;
    store::permissions::names(tx, tenant).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn built_in_permissions_stand_in_the_order_of_their_keys() {
        let permissions = built_in(true);
        assert!(permissions.is_sorted_by(|a, b| a.key > b.key));
        assert_eq!(permissions[0].name, "tenants:read");
        assert!(
            built_in(false)
                .iter()
                .all(|permission| !permission.name.starts_with("tenants:"))
        );
    }
}
