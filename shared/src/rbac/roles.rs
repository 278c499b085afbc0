//! What administrators do with their tenant's roles.

use std::collections::HashSet;

use sea_orm::{ActiveModelTrait, ActiveValue::Set, IntoActiveModel};
use serde_json::{Value, json};

use super::{
    MAX_ROLES, RbacError, Role, RoleName, assignment, builtin::catalogue, grant::may_grant, resolve, store,
};
use crate::{
    audit::{self, Record},
    context::{Change, Context},
    entity::role,
    error::Internal,
    id::{RoleId, TenantId, UserId},
    outbox,
    page::{Page, PageRequest},
    permission::{Authorized, RolesRead, RolesWrite},
    postgres::Tx,
    principal::{Origin, Permissions},
    signal::SignalKind,
    version::{Expected, Version},
};

/// So many events are written in one statement.
const EVENTS_AT_ONCE: usize = 5_000;

/// A role to be.
#[derive(Clone, Debug)]
pub struct NewRole {
    /// Its name.
    pub name: RoleName,
    /// What it is for.
    pub description: Option<String>,
    /// What it is to grant.
    pub permissions: Vec<String>,
}

/// What is to change of a role; what is absent stays.
#[derive(Clone, Debug, Default)]
pub struct RolePatch {
    /// Its name.
    pub name: Option<RoleName>,
    /// What it is for; `Some(None)` clears it.
    pub description: Option<Option<String>>,
    /// All that it is to grant.
    pub permissions: Option<Vec<String>>,
}

/// A page of the tenant's roles, newest first: the built-in ones come last.
///
/// # Errors
/// Only failures inside.
pub async fn list_roles(
    context: &Context,
    caller: &Authorized<RolesRead>,
    page: PageRequest,
) -> Result<Page<Role>, Internal> {
    let tenant = caller.principal().tenant;
    let tx = context.postgres.tenant(tenant).await?;
    let rows = store::list(&tx, tenant, page).await?;
    let is_platform = store::is_platform(&tx, tenant).await?;
    let roles = resolve(&tx, tenant, is_platform, rows).await?;
    Ok(Page::cut(roles, page, |role| role.id.0))
}

/// One role.
///
/// # Errors
/// [`RbacError::NotFound`].
pub async fn get_role(
    context: &Context,
    caller: &Authorized<RolesRead>,
    id: RoleId,
) -> Result<Role, RbacError> {
    let tenant = caller.principal().tenant;
    let tx = context.postgres.tenant(tenant).await?;
    Ok(find(&tx, tenant, id).await?.1)
}

async fn find(tx: &Tx, tenant: TenantId, id: RoleId) -> Result<(role::Model, Role), RbacError> {
    let row = store::find(tx, tenant, id).await?.ok_or(RbacError::NotFound)?;
    let is_platform = store::is_platform(tx, tenant).await?;
    let role = resolve(tx, tenant, is_platform, vec![row.clone()]).await?.pop();
    Ok((row, role.ok_or(RbacError::NotFound)?))
}

/// The role as one that the caller may change: held until the transaction ends, of the tenant's own and as it was read.
async fn find_for_change(
    change: &Change<'_>,
    id: RoleId,
    expected: &Expected,
) -> Result<(role::Model, Role), RbacError> {
    store::take_turns(&change.tx, change.tenant).await?;
    let (row, role) = find(&change.tx, change.tenant, id).await?;
    if row.builtin {
        return Err(RbacError::BuiltIn);
    }
    if !expected.allows(role.version) {
        return Err(RbacError::Changed);
    }
    Ok((row, role))
}

/// Makes a role that grants what its maker holds.
///
/// # Errors
/// [`RbacError::UnknownPermissions`], [`RbacError::Escalation`], [`RbacError::NameTaken`],
/// [`RbacError::TooManyRoles`].
pub async fn create_role(
    context: &Context,
    caller: &Authorized<RolesWrite>,
    origin: &Origin,
    request: NewRole,
) -> Result<Role, RbacError> {
    let tenant = caller.principal().tenant;
    let change = context.change(tenant, caller.actor(), origin).await?;
    store::take_turns(&change.tx, tenant).await?;
    let NewRole {
        name,
        description,
        permissions,
    } = request;
    let permissions = known(&change.tx, tenant, permissions).await?;
    if !may_grant(&caller.principal().permissions, permissions.iter()) {
        return Err(RbacError::Escalation);
    }
    if store::count_own(&change.tx, tenant).await? >= MAX_ROLES {
        return Err(RbacError::TooManyRoles);
    }
    let role = Role {
        id: RoleId::new(change.now, &*context.random),
        name: name.written().to_owned(),
        description,
        builtin: None,
        permissions,
        version: Version::FIRST,
        created_at: change.now,
        updated_at: change.now,
    };
    let row = role::ActiveModel {
        id: Set(role.id),
        tenant_id: Set(tenant),
        name: Set(role.name.clone()),
        name_canonical: Set(name.canonical().to_owned()),
        description: Set(role.description.clone()),
        builtin: Set(false),
        permissions: Set(names(&role.permissions)),
        version: Set(role.version),
        created_at: Set(role.created_at),
        updated_at: Set(role.updated_at),
    };
    if !store::insert(&change.tx, row).await? {
        return Err(RbacError::NameTaken);
    }
    let detail = json!({ "after": audited(&role) });
    audit::record(&change, Record::success("role.create", "role", role.id.0, detail)).await?;
    change.commit().await?;
    Ok(role)
}

