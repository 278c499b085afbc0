//! Inviting, and taking it back.

use sea_orm::{ActiveModelTrait, ActiveValue::Set, DbErr};
use serde_json::json;

use super::{Invitation, InvitationError, InvitationFilter, MAX_PENDING, store};
use crate::{
    audit::{self, Record},
    context::{Change, Context},
    entity::invitation,
    error::Internal,
    id::{ApiKeyId, InvitationId, RoleId, TenantId, UserId},
    limit::{self, Class},
    mail::{self, Letter, To},
    page::{Page, PageRequest},
    permission::{Authorized, InvitationsRead, InvitationsWrite},
    principal::{Origin, Principal, Subject},
    rbac::{self, Builtin},
    tenant::{self, Directory, ResolveError, Tenant},
    user::{
        self, Email,
        one_time::{self, Purpose},
    },
};

/// An invitation to be.
#[derive(Clone, Debug)]
pub struct CreateInvitation {
    /// Who is invited.
    pub email: Email,
    /// What they are to be; none means `member`.
    pub roles: Vec<RoleId>,
}

/// Who stands behind an invitation; nobody for the platform itself.
#[derive(Default)]
struct Inviter {
    user: Option<UserId>,
    key: Option<ApiKeyId>,
    /// What the mail says of it.
    name: Option<String>,
}

/// Invites the address in the platform's own name into the change's tenant.
///
/// # Errors
/// Only failures inside.
pub async fn invite(
    change: &mut Change<'_>,
    tenant: &Tenant,
    email: &Email,
    roles: Vec<RoleId>,
) -> Result<InvitationId, Internal> {
    let row = write(change, tenant, email, &roles, Inviter::default()).await?;
    Ok(row.id)
}

/// Invites the address into the caller's tenant, in the place of any earlier invitation that is open.
///
/// # Errors
/// [`InvitationError::Roles`], [`InvitationError::TooMany`], [`InvitationError::TooOften`].
pub async fn create_invitation(
    context: &Context,
    tenants: &Directory,
    caller: &Authorized<InvitationsWrite>,
    origin: &Origin,
    request: CreateInvitation,
) -> Result<Invitation, InvitationError> {
    let by = caller.principal();
    let CreateInvitation { email, roles: asked } = request;
    spend(context, tenants, by.tenant, &email).await?;
    let mut change = context.change(by.tenant, caller.actor(), origin).await?;
    let asked = if asked.is_empty() {
        vec![rbac::builtin_id(&change.tx, by.tenant, Builtin::Member).await?]
    } else {
        asked
    };
    let (_, roles) = rbac::find_grantable(&change.tx, by, &asked).await?;
    store::take_turns(&change.tx, by.tenant).await?;
    let tenant = tenant::store::find(&change.tx, by.tenant).await?;
    let gone = || DbErr::RecordNotFound("the caller's tenant".to_owned());
    let tenant = Tenant::try_from(tenant.ok_or_else(gone)?)?;
    let inviter = inviter(&change, by).await?;
    let roles: Vec<RoleId> = roles.iter().map(|role| role.id).collect();
    let row = write(&mut change, &tenant, &email, &roles, inviter).await?;
    if store::count_pending(&change.tx, tenant.id, change.now).await? > MAX_PENDING {
        return Err(InvitationError::TooMany);
    }
    let roles = store::roles(&change.tx, tenant.id, row.role_ids.clone()).await?;
    let now = change.now;
    change.commit().await?;
    Ok(Invitation::of(row, &roles, now))
}

/// An invitation costs the tenant's share of the mails, and so does another to the same address. The share is remembered:
/// of a hundred who invite at once none waits for a connection only to be counted.
async fn spend(
    context: &Context,
    tenants: &Directory,
    id: TenantId,
    email: &Email,
) -> Result<(), InvitationError> {
    let tenant = match tenants.get(id).await {
        Ok(tenant) => tenant,
        Err(ResolveError::Internal(error)) => return Err(error.into()),
        Err(_) => None,
    };
    let share = tenant.and_then(|tenant| tenant.rate_limits.of(Class::Mail));
    let subjects = [
        limit::Subject::Tenant(id, share),
        limit::Subject::Account(id, "invitation", email.canonical()),
    ];
    Ok(context.limits.spend(Class::Mail, &subjects).await?)
}

