//! What administrators do with service accounts.

use sea_orm::{ActiveModelTrait, ActiveValue::Set, DbErr, IntoActiveModel};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{ServiceAccount, ServiceAccountStatus, store};
use crate::{
    audit::{self, Record},
    context::{Change, Context},
    entity::{KeyRevokeReason, service_account},
    error::{Internal, internal_variant},
    id::{ApiKeyId, RoleId, ServiceAccountId, TenantId},
    outbox::{self, event},
    page::{Page, PageRequest},
    permission::{Authorized, ServiceAccountsRead, ServiceAccountsWrite},
    principal::{Origin, Permissions},
    rbac::{self, Builtin, Role},
    signal::SignalKind,
    tenant::{self, PLATFORM_SLUG},
};

/// The most service accounts of a tenant.
pub const MAX_SERVICE_ACCOUNTS: u32 = 1_000;
/// The most roles of one.
pub const MAX_ROLES: u32 = 50;

/// Why nothing was done to a service account.
#[derive(Debug, thiserror::Error)]
pub enum ServiceAccountError {
    /// The tenant has no such service account.
    #[error("there is no such service account")]
    NotFound,
    /// The tenant has no such role; which of those named.
    #[error("there is no such role")]
    UnknownRole(usize),
    /// The roles grant what the caller does not hold, or `owner` is among them.
    #[error("nobody grants what they do not hold, and no machine owns a tenant")]
    Escalation,
    /// The tenant has as many as it may.
    #[error("a tenant has at most {0} service accounts")]
    LimitReached(u32),
    /// A failure inside.
    #[error(transparent)]
    Internal(Internal),
}

internal_variant!(ServiceAccountError: Internal DbErr);

type Result<T> = std::result::Result<T, ServiceAccountError>;

/// A service account to be.
#[derive(Debug)]
pub struct NewServiceAccount {
    /// For people.
    pub name: String,
    /// For people.
    pub description: Option<String>,
    /// What it may do.
    pub roles: Vec<RoleId>,
}

/// What to change of a service account.
#[derive(Debug, Default)]
pub struct ServiceAccountPatch {
    /// For people.
    pub name: Option<String>,
    /// For people.
    pub description: Option<Option<String>>,
    /// Whether its keys work.
    pub status: Option<ServiceAccountStatus>,
    /// Replaces its roles.
    pub roles: Option<Vec<RoleId>>,
}

/// Makes a service account.
///
/// # Errors
/// When a role is unknown, grants more than the caller holds, or the tenant has [`MAX_SERVICE_ACCOUNTS`] already.
pub async fn create(
    context: &Context,
    caller: &Authorized<ServiceAccountsWrite>,
    origin: &Origin,
    new: NewServiceAccount,
) -> Result<ServiceAccount> {
    let tenant = caller.principal().tenant;
    let mut change = context.change(tenant, caller.actor(), origin).await?;
    if store::count_for_insert(&change.tx, tenant).await? >= u64::from(MAX_SERVICE_ACCOUNTS) {
        return Err(ServiceAccountError::LimitReached(MAX_SERVICE_ACCOUNTS));
    }
    let roles = grantable(&change, &caller.principal().permissions, &new.roles, &[]).await?;
    let row = service_account::ActiveModel {
        id: Set(ServiceAccountId(context.uuid(change.now))),
        tenant_id: Set(tenant),
        name: Set(new.name),
        description: Set(new.description),
        status: Set(ServiceAccountStatus::Active),
        created_at: Set(change.now),
        updated_at: Set(change.now),
    };
    let row = row.insert(&change.tx).await?;
    store::set_roles(&change.tx, tenant, row.id, &ids(&roles), change.now).await?;
    let account = ServiceAccount::of(row, named(roles));
    finish(
        &mut change,
        "service_account.create",
        account.id,
        audited(&account),
    )
    .await?;
    change.commit().await?;
    Ok(account)
}

/// The tenant's service accounts, newest first.
///
/// # Errors
/// Only failures inside.
pub async fn list(
    context: &Context,
    caller: &Authorized<ServiceAccountsRead>,
    page: PageRequest,
) -> Result<Page<ServiceAccount>> {
    let tenant = caller.principal().tenant;
    let tx = context.postgres.tenant(tenant).await?;
    let rows = Page::cut(store::list(&tx, tenant, page).await?, page, |row| row.id.0);
    let ids = rows.data.iter().map(|row| row.id.0).collect();
    let mut roles = store::roles_of(&tx, tenant, ids).await?;
    Ok(rows.map(|row| {
        let roles = roles.remove(&row.id).unwrap_or_default();
        ServiceAccount::of(row, roles)
    }))
}

