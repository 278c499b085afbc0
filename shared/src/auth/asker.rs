//! What somebody has asked for by mail is worth when the mail is answered: as much as whoever stands behind it is now.

use super::api_key;
use crate::{
    context::Change,
    entity::{invitation, user},
    error::Internal,
    id::{ApiKeyId, RoleId, UserId},
    permission::{InvitationsWrite, Permission, UsersWrite},
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
    let inviter = match behind(change, tenant, row.api_key_id, row.invited_by).await? {
        Behind::Somebody(inviter) => inviter,
        // The platform itself.
        Behind::Nobody => return Ok(Some(roles)),
    };
    let may_invite = |inviter: &Granter| {
        inviter.permissions.contains(InvitationsWrite::NAME)
            && roles.iter().all(|role| inviter.may_give(role))
    };
    Ok(inviter.filter(may_invite).map(|_| roles))
}

/// Whether the address that waits to be proven may still become the user's: whoever asked for it, if it was not the user,
/// could ask for it now.
pub(super) async fn may_readdress(
    change: &Change<'_>,
    tenant: &Tenant,
    user: &user::Model,
) -> Result<bool, Internal> {
    let by = match behind(change, tenant, user.pending_email_key, user.pending_email_by).await? {
        Behind::Somebody(Some(by)) => by,
        Behind::Somebody(None) => return Ok(false),
        Behind::Nobody => return Ok(true),
    };
    let held = rbac::held(&change.tx, tenant.id, tenant.is_platform(), user.id).await?;
    Ok(by.permissions.contains(UsersWrite::NAME) && by.may_decide_over(&held))
}

/// Who stands behind something that was asked for.
enum Behind {
    /// Nobody: it stands by itself.
    Nobody,
    /// Somebody, with what they may do now; nothing if they may do nothing any more.
    Somebody(Option<Granter>),
}

async fn behind(
    change: &Change<'_>,
    tenant: &Tenant,
    key: Option<ApiKeyId>,
    user: Option<UserId>,
) -> Result<Behind, Internal> {
    Ok(match (key, user) {
        (Some(key), _) => {
            let permissions = api_key::worth(&change.tx, tenant, key, change.now).await?;
            Behind::Somebody(permissions.map(|permissions| Granter {
                permissions,
                // To decide over owners is no key's.
                is_owner: false,
            }))
        }
        (None, Some(user)) => Behind::Somebody(in_person(change, tenant, user).await?),
        (None, None) => Behind::Nobody,
    })
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