async fn inviter(change: &Change<'_>, by: &Principal) -> Result<Inviter, DbErr> {
    let user = match by.subject {
        Subject::User(user) => Some(user),
        Subject::ServiceAccount(_) | Subject::Tenant => None,
    };
    // A key is not its owner in person.
    let named = match user.filter(|_| by.key.is_none()) {
        Some(user) => user::store::find(&change.tx, by.tenant, user).await?,
        None => None,
    };
    Ok(Inviter {
        user,
        key: by.key,
        name: named.and_then(|user| user.name),
    })
}

/// Writes the invitation and its mail, in the place of any that is open.
async fn write(
    change: &mut Change<'_>,
    tenant: &Tenant,
    email: &Email,
    roles: &[RoleId],
    inviter: Inviter,
) -> Result<invitation::Model, Internal> {
    if let Some(open) = store::find_open(&change.tx, change.tenant, email.canonical()).await? {
        end(change, open, "invitation.supersede").await?;
    }
    let id = InvitationId::new(change.now, &*change.context.random);
    let expires_at = change.now + change.context.config.tokens.invitation_ttl;
    let row = invitation::ActiveModel {
        id: Set(id),
        tenant_id: Set(change.tenant),
        email: Set(email.written().to_owned()),
        email_canonical: Set(email.canonical().to_owned()),
        role_ids: Set(roles.iter().map(|role| role.0).collect()),
        invited_by: Set(inviter.user),
        api_key_id: Set(inviter.key),
        created_at: Set(change.now),
        expires_at: Set(expires_at),
        accepted_at: Set(None),
        revoked_at: Set(None),
    };
    let row = row.insert(&change.tx).await?;
    let purpose = Purpose::AcceptInvitation;
    let token = one_time::issue(change, purpose, id.0, email.canonical(), expires_at).await?;
    let letter = Letter::Invitation {
        token,
        inviter: inviter.name,
    };
    mail::queue(change, tenant.brand(), To::address(email.written()), letter).await?;
    // Ids only: the audit trail outlives whoever is invited.
    let record = Record::success(
        "invitation.create",
        "invitation",
        id.0,
        json!({ "role_ids": roles }),
    );
    audit::record(change, record).await?;
    Ok(row)
}

/// Ends an invitation that was not accepted; whether this call did it.
async fn end(change: &Change<'_>, id: InvitationId, action: &'static str) -> Result<bool, Internal> {
    // The token before the invitation, as an acceptance takes them: two that wait for each other would both be refused.
    one_time::revoke(change, id.0, &[Purpose::AcceptInvitation]).await?;
    let ended = store::revoke(&change.tx, change.tenant, id, change.now).await?;
    if ended {
        audit::record(change, Record::success(action, "invitation", id.0, json!({}))).await?;
    }
    Ok(ended)
}

/// A page of the tenant's invitations, newest first.
///
/// # Errors
/// Only failures inside.
pub async fn list_invitations(
    context: &Context,
    caller: &Authorized<InvitationsRead>,
    filter: &InvitationFilter,
    page: PageRequest,
) -> Result<Page<Invitation>, Internal> {
    let (tenant, now) = (caller.principal().tenant, context.clock.now());
    let tx = context.postgres.tenant(tenant).await?;
    let rows = store::list(&tx, tenant, filter, page, now).await?;
    let named = rows.iter().flat_map(|row| row.role_ids.iter().copied());
    let roles = store::roles(&tx, tenant, named).await?;
    let page = Page::cut(rows, page, |row| row.id.0);
    Ok(page.map(|row| Invitation::of(row, &roles, now)))
}

/// Takes an invitation back: its token is dead from now on. One that has ended stays as it is.
///
/// # Errors
/// [`InvitationError::NotFound`], [`InvitationError::Accepted`].
pub async fn revoke_invitation(
    context: &Context,
    caller: &Authorized<InvitationsWrite>,
    origin: &Origin,
    id: InvitationId,
) -> Result<(), InvitationError> {
    let tenant = caller.principal().tenant;
    let change = context.change(tenant, caller.actor(), origin).await?;
    if !end(&change, id, "invitation.revoke").await? {
        let row = store::find(&change.tx, tenant, id).await?;
        let row = row.ok_or(InvitationError::NotFound)?;
        return match row.accepted_at {
            Some(_) => Err(InvitationError::Accepted),
            None => Ok(()),
        };
    }
    change.commit().await?;
    Ok(())
}