/// Changes a role that is as the caller has read it. Whoever changes what it grants holds what it gains, and what it
/// loses; whoever changes what people are told of it holds all that it grants. A patch that changes nothing tells nobody.
///
/// # Errors
/// [`RbacError::NotFound`], [`RbacError::BuiltIn`], [`RbacError::Changed`], and those of [`create_role`].
pub async fn update_role(
    context: &Context,
    caller: &Authorized<RolesWrite>,
    origin: &Origin,
    id: RoleId,
    expected: &Expected,
    patch: RolePatch,
) -> Result<Role, RbacError> {
    let tenant = caller.principal().tenant;
    let mut change = context.change(tenant, caller.actor(), origin).await?;
    let (before, role) = find_for_change(&change, id, expected).await?;
    let RolePatch {
        name,
        description,
        permissions,
    } = patch;
    let mut after = role.clone();
    if let Some(permissions) = permissions {
        after.permissions = known(&change.tx, tenant, permissions).await?;
        if !may_grant(&caller.principal().permissions, difference(&role, &after)) {
            return Err(RbacError::Escalation);
        }
    }
    if let Some(description) = description {
        after.description = description;
    }
    let mut row = before.into_active_model();
    if let Some(name) = name {
        if store::is_taken(&change.tx, tenant, id, &name).await? {
            return Err(RbacError::NameTaken);
        }
        name.written().clone_into(&mut after.name);
        row.name_canonical.set_if_not_equals(name.canonical().to_owned());
    }
    if after == role {
        return Ok(role);
    }
    let is_told_anew = (&after.name, &after.description) != (&role.name, &role.description);
    if is_told_anew && !may_grant(&caller.principal().permissions, role.permissions.iter()) {
        return Err(RbacError::Escalation);
    }
    after.version = Version(role.version.0 + 1);
    after.updated_at = change.now;
    row.name.set_if_not_equals(after.name.clone());
    row.description.set_if_not_equals(after.description.clone());
    row.permissions.set_if_not_equals(names(&after.permissions));
    row.version = Set(after.version);
    row.updated_at = Set(after.updated_at);
    row.update(&change.tx).await?;
    if after.name != role.name && store::rename_in_policy(&change.tx, tenant, &role.name, &after.name).await?
    {
        let renamed = json!({ "renamed_role": { "before": role.name, "after": after.name } });
        let record = Record::success("tenant.settings.update", "tenant", tenant.0, renamed);
        audit::record(&change, record).await?;
        change.signal(SignalKind::TenantChanged, tenant.0).await?;
    }
    let detail = json!({ "before": audited(&role), "after": audited(&after) });
    audit::record(&change, Record::success("role.update", "role", id.0, detail)).await?;
    change.signal(SignalKind::RoleChanged, id.0).await?;
    change.commit().await?;
    Ok(after)
}

/// Deletes a role that is as the caller has read it, and takes it from whoever holds it. One of which a second factor is
/// required stays: a role made later under its name would not be it, and its holders would be asked for none.
///
/// # Errors
/// [`RbacError::NotFound`], [`RbacError::BuiltIn`], [`RbacError::Changed`], [`RbacError::Escalation`],
/// [`RbacError::InPolicy`].
pub async fn delete_role(
    context: &Context,
    caller: &Authorized<RolesWrite>,
    origin: &Origin,
    id: RoleId,
    expected: &Expected,
) -> Result<(), RbacError> {
    let tenant = caller.principal().tenant;
    let mut change = context.change(tenant, caller.actor(), origin).await?;
    let (_, role) = find_for_change(&change, id, expected).await?;
    if !may_grant(&caller.principal().permissions, role.permissions.iter()) {
        return Err(RbacError::Escalation);
    }
    if store::is_in_policy(&change.tx, tenant, &role.name).await? {
        return Err(RbacError::InPolicy);
    }
    let holders = store::delete(&change.tx, tenant, id).await?;
    let detail = json!({
        "before": audited(&role),
        "user_ids": holders.users,
        "service_account_ids": holders.service_accounts,
    });
    audit::record(&change, Record::success("role.delete", "role", id.0, detail)).await?;
    // Ids alone, so that nothing of them has to be erased with an account.
    let events: Vec<_> = holders
        .users
        .iter()
        .map(|user| assignment::unassigned(&role, UserId(*user)))
        .collect();
    for events in events.chunks(EVENTS_AT_ONCE) {
        outbox::emit_each(&mut change, None, events).await?;
    }
    change.signal(SignalKind::RoleChanged, id.0).await?;
    change.commit().await?;
    Ok(())
}

/// The permissions, if each of them is there to be granted in the tenant. To be asked by whoever takes turns: none of
/// them can go meanwhile.
async fn known(tx: &Tx, tenant: TenantId, asked: Vec<String>) -> Result<Permissions, RbacError> {
    let is_platform = store::is_platform(tx, tenant).await?;
    let own = store::permissions::names(tx, tenant).await?;
    let builtin = catalogue(is_platform).map(|(name, _)| name);
    let there: HashSet<&str> = builtin.chain(own.iter().map(String::as_str)).collect();
    let unknown: Vec<usize> = (0..)
        .zip(&asked)
        .filter(|(_, name)| !there.contains(name.as_str()))
        .map(|(place, _)| place)
        .collect();
    if unknown.is_empty() {
        Ok(asked.into_iter().collect())
    } else {
        Err(RbacError::UnknownPermissions(unknown))
    }
}

/// What one of the two grants and the other does not.
fn difference<'a>(before: &'a Role, after: &'a Role) -> impl Iterator<Item = &'a str> {
    let only = |one: &'a Role, other: &'a Role| {
        one.permissions
            .iter()
            .filter(|permission| !other.permissions.contains(permission))
    };
    only(before, after).chain(only(after, before))
}

fn names(permissions: &Permissions) -> Vec<String> {
    permissions.iter().map(str::to_owned).collect()
}

fn audited(role: &Role) -> Value {
    json!({ "name": role.name, "description": role.description, "permissions": names(&role.permissions) })
}
