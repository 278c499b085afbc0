//! One's own account: profile, export and deletion.

mod model;

use latchkey_shared::{
    auth::{self, Auth},
    privacy::{self, DeleteAccountError},
    secret::Secret,
};
use poem::web::Data;
use poem_openapi::OpenApi;

use self::model::{DeleteMeRequest, ExportReply, MeReply, UpdateMeRequest};
use super::Tag;
use crate::{
    extract::{Bearer, ClientOrigin, Enrolling, Json, Limit, Recent, SignIn},
    problem::{ApiResult, Busy, Conflict, Failure, Input, Limited, ProblemCode, SignedIn},
    reply::NoContent,
};

/// The operations.
pub struct AccountApi;

#[OpenApi(prefix_path = "/v1/auth", tag = "Tag::Account")]
impl AccountApi {
    /// Who am I
    #[expect(clippy::unused_async, reason = "the framework awaits every handler")]
    #[oai(path = "/me", method = "get", operation_id = "getMe")]
    async fn me(&self, Enrolling(caller): Enrolling) -> ApiResult<MeReply, SignedIn> {
        Ok(MeReply(caller.account))
    }

    /// Change one's profile
    #[oai(path = "/me", method = "patch", operation_id = "updateMe")]
    async fn update(
        &self,
        Data(auth): Data<&Auth>,
        Bearer(caller): Bearer,
        origin: ClientOrigin,
        body: Json<UpdateMeRequest>,
    ) -> ApiResult<MeReply, (SignedIn, Input)> {
        let account = auth::update_profile(auth, &caller.session, &origin, body.0.into()).await?;
        Ok(MeReply(account.ok_or_else(gone)?))
    }

    /// Delete one's account
    ///
    /// Ends every session at once and erases what is stored about the caller. The tenant's last owner stays.
    #[oai(path = "/me", method = "delete", operation_id = "deleteMe")]
    async fn delete(
        &self,
        _limit: Limit<SignIn>,
        Data(auth): Data<&Auth>,
        Bearer(caller): Bearer,
        origin: ClientOrigin,
        body: Json<DeleteMeRequest>,
    ) -> ApiResult<NoContent, (SignedIn, Input, Conflict, Busy, Limited)> {
        let (tenant, password) = (&caller.account.tenant, Secret::new(body.0.password));
        privacy::delete_account(auth, tenant, &caller.session, &origin, password).await?;
        Ok(NoContent)
    }

    /// Export one's data
    ///
    /// Everything that is stored about the caller, table by table, as it is stored. Secrets are not in it, and of a
    /// table with very many rows the newest are.
    #[oai(path = "/me/export", method = "get", operation_id = "exportMe")]
    async fn export(
        &self,
        _limit: Limit<SignIn>,
        Data(auth): Data<&Auth>,
        Recent(caller): Recent,
        origin: ClientOrigin,
    ) -> ApiResult<ExportReply, (SignedIn, Limited)> {
        let (context, tenant) = (&auth.context, &caller.account.tenant);
        let document = privacy::export(context, tenant, &caller.session, &origin).await?;
        Ok(ExportReply(document.ok_or_else(gone)?))
    }
}

/// The account was deleted while the request was under way.
fn gone() -> Failure {
    Failure::new(ProblemCode::Unauthenticated, "The account is gone.")
}

impl From<DeleteAccountError> for Failure {
    fn from(error: DeleteAccountError) -> Self {
        match error {
            DeleteAccountError::Password(error) => error.into(),
            DeleteAccountError::LastOwner => Self::new(
                ProblemCode::LastOwner,
                "Make someone else an owner of the tenant first.",
            ),
            DeleteAccountError::Internal(error) => error.into(),
        }
    }
}
