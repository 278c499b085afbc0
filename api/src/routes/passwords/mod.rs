//! Passwords and addresses: change and reset.

pub(in crate::routes) mod error;
mod model;

use latchkey_shared::{
    auth::{self, Auth},
    crypto::token::Kind,
    secret::Secret,
};
use poem::web::Data;
use poem_openapi::OpenApi;

use self::model::{
    ChangeEmailRequest, ChangePasswordRequest, ForgotPasswordRequest, ResetPasswordRequest, ResetSentView,
};
use super::{
    Tag,
    auth::{SentView, address, error::invalid_token},
};
use crate::{
    extract::{Bearer, ClientOrigin, InTenant, Json, Limit, Mail, Named, SignIn},
    problem::{ApiResult, Busy, Input, Limited, SignedIn, Tenancy},
    reply::{Accepted, NoContent},
};

/// The operations.
pub struct PasswordsApi;

#[OpenApi(prefix_path = "/v1/auth", tag = "Tag::Auth")]
impl PasswordsApi {
    /// Change the password
    ///
    /// Takes the present one. This session goes on; every other one of the account ends.
    #[oai(path = "/password/change", method = "post", operation_id = "changePassword")]
    async fn change_password(
        &self,
        _limit: Limit<SignIn>,
        Data(auth): Data<&Auth>,
        Bearer(caller): Bearer,
        origin: ClientOrigin,
        body: Json<ChangePasswordRequest>,
    ) -> ApiResult<NoContent, (Input, SignedIn, Busy, Limited)> {
        let ChangePasswordRequest {
            current_password,
            new_password,
        } = body.0;
        let (current, new) = (Secret::new(current_password), Secret::new(new_password));
        let tenant = &caller.account.tenant;
        auth::change_password(auth, tenant, &caller.session, &origin, current, new).await?;
        Ok(NoContent)
    }

    /// Ask for a new password
    ///
    /// Mails a token to the address, if it has an account that may sign in. The answer is the same in any case.
    #[oai(path = "/password/forgot", method = "post", operation_id = "forgotPassword")]
    async fn forgot_password(
        &self,
        _limit: Limit<Mail>,
        Data(auth): Data<&Auth>,
        origin: ClientOrigin,
        /// The tenant's id or slug; without it the host names the tenant
        #[oai(name = "X-Tenant-ID")]
        tenant: InTenant,
        body: Json<ForgotPasswordRequest>,
    ) -> ApiResult<Accepted<ResetSentView>, (Input, Tenancy, Limited)> {
        auth::forgot_password(auth, &tenant, &origin, &address("/email", &body.email)?).await?;
        Ok(Accepted(ResetSentView::new()))
    }

    /// Reset the password
    ///
    /// Takes the token from the mail, and ends every session. Nobody is signed in by it, and the second factor is asked
    /// for as before. A password that is refused leaves the token as it is. Where no mail had proven the address, API keys of
    /// before end too.
    #[oai(path = "/password/reset", method = "post", operation_id = "resetPassword")]
    async fn reset_password(
        &self,
        _limit: Limit<SignIn>,
        Data(auth): Data<&Auth>,
        origin: ClientOrigin,
        named: Named,
        body: Json<ResetPasswordRequest>,
    ) -> ApiResult<NoContent, (Input, Busy, Limited)> {
        let ResetPasswordRequest { token, new_password } = body.0;
        named.check(Kind::OneTime, &token, invalid_token)?;
        auth::reset_password(auth, &origin, &token, Secret::new(new_password)).await?;
        Ok(NoContent)
    }

    /// Change the e-mail address
    ///
    /// Takes the password, and mails a token to the new address; `verifyEmail` takes it and makes the change. Until then
    /// the account keeps its address. The answer is the same when the new address has an account already.
    #[oai(path = "/email/change", method = "post", operation_id = "changeEmail")]
    async fn change_email(
        &self,
        _limit: Limit<Mail>,
        Data(auth): Data<&Auth>,
        Bearer(caller): Bearer,
        origin: ClientOrigin,
        body: Json<ChangeEmailRequest>,
    ) -> ApiResult<Accepted<SentView>, (Input, SignedIn, Busy, Limited)> {
        let ChangeEmailRequest { new_email, password } = body.0;
        let new = address("/new_email", &new_email)?;
        let (tenant, password) = (&caller.account.tenant, Secret::new(password));
        auth::change_email(auth, tenant, &caller.session, &origin, &new, password).await?;
        Ok(Accepted(SentView::verification()))
    }
}
