//! Who holds which role.

use std::collections::HashSet;

use sea_orm::DbErr;
use serde_json::json;
use uuid::Uuid;

use super::{AssignError, Builtin, Held, MAX_ROLES_OF_USER, Role, grant::Granter, resolve, store};
use crate::{
    audit::{self, Record},
    context::{Change, Context},
    id::{RoleId, TenantId, UserId},
    outbox::{self, Payload, event},
    page::{Page, PageRequest},
    permission::{Authorized, RolesWrite, UsersRead},
    postgres::Tx,
    principal::{Origin, Principal, Subject},
    signal::SignalKind,
};

/// A page of the roles that a user holds, newest role first.
///
/// # Errors
/// [`AssignError::UserNotFound`].
pub async fn list_user_roles(
    context: &Context,
    caller: &Authorized<UsersRead>,
    user: UserId,
    page: PageRequest,
) -> Result<Page<Role>, AssignError> {
    let tenant = caller.principal().tenant;
    let tx = context.postgres.tenant(tenant).await?;
    if !store::has_user(&tx, tenant, user).await? {
        return Err(AssignError::UserNotFound);
    }
    let rows = store::list_of_user(&tx, tenant, user, page).await?;
    let is_platform = store::is_platform(&tx, tenant).await?;
    let roles = resolve(&tx, tenant, is_platform, rows).await?;
    Ok(Page::cut(roles, page, |role| role.id.0))
}

/// Gives the user a role; one that is held already changes nothing.
///
/// # Errors
/// See [`AssignError`].
pub async fn assign_role(
    context: &Context,
    caller: &Authorized<RolesWrite>,
    origin: &Origin,
    user: UserId,
    role: RoleId,
) -> Result<(), AssignError> {
    let by = caller.principal();
    let mut change = context.change(by.tenant, caller.actor(), origin).await?;
    assign_checked(&mut change, by, user, &[role]).await?;
    change.commit().await?;
    Ok(())
}

/// Gives the user the roles, if `by` may. What is held already changes nothing. To be committed by the caller.
///
/// # Errors
/// See [`AssignError`]; the change must not be committed then.
pub async fn assign_checked(
    change: &mut Change<'_>,
    by: &Principal,
    user: UserId,
    roles: &[RoleId],
) -> Result<(), AssignError> {
    if !store::hold_user(&change.tx, change.tenant, user).await? {
        return Err(AssignError::UserNotFound);
    }
    let (granter, roles) = find_grantable(&change.tx, by, roles).await?;
    if !granter.may_change(is_owner(&change.tx, change.tenant, user).await?) {
        return Err(AssignError::Escalation);
    }
    give(change, user, &roles).await
}

/// Gives the user roles that somebody was found to may give: once for each, writes it down and tells of it.
///
/// # Errors
/// [`AssignError::TooManyRoles`].
pub(crate) async fn give(change: &mut Change<'_>, user: UserId, roles: &[Role]) -> Result<(), AssignError> {
    let ids: Vec<Uuid> = roles.iter().map(|role| role.id.0).collect();
    let given = store::assign(&change.tx, change.tenant, user, ids, change.now).await?;
    if given.is_empty() {
        return Ok(());
    }
    if store::count_of_user(&change.tx, change.tenant, user).await? > MAX_ROLES_OF_USER {
        return Err(AssignError::TooManyRoles);
    }
    for role in roles.iter().filter(|role| given.contains(&role.id)) {
        let data = event::RoleAssigned {
            user_id: user,
            role: role.into(),
        };
        tell(change, "role.assign", role, user, &data).await?;
    }
    change.signal(SignalKind::AccountChanged, user.0).await?;
    Ok(())
}

/// Takes a role from the user; one that is not held changes nothing.
///
/// # Errors
/// See [`AssignError`].
pub async fn unassign_role(
    context: &Context,
    caller: &Authorized<RolesWrite>,
    origin: &Origin,
    user: UserId,
    role: RoleId,
) -> Result<(), AssignError> {
    let by = caller.principal();
    let mut change = context.change(by.tenant, caller.actor(), origin).await?;
    let tenant = change.tenant;
    if !store::hold_user(&change.tx, tenant, user).await? {
        return Err(AssignError::UserNotFound);
    }
    let row = store::find(&change.tx, tenant, role).await?;
    let row = row.ok_or(AssignError::UnknownRole(0))?;
    let owners = row.builtin && Builtin::parse(&row.name) == Some(Builtin::Owner);
    if owners {
        // Of owners who remove each other at once, the second is asked when it is one no longer.
        store::take_turns(&change.tx, tenant).await?;
    }
    let (granter, roles) = find_grantable(&change.tx, by, &[role]).await?;
    if !granter.may_change(is_owner(&change.tx, tenant, user).await?) {
        return Err(AssignError::Escalation);
    }
    if !store::unassign(&change.tx, tenant, user, role).await? {
        return Ok(());
    }
    if owners && !store::has_other_active_holder(&change.tx, tenant, Builtin::Owner, user).await? {
        return Err(AssignError::LastOwner);
    }
    for role in &roles {
        tell(&mut change, "role.unassign", role, user, &unassigned(role, user)).await?;
    }
    change.signal(SignalKind::AccountChanged, user.0).await?;
    change.commit().await?;
    Ok(())
}

