//! Accounts, sign-in and sessions.

pub(in crate::routes) mod error;
mod model;

use latchkey_shared::{
    auth::{self, Auth},
    crypto::token::Kind,
    session::RefreshError,
    user::Email,
};
use poem::web::Data;
use poem_openapi::OpenApi;

use self::error::invalid_token;
pub(in crate::routes) use self::model::SentView;
pub use self::model::UserView;
use self::model::{
    LoginRequest, LoginView, RefreshRequest, RegisterReply, RegisterRequest, ResendVerificationRequest,
    UnlockRequest, VerifiedView, VerifyEmailRequest,
};
pub(in crate::routes) use self::model::{MfaMethod, SessionTokens, TokenType};
use super::Tag;
use crate::{
    extract::{ClientOrigin, InTenant, Json, Limit, Mail, Named, SignIn, Token},
    problem::{
        ApiResult, Busy, Conflict, Failure, FieldError, Input, Limited, ProblemCode, SignedIn, Tenancy,
    },
    reply::{Accepted, NoContent, Ok as Reply},
};

/// The operations.
pub struct AuthApi;

#[OpenApi(prefix_path = "/v1/auth", tag = "Tag::Auth")]
impl AuthApi {
    /// Make an account
    ///
    /// Where the tenant requires verification, which is the default, the answer is the same for a new and for a known
    /// address. An account that is there stays as it is. Where its address waits to be proven and the password is another,
    /// the mail lets its reader choose one, and no earlier mail proves the address.
    #[oai(path = "/register", method = "post", operation_id = "register")]
    async fn register(
        &self,
        _limit: Limit<Mail>,
        Data(auth): Data<&Auth>,
        origin: ClientOrigin,
        /// The tenant's id or slug; without it the host names the tenant
        #[oai(name = "X-Tenant-ID")]
        tenant: InTenant,
        body: Json<RegisterRequest>,
    ) -> ApiResult<RegisterReply, (Input, Tenancy, Conflict, Limited, Busy)> {
        let registered = auth::register(auth, &tenant, &origin, body.0.read()?).await?;
        Ok(registered.into())
    }

    /// Prove an address
    ///
    /// Takes the token from the mail, that of a registration or of a change of address. Nobody is signed in by it.
    #[oai(path = "/email/verify", method = "post", operation_id = "verifyEmail")]
    async fn verify_email(
        &self,
        _limit: Limit<Token>,
        Data(auth): Data<&Auth>,
        origin: ClientOrigin,
        named: Named,
        body: Json<VerifyEmailRequest>,
    ) -> ApiResult<Reply<VerifiedView>, (Input, Limited)> {
        named.check(Kind::OneTime, &body.token, invalid_token)?;
        let user = auth::verify_email(auth, &origin, &body.token).await?;
        Ok(Reply(user.into()))
    }

    /// Send the verification mail again
    ///
    /// The answer is the same whether or not the address waits for one. Where several have registered with it, the mail lets
    /// its reader choose the password.
    #[oai(
        path = "/email/verify/resend",
        method = "post",
        operation_id = "resendVerification"
    )]
    async fn resend_verification(
        &self,
        _limit: Limit<Mail>,
        Data(auth): Data<&Auth>,
        origin: ClientOrigin,
        /// The tenant's id or slug; without it the host names the tenant
        #[oai(name = "X-Tenant-ID")]
        tenant: InTenant,
        body: Json<ResendVerificationRequest>,
    ) -> ApiResult<Accepted<SentView>, (Input, Tenancy, Limited)> {
        auth::resend_verification(auth, &tenant, &origin, &email(&body.email)?).await?;
        Ok(Accepted(SentView::verification()))
    }

    /// Sign in with a password
    ///
    /// Clients branch on `status`: `authenticated` is a session, `mfa_required` asks for the second factor at
    /// `/v1/auth/mfa/verify`. An account that has to set one up first is signed in; until then every other operation
    /// answers 403 `mfa_enrollment_required`.
    #[oai(path = "/login", method = "post", operation_id = "login")]
    async fn login(
        &self,
        _limit: Limit<SignIn>,
        Data(auth): Data<&Auth>,
        origin: ClientOrigin,
        /// The tenant's id or slug; without it the host names the tenant
        #[oai(name = "X-Tenant-ID")]
        tenant: InTenant,
        body: Json<LoginRequest>,
    ) -> ApiResult<Reply<LoginView>, (Input, Tenancy, SignedIn, Limited, Busy)> {
        let entrance = auth::login(auth, &tenant, &origin, body.0.read()?).await?;
        Ok(Reply(entrance.into()))
    }

    /// Go on with a session
    ///
    /// The refresh token is used up. Repeated within ten seconds the request gives the same successor; later it
    /// ends the session, because then someone else has the token.
    #[oai(path = "/refresh", method = "post", operation_id = "refresh")]
    async fn refresh(
        &self,
        _limit: Limit<Token>,
        Data(auth): Data<&Auth>,
        origin: ClientOrigin,
        named: Named,
        body: Json<RefreshRequest>,
    ) -> ApiResult<Reply<SessionTokens>, (Input, SignedIn, Limited)> {
        named.check(Kind::Refresh, &body.refresh_token, || {
            RefreshError::Invalid.into()
        })?;
        let signed_in = auth::refresh(auth, &origin, &body.refresh_token).await?;
        Ok(Reply(signed_in.into()))
    }

    /// Lift a lock
    ///
    /// Takes the token from the mail that told of the lock, and forgets all failures. Nobody is signed in by it.
    #[oai(path = "/unlock", method = "post", operation_id = "unlock")]
    async fn unlock(
        &self,
        _limit: Limit<Token>,
        Data(auth): Data<&Auth>,
        origin: ClientOrigin,
        named: Named,
        body: Json<UnlockRequest>,
    ) -> ApiResult<NoContent, (Input, Limited)> {
        named.check(Kind::OneTime, &body.token, invalid_token)?;
        auth::unlock(auth, &origin, &body.token).await?;
        Ok(NoContent)
    }
}

/// The address in the field `email`.
fn email(text: &str) -> Result<Email, Failure> {
    address("/email", text)
}

/// The address in the field at `pointer`.
pub(in crate::routes) fn address(pointer: &str, text: &str) -> Result<Email, Failure> {
    Email::parse(text).map_err(|error| {
        let field = FieldError::new(pointer, "invalid_format", error.to_string());
        Failure::fields(ProblemCode::ValidationFailed, vec![field])
    })
}
