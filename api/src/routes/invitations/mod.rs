//! Joining a tenant.

mod model;

use latchkey_shared::{
    auth::{self, AcceptError, Auth},
    crypto::token::Kind,
    id::InvitationId,
    permission::{InvitationsRead, InvitationsWrite},
    user::{
        Email,
        invitation::{self, InvitationError, InvitationFilter},
    },
};
use poem::web::Data;
use poem_openapi::{
    OpenApi,
    param::{Path, Query},
};
use uuid::Uuid;

use self::model::{
    AcceptInvitationRequest, AcceptedView, CreateInvitationRequest, InvitationStatusView, InvitationView,
};
use super::{Tag, auth::error::invalid_token, page, passwords::error::new_password};
use crate::{
    extract::{ClientOrigin, Json, Limit, Named, Permit, SignIn},
    problem::{
        ApiResult, Busy, Conflict, Failure, FieldError, Input, Limited, NotFound, Parameters, Permitted,
        ProblemCode,
    },
    reply::{Created, List, NoContent, Ok as Reply},
};

/// The operations.
pub struct InvitationsApi;

#[OpenApi(prefix_path = "/v1/invitations", tag = "Tag::Invitations")]
impl InvitationsApi {
    /// Invite someone
    ///
    /// By mail, with roles that the caller may give; without any they become a `member`. An open invitation to the same
    /// address ends by it. The invitation is void while the caller could not make it any more; one that was made with an
    /// API key ends with that key, also where another has taken its place. Takes `invitations:write`.
    #[oai(path = "/", method = "post", operation_id = "createInvitation")]
    async fn create(
        &self,
        Data(auth): Data<&Auth>,
        Permit(caller): Permit<InvitationsWrite>,
        origin: ClientOrigin,
        body: Json<CreateInvitationRequest>,
    ) -> ApiResult<Created<InvitationView>, (Permitted, Input, Conflict, Limited)> {
        let request = body.0.read()?;
        let created =
            invitation::create_invitation(&auth.context, &auth.tenants, &caller, &origin, request).await?;
        let location = format!("/v1/invitations/{}", created.id);
        Ok(Created {
            body: created.into(),
            location,
        })
    }

    /// List invitations
    ///
    /// Newest first. Takes `invitations:read`.
    #[oai(path = "/", method = "get", operation_id = "listInvitations")]
    async fn list(
        &self,
        Data(auth): Data<&Auth>,
        Permit(caller): Permit<InvitationsRead>,
        /// Those that stand so
        status: Query<Option<InvitationStatusView>>,
        /// Those to one address
        #[oai(validator(max_length = 254))]
        email: Query<Option<String>>,
        /// Rows of a page
        #[oai(validator(minimum(value = "1"), maximum(value = "100")))]
        limit: Query<Option<u32>>,
        /// `next_cursor` of the page before
        cursor: Query<Option<String>>,
    ) -> ApiResult<Reply<List<InvitationView>>, (Permitted, Parameters)> {
        let filter = InvitationFilter {
            status: status.0.map(Into::into),
            email: email.0.as_deref().map(address).transpose()?,
        };
        let page = page(limit.0, cursor.0.as_deref())?;
        let invitations = invitation::list_invitations(&auth.context, &caller, &filter, page).await?;
        Ok(Reply(List::of(invitations)))
    }

    /// Take an invitation back
    ///
    /// Its token is dead at once. One that has ended stays as it is; one that was accepted cannot be taken back. Takes
    /// `invitations:write`.
    #[oai(path = "/:id", method = "delete", operation_id = "revokeInvitation")]
    async fn revoke(
        &self,
        Data(auth): Data<&Auth>,
        Permit(caller): Permit<InvitationsWrite>,
        origin: ClientOrigin,
        /// The invitation
        id: Path<Uuid>,
    ) -> ApiResult<NoContent, (Permitted, NotFound, Conflict)> {
        invitation::revoke_invitation(&auth.context, &caller, &origin, InvitationId(id.0)).await?;
        Ok(NoContent)
    }

    /// Accept an invitation
    ///
    /// Makes the account with the roles it was invited for. Its address is proven by the mail. An account that the
    /// address has already gets the roles, and keeps its password; but where no mail has proven that account's address,
    /// it takes this password, and its sessions, devices and keys end.
    #[oai(path = "/accept", method = "post", operation_id = "acceptInvitation")]
    async fn accept(
        &self,
        _limit: Limit<SignIn>,
        Data(auth): Data<&Auth>,
        origin: ClientOrigin,
        named: Named,
        body: Json<AcceptInvitationRequest>,
    ) -> ApiResult<Created<AcceptedView>, (Input, Conflict, Limited, Busy)> {
        named.check(Kind::OneTime, &body.token, invalid_token)?;
        let user = auth::accept_invitation(auth, &origin, body.0.into()).await?;
        Ok(Created {
            body: user.into(),
            location: "/v1/auth/me".to_owned(),
        })
    }
}

fn address(text: &str) -> Result<Email, Failure> {
    Email::parse(text).map_err(|error| {
        let field = FieldError::new("/query/email", "invalid_format", error.to_string());
        Failure::fields(ProblemCode::InvalidParameter, vec![field])
    })
}

impl From<InvitationError> for Failure {
    fn from(error: InvitationError) -> Self {
        let detail = error.to_string();
        match error {
            InvitationError::NotFound => Self::new(ProblemCode::NotFound, "There is no such resource."),
            InvitationError::Accepted => Self::new(ProblemCode::InvitationAccepted, detail),
            InvitationError::Roles(error) => error.into(),
            InvitationError::TooOften(limit) => Self::over(limit),
            InvitationError::TooMany => Self::new(ProblemCode::LimitReached, detail),
            InvitationError::Internal(error) => error.into(),
        }
    }
}

impl From<AcceptError> for Failure {
    fn from(error: AcceptError) -> Self {
        let detail = error.to_string();
        match error {
            AcceptError::InvalidToken => invalid_token(),
            AcceptError::Password(error) => new_password("/password", error),
            AcceptError::TooManyRoles => Self::new(ProblemCode::LimitReached, detail),
            AcceptError::Internal(error) => error.into(),
        }
    }
}
