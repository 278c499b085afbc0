//! Joining a tenant.

use latchkey_shared::{
    auth::{self, Accept, AcceptError, Auth},
    secret::Secret,
};
use poem::web::Data;
use poem_openapi::{Object, OpenApi};

use super::{
    Tag,
    auth::{UserView, error::invalid_token},
    passwords::error::new_password,
};
use crate::{
    extract::{ClientOrigin, Json, Limit, SignIn},
    problem::{ApiResult, Busy, Failure, Input, Limited},
    reply::Created,
};

/// The operations.
pub struct InvitationsApi;

/// An answer to an invitation.
#[derive(Object)]
#[oai(deny_unknown_fields)]
struct AcceptRequest {
    /// From the link in the mail.
    #[oai(validator(max_length = 256))]
    token: String,
    /// Of the new account: 8 to 256 characters. Where the address has an account, that one's password stays.
    #[oai(validator(min_length = 8, max_length = 256))]
    password: String,
    /// What the user goes by.
    #[oai(validator(min_length = 1, max_length = 200))]
    name: Option<String>,
}

/// Someone has joined.
#[derive(Object)]
struct AcceptedView {
    user: UserView,
}

#[OpenApi(prefix_path = "/v1/invitations", tag = "Tag::Invitations")]
impl InvitationsApi {
    /// Accept an invitation
    ///
    /// Makes the account with the roles it was invited for. Its address is proven by the mail.
    #[oai(path = "/accept", method = "post", operation_id = "acceptInvitation")]
    async fn accept(
        &self,
        _limit: Limit<SignIn>,
        Data(auth): Data<&Auth>,
        origin: ClientOrigin,
        body: Json<AcceptRequest>,
    ) -> ApiResult<Created<AcceptedView>, (Input, Limited, Busy)> {
        let AcceptRequest {
            token,
            password,
            name,
        } = body.0;
        let request = Accept {
            token,
            password: Secret::new(password),
            name,
        };
        let user = auth::accept_invitation(auth, &origin, request).await?;
        Ok(Created {
            body: AcceptedView { user: user.into() },
            location: "/v1/auth/me".to_owned(),
        })
    }
}

impl From<AcceptError> for Failure {
    fn from(error: AcceptError) -> Self {
        match error {
            AcceptError::InvalidToken => invalid_token(),
            AcceptError::Password(error) => new_password("/password", error),
            AcceptError::Internal(error) => error.into(),
        }
    }
}