/// One service account.
///
/// # Errors
/// [`ServiceAccountError::NotFound`].
pub async fn get(
    context: &Context,
    caller: &Authorized<ServiceAccountsRead>,
    id: ServiceAccountId,
) -> Result<ServiceAccount> {
    let tenant = caller.principal().tenant;
    let tx = context.postgres.tenant(tenant).await?;
    let row = store::find(&tx, tenant, id).await?;
    let row = row.ok_or(ServiceAccountError::NotFound)?;
    let roles = store::roles_of(&tx, tenant, vec![id.0]).await?.remove(&id);
    Ok(ServiceAccount::of(row, roles.unwrap_or_default()))
}

/// Changes a service account; its keys are held to it at once. Roles that it gains or loses must be the caller's to give,
/// and so must all that it holds for who turns it off or on.
///
/// # Errors
/// As [`create`], and [`ServiceAccountError::NotFound`].
pub async fn update(
    context: &Context,
    caller: &Authorized<ServiceAccountsWrite>,
    origin: &Origin,
    id: ServiceAccountId,
    patch: ServiceAccountPatch,
) -> Result<ServiceAccount> {
    let ServiceAccountPatch {
        name,
        description,
        status,
        roles,
    } = patch;
    let tenant = caller.principal().tenant;
    let mut change = context.change(tenant, caller.actor(), origin).await?;
    let row = store::hold(&change.tx, tenant, id).await?;
    let row = row.ok_or(ServiceAccountError::NotFound)?;
    let is_platform = is_platform(&change).await?;
    let held = store::held(&change.tx, tenant, is_platform, id).await?;
    let before = ServiceAccount::of(row.clone(), named(held.clone()));
    let holder = &caller.principal().permissions;
    if status.is_some_and(|status| status != before.status) && !may_give(holder, &held) {
        return Err(ServiceAccountError::Escalation);
    }
    let roles = match roles {
        Some(wanted) => {
            let is_lost = |role: &&Role| !wanted.contains(&role.id);
            let lost: Vec<Role> = held.iter().filter(is_lost).cloned().collect();
            if !may_give(holder, &lost) {
                return Err(ServiceAccountError::Escalation);
            }
            let held: Vec<RoleId> = held.iter().map(|role| role.id).collect();
            let roles = grantable(&change, holder, &wanted, &held).await?;
            store::set_roles(&change.tx, tenant, id, &ids(&roles), change.now).await?;
            roles
        }
        None => held,
    };
    let mut row = row.into_active_model();
    row.name
        .set_if_not_equals(name.unwrap_or_else(|| before.name.clone()));
    row.description
        .set_if_not_equals(description.unwrap_or_else(|| before.description.clone()));
    row.status.set_if_not_equals(status.unwrap_or(before.status));
    row.updated_at = Set(change.now);
    let account = ServiceAccount::of(row.update(&change.tx).await?, named(roles));
    let detail = json!({ "before": audited(&before), "after": audited(&account) });
    finish(&mut change, "service_account.update", id, detail).await?;
    change.commit().await?;
    Ok(account)
}

