//! The shapes of invitations.

use latchkey_shared::{
    auth::Accept,
    id::RoleId,
    secret::Secret,
    user::{
        User,
        invitation::{CreateInvitation, Invitation, InvitationStatus, InvitedRole},
    },
};
use poem_openapi::{Enum, Object, types::Example};
use uuid::Uuid;

use crate::{
    problem::Failure,
    routes::auth::{UserView, address},
    time::Timestamp,
};

/// An invitation to be.
#[derive(Object)]
#[oai(deny_unknown_fields, example)]
pub(super) struct CreateInvitationRequest {
    /// Who is invited.
    #[oai(validator(max_length = 254))]
    email: String,
    /// What they are to be; none means `member`.
    #[oai(validator(max_items = 20))]
    role_ids: Option<Vec<Uuid>>,
}

impl Example for CreateInvitationRequest {
    fn example() -> Self {
        Self {
            email: "ada@example.com".to_owned(),
            role_ids: Some(vec![Uuid::from_u128(0x0198_7a5e_3c00_7000_8000_0000_0000_0002)]),
        }
    }
}

impl CreateInvitationRequest {
    pub(super) fn read(self) -> Result<CreateInvitation, Failure> {
        let Self { email, role_ids } = self;
        Ok(CreateInvitation {
            email: address("/email", &email)?,
            roles: role_ids.unwrap_or_default().into_iter().map(RoleId).collect(),
        })
    }
}

/// Where an invitation stands.
#[derive(Enum)]
#[oai(rename = "InvitationStatus", rename_all = "snake_case")]
pub(super) enum InvitationStatusView {
    Pending,
    Accepted,
    Expired,
    Revoked,
}

impl From<InvitationStatusView> for InvitationStatus {
    fn from(status: InvitationStatusView) -> Self {
        match status {
            InvitationStatusView::Pending => Self::Pending,
            InvitationStatusView::Accepted => Self::Accepted,
            InvitationStatusView::Expired => Self::Expired,
            InvitationStatusView::Revoked => Self::Revoked,
        }
    }
}

impl From<InvitationStatus> for InvitationStatusView {
    fn from(status: InvitationStatus) -> Self {
        match status {
            InvitationStatus::Pending => Self::Pending,
            InvitationStatus::Accepted => Self::Accepted,
            InvitationStatus::Expired => Self::Expired,
            InvitationStatus::Revoked => Self::Revoked,
        }
    }
}

/// A role of an invitation.
#[derive(Object)]
#[oai(rename = "InvitedRole")]
struct InvitedRoleView {
    id: Uuid,
    name: String,
}

/// Someone is asked to join.
#[derive(Object)]
#[oai(rename = "Invitation")]
pub(super) struct InvitationView {
    id: Uuid,
    email: String,
    /// Those of its roles that are still there.
    roles: Vec<InvitedRoleView>,
    status: InvitationStatusView,
    /// The user who asked; null where it was the platform, or a key that is nobody's.
    invited_by: Option<Uuid>,
    created_at: Timestamp,
    /// Until when it can be accepted.
    expires_at: Timestamp,
    accepted_at: Option<Timestamp>,
}

impl From<Invitation> for InvitationView {
    fn from(invitation: Invitation) -> Self {
        let Invitation {
            id,
            email,
            roles,
            status,
            invited_by,
            created_at,
            expires_at,
            accepted_at,
        } = invitation;
        let role = |InvitedRole { id, name }: InvitedRole| InvitedRoleView { id: id.0, name };
        Self {
            id: id.0,
            email,
            roles: roles.into_iter().map(role).collect(),
            status: status.into(),
            invited_by: invited_by.map(|user| user.0),
            created_at: created_at.into(),
            expires_at: expires_at.into(),
            accepted_at: accepted_at.map(Into::into),
        }
    }
}

/// An answer to an invitation.
#[derive(Object)]
#[oai(deny_unknown_fields)]
pub(super) struct AcceptInvitationRequest {
    /// From the link in the mail.
    #[oai(validator(max_length = 256))]
    pub(super) token: String,
    /// Of the new account: 8 to 256 characters. Where the address has an account, and a mail has proven it, that one's
    /// password stays.
    #[oai(validator(min_length = 8, max_length = 256))]
    password: String,
    /// What the user goes by.
    #[oai(validator(min_length = 1, max_length = 200))]
    name: Option<String>,
}

impl From<AcceptInvitationRequest> for Accept {
    fn from(request: AcceptInvitationRequest) -> Self {
        let AcceptInvitationRequest {
            token,
            password,
            name,
        } = request;
        Self {
            token,
            password: Secret::new(password),
            name,
        }
    }
}

/// Someone has joined.
#[derive(Object)]
#[oai(rename = "AcceptedInvitation")]
pub(super) struct AcceptedView {
    user: UserView,
}

impl From<User> for AcceptedView {
    fn from(user: User) -> Self {
        Self { user: user.into() }
    }
}
