//! Invitations: asking someone by mail to join a tenant with given roles.
//!
//! An invitation is `pending` until it is `accepted`, `revoked` or `expired`. There is one open invitation for an
//! address: a newer one takes the place of the older. Who accepts gets the roles of the invitation that are still there,
//! and an account, unless the address has one.
//!
//! An invitation is worth as much as whoever made it is now: it is void while they could not make it any more, because
//! they were disabled, deleted or lost a permission, or because its roles came to grant what they do not hold. One made
//! with an API key ends with that key, even if another has taken its place. What the platform itself sends, to the first
//! owner of a tenant, stands by itself.
//!
//! What must never happen: an invitation that is accepted twice, or after it was taken back; one that grants what nobody
//! who stands behind it could grant.

mod service;
mod store;

use chrono::{DateTime, Utc};
use uuid::Uuid;

pub use self::service::{CreateInvitation, create_invitation, invite, list_invitations, revoke_invitation};
pub(crate) use self::store::accept;
use super::Email;
use crate::{
    entity::invitation,
    error::{Internal, internal_variant},
    id::{InvitationId, RoleId, UserId},
    limit::{Exceeded, Refused},
    rbac::AssignError,
};

/// Pending invitations of one tenant.
pub const MAX_PENDING: u64 = 1_000;

/// Where an invitation stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvitationStatus {
    /// It can be accepted.
    Pending,
    /// It was.
    Accepted,
    /// Its time is over.
    Expired,
    /// It was taken back, or another took its place.
    Revoked,
}

impl InvitationStatus {
    fn of(row: &invitation::Model, now: DateTime<Utc>) -> Self {
        if row.accepted_at.is_some() {
            Self::Accepted
        } else if row.revoked_at.is_some() {
            Self::Revoked
        } else if row.expires_at <= now {
            Self::Expired
        } else {
            Self::Pending
        }
    }
}

/// A role of an invitation.
#[derive(Clone, Debug)]
pub struct InvitedRole {
    /// Its id.
    pub id: RoleId,
    /// Its name.
    pub name: String,
}

/// Someone is asked to join.
#[derive(Clone, Debug)]
pub struct Invitation {
    /// Its id.
    pub id: InvitationId,
    /// As it was written.
    pub email: String,
    /// Those of its roles that are still there.
    pub roles: Vec<InvitedRole>,
    /// Where it stands.
    pub status: InvitationStatus,
    /// Who asked; none for the platform, and for a key that is nobody's.
    pub invited_by: Option<UserId>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// Until when it can be accepted.
    pub expires_at: DateTime<Utc>,
    /// When it was accepted.
    pub accepted_at: Option<DateTime<Utc>>,
}

impl Invitation {
    /// The invitation of a row, with those of its roles that are among `roles`.
    fn of(row: invitation::Model, roles: &[InvitedRole], now: DateTime<Utc>) -> Self {
        let status = InvitationStatus::of(&row, now);
        let invitation::Model {
            id,
            tenant_id: _,
            email,
            email_canonical: _,
            role_ids,
            invited_by,
            api_key_id: _,
            created_at,
            expires_at,
            accepted_at,
            revoked_at: _,
        } = row;
        let known = |id: Uuid| roles.iter().find(|role| role.id.0 == id).cloned();
        Self {
            id,
            email,
            roles: role_ids.into_iter().filter_map(known).collect(),
            status,
            invited_by,
            created_at,
            expires_at,
            accepted_at,
        }
    }
}

/// Which invitations are asked for.
#[derive(Clone, Debug, Default)]
pub struct InvitationFilter {
    /// Those that stand so.
    pub status: Option<InvitationStatus>,
    /// Those to the address.
    pub email: Option<Email>,
}

/// Why nobody was invited, or an invitation stands.
#[derive(Debug, thiserror::Error)]
pub enum InvitationError {
    /// The tenant has no such invitation.
    #[error("there is no such invitation")]
    NotFound,
    /// It was accepted before it could be taken back.
    #[error("the invitation was accepted")]
    Accepted,
    /// Its roles cannot be given by the caller.
    #[error(transparent)]
    Roles(AssignError),
    /// The tenant has as many pending invitations as it may.
    #[error("a tenant has {MAX_PENDING} pending invitations at most")]
    TooMany,
    /// The tenant, or somebody at that address, has been sent as many mails as may be for now.
    #[error("too many mails; come back after {0:?}")]
    TooOften(Exceeded),
    /// A failure inside.
    #[error(transparent)]
    Internal(Internal),
}

internal_variant!(InvitationError: Internal sea_orm::DbErr serde_json::Error);

impl From<Refused> for InvitationError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::TooOften(limit) => Self::TooOften(limit),
            Refused::Closed(closed) => Self::Internal(Internal::unavailable(closed)),
        }
    }
}

impl From<AssignError> for InvitationError {
    fn from(error: AssignError) -> Self {
        match error {
            AssignError::Internal(error) => Self::Internal(error),
            refused => Self::Roles(refused),
        }
    }
}