async fn tell(
    change: &mut Change<'_>,
    action: &'static str,
    role: &Role,
    user: UserId,
    event: &impl Payload,
) -> Result<(), AssignError> {
    let detail = json!({ "role_id": role.id, "role": role.name });
    audit::record(change, Record::success(action, "user", user.0, detail)).await?;
    outbox::emit(change, Some(user), event).await?;
    Ok(())
}

/// What an event says of a role that is taken.
pub(super) fn unassigned(role: &Role, user: UserId) -> event::RoleUnassigned {
    event::RoleUnassigned {
        user_id: user,
        role: role.into(),
    }
}

impl From<&Role> for event::NamedRole {
    fn from(role: &Role) -> Self {
        Self {
            id: role.id,
            name: role.name.clone(),
        }
    }
}

/// The roles, each once, if `by` may give, or take, every one of them; and who that is. None of them can be deleted
/// until the transaction ends.
///
/// # Errors
/// [`AssignError::UnknownRole`], [`AssignError::Escalation`].
pub(crate) async fn find_grantable(
    tx: &Tx,
    by: &Principal,
    ids: &[RoleId],
) -> Result<(Granter, Vec<Role>), AssignError> {
    let roles = find_roles(tx, by.tenant, ids).await?;
    let found: HashSet<RoleId> = roles.iter().map(|role| role.id).collect();
    if let Some(place) = ids.iter().position(|id| !found.contains(id)) {
        return Err(AssignError::UnknownRole(place));
    }
    let granter = granter(tx, by).await?;
    if roles.iter().all(|role| granter.may_give(role)) {
        Ok((granter, roles))
    } else {
        Err(AssignError::Escalation)
    }
}

/// Those of the roles that the tenant has, each once. None of them can be deleted until the transaction ends.
pub(crate) async fn find_roles(tx: &Tx, tenant: TenantId, ids: &[RoleId]) -> Result<Vec<Role>, DbErr> {
    let rows = store::find_each(tx, tenant, ids).await?;
    let is_platform = store::is_platform(tx, tenant).await?;
    resolve(tx, tenant, is_platform, rows).await
}

/// The caller as one who gives roles.
async fn granter(tx: &Tx, by: &Principal) -> Result<Granter, DbErr> {
    let is_owner = match (by.subject, by.key) {
        (Subject::User(user), None) => is_owner(tx, by.tenant, user).await?,
        // A key does what its scopes say; to decide over owners is none of them.
        (Subject::User(_) | Subject::ServiceAccount(_) | Subject::Tenant, _) => false,
    };
    Ok(Granter {
        permissions: by.permissions.clone(),
        is_owner,
    })
}

/// Whether the user is an owner of the tenant.
async fn is_owner(tx: &Tx, tenant: TenantId, user: UserId) -> Result<bool, DbErr> {
    store::holds(tx, tenant, Builtin::Owner, user).await
}

/// Whether `by` may decide over a user who holds that.
pub(crate) async fn may_decide_over(tx: &Tx, by: &Principal, held: &Held) -> Result<bool, DbErr> {
    Ok(granter(tx, by).await?.may_decide_over(held))
}

/// Whether nobody else who may sign in owns the tenant: then the user can be neither disabled nor deleted. Of owners who
/// leave at once each waits here for the one before, until the transaction ends.
pub(crate) async fn is_last_owner(change: &Change<'_>, user: UserId) -> Result<bool, DbErr> {
    let (tx, tenant) = (&change.tx, change.tenant);
    // The user's row first: nobody becomes an owner while this is decided.
    if !store::hold_user(tx, tenant, user).await? || !is_owner(tx, tenant, user).await? {
        return Ok(false);
    }
    store::take_turns(tx, tenant).await?;
    let stays = store::has_other_active_holder(tx, tenant, Builtin::Owner, user).await?;
    Ok(!stays && is_owner(tx, tenant, user).await?)
}