/// Deletes a service account, and its keys with it. All that it holds must be the caller's to give.
///
/// # Errors
/// [`ServiceAccountError::NotFound`], [`ServiceAccountError::Escalation`].
pub async fn delete(
    context: &Context,
    caller: &Authorized<ServiceAccountsWrite>,
    origin: &Origin,
    id: ServiceAccountId,
) -> Result<()> {
    let tenant = caller.principal().tenant;
    let mut change = context.change(tenant, caller.actor(), origin).await?;
    let row = store::hold(&change.tx, tenant, id).await?;
    let row = row.ok_or(ServiceAccountError::NotFound)?;
    let held = store::held(&change.tx, tenant, is_platform(&change).await?, id).await?;
    if !may_give(&caller.principal().permissions, &held) {
        return Err(ServiceAccountError::Escalation);
    }
    let roles = store::roles_of(&change.tx, tenant, vec![id.0]).await?.remove(&id);
    let before = audited(&ServiceAccount::of(row, roles.unwrap_or_default()));
    let keys = store::live_keys(&change.tx, tenant, id, change.now).await?;
    store::delete(&change.tx, tenant, id).await?;
    let reason = KeyRevokeReason::OwnerDeleted;
    let ended: Vec<_> = keys
        .iter()
        .map(|key| event::ApiKeyRevoked {
            key_id: ApiKeyId(*key),
            reason,
        })
        .collect();
    if !keys.is_empty() {
        let targets = ended.iter().map(|ended| (ended.key_id.0, json!(ended)));
        audit::record_each(&change, "api_key.revoke", "api_key", targets).await?;
        outbox::emit_each(&mut change, None, &ended).await?;
        change.signal_each(SignalKind::ApiKeyChanged, &keys).await?;
    }
    let detail = json!({ "before": before, "revoked_keys": keys.len() });
    finish(&mut change, "service_account.delete", id, detail).await?;
    change.commit().await?;
    Ok(())
}

/// The service account that a key is to act for, held until the transaction ends, if the caller could give it all that
/// its roles grant; nothing if the tenant has none of that id.
pub(crate) async fn hold_grantable(
    change: &Change<'_>,
    holder: &Permissions,
    id: ServiceAccountId,
) -> std::result::Result<Option<bool>, Internal> {
    if store::hold(&change.tx, change.tenant, id).await?.is_none() {
        return Ok(None);
    }
    let held = store::held(&change.tx, change.tenant, is_platform(change).await?, id).await?;
    Ok(Some(may_give(holder, &held)))
}

fn may_give(holder: &Permissions, roles: &[Role]) -> bool {
    let permissions = roles.iter().flat_map(|role| role.permissions.iter());
    let none_owns = roles.iter().all(|role| role.builtin != Some(Builtin::Owner));
    none_owns && rbac::may_grant(holder, permissions)
}

/// The roles named, if there are such and the caller may give those that are not held already.
async fn grantable(
    change: &Change<'_>,
    holder: &Permissions,
    wanted: &[RoleId],
    held: &[RoleId],
) -> Result<Vec<Role>> {
    let ids: Vec<Uuid> = wanted.iter().map(|role| role.0).collect();
    let is_platform = is_platform(change).await?;
    let roles = store::hold_roles(&change.tx, change.tenant, is_platform, ids).await?;
    let unknown = |wanted: &RoleId| roles.iter().all(|role| role.id != *wanted);
    if let Some(at) = wanted.iter().position(unknown) {
        return Err(ServiceAccountError::UnknownRole(at));
    }
    let is_gained = |role: &&Role| !held.contains(&role.id);
    let gained: Vec<Role> = roles.iter().filter(is_gained).cloned().collect();
    may_give(holder, &gained)
        .then_some(roles)
        .ok_or(ServiceAccountError::Escalation)
}

async fn is_platform(change: &Change<'_>) -> std::result::Result<bool, DbErr> {
    let tenant: TenantId = change.tenant;
    let row = tenant::store::find(&change.tx, tenant).await?;
    Ok(row.is_some_and(|row| row.slug == PLATFORM_SLUG))
}

fn ids(roles: &[Role]) -> Vec<Uuid> {
    roles.iter().map(|role| role.id.0).collect()
}

fn named(roles: Vec<Role>) -> Vec<(RoleId, String)> {
    let mut named: Vec<_> = roles.into_iter().map(|role| (role.id, role.name)).collect();
    named.sort_by(|(_, one), (_, other)| one.cmp(other));
    named
}

async fn finish(
    change: &mut Change<'_>,
    action: &'static str,
    id: ServiceAccountId,
    detail: Value,
) -> Result<()> {
    audit::record(change, Record::success(action, "service_account", id.0, detail)).await?;
    change.signal(SignalKind::ServiceAccountChanged, id.0).await?;
    Ok(())
}

fn audited(account: &ServiceAccount) -> Value {
    let ServiceAccount {
        id: _,
        name,
        description,
        status,
        roles,
        ..
    } = account;
    let roles: Vec<&str> = roles.iter().map(|(_, name)| &**name).collect();
    json!({ "name": name, "description": description, "status": status, "roles": roles })
}
