//! What an invitation is worth when it is accepted: as much as whoever stands behind it is now.

use super::api_key;
use crate::{
    context::Change,
    entity::invitation,
    error::Internal,
    id::{RoleId, UserId},
    permission::{InvitationsWrite, Permission},
    rbac::{self, Granter, Role},
    tenant::Tenant,
    user::{UserStatus, store},
};

/// What an invitation that is being accepted grants; nothing if it is void, because nobody who stands behind it could
/// make it now.
pub(super) async fn granted(
    change: &Change<'_>,
    tenant: &Tenant,
    row: &invitation::Model,
) -> Result<Option<Vec<Role>>, Internal> {
    let roles: Vec<RoleId> = row.role_ids.iter().copied().map(RoleId).collect();
    let roles = rbac::find_roles(&change.tx, tenant.id, &roles).await?;
    let inviter = match (row.api_key_id, row.invited_by) {
        (Some(key), _) => {
            let permissions = api_key::worth(&change.tx, tenant, key, change.now).await?;
            permissions.map(|permissions| Granter {
                permissions,
                // To decide over owners is no key's.
                is_owner: false,
            })
        }
        (None, Some(user)) => in_person(change, tenant, user).await?,
        // The platform itself.
        (None, None) => return Ok(Some(roles)),
    };
    let may_invite = |inviter: &Granter| {
        inviter.permissions.contains(InvitationsWrite::NAME)
            && roles.iter().all(|role| inviter.may_give(role))
    };
    Ok(inviter.filter(may_invite).map(|_| roles))
}

async fn in_person(change: &Change<'_>, tenant: &Tenant, id: UserId) -> Result<Option<Granter>, Internal> {
    let user = store::find(&change.tx, tenant.id, id).await?;
    if user.is_none_or(|user| user.status != UserStatus::Active) {
        return Ok(None);
    }
    let held = rbac::held(&change.tx, tenant.id, tenant.is_platform(), id).await?;
    Ok(Some(Granter {
        permissions: held.permissions,
        is_owner: held.is_owner,
    }))
}
