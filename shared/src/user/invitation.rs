//! Invitations: asking someone by mail to join a tenant with given roles.

use sea_orm::{ActiveModelTrait, ActiveValue::Set};
use serde_json::json;

use super::{Email, one_time, one_time::Purpose};
use crate::{
    audit::{self, Record},
    context::Change,
    entity::invitation,
    error::Internal,
    id::{InvitationId, RoleId},
    mail::{self, Letter, To},
    principal::Actor,
    tenant::Tenant,
};

/// Invites the address into the change's tenant.
///
/// # Errors
/// Only failures inside.
pub async fn invite(
    change: &mut Change<'_>,
    tenant: &Tenant,
    email: &Email,
    roles: Vec<RoleId>,
) -> Result<InvitationId, Internal> {
    let id = InvitationId::new(change.now, &*change.context.random);
    let invited_by = match change.actor {
        Actor::User(user) => Some(user),
        Actor::ApiKey(_) | Actor::Anonymous | Actor::System => None,
    };
    let row = invitation::ActiveModel {
        id: Set(id),
        tenant_id: Set(change.tenant),
        email: Set(email.written().to_owned()),
        email_canonical: Set(email.canonical().to_owned()),
        role_ids: Set(roles.into_iter().map(|role| role.0).collect()),
        invited_by: Set(invited_by),
        created_at: Set(change.now),
        accepted_at: Set(None),
    };
    row.insert(&change.tx).await?;
    let expires_at = change.now + change.context.config.tokens.invitation_ttl;
    let token = one_time::issue(
        change,
        Purpose::AcceptInvitation,
        id.0,
        email.canonical(),
        expires_at,
    )
    .await?;
    mail::queue(
        change,
        tenant.brand(),
        To::address(email.written()),
        Letter::Invitation { token, inviter: None },
    )
    .await?;
    audit::record(
        change,
        Record::success("invitation.create", "invitation", id.0, json!({})),
    )
    .await?;
    Ok(id)
}
