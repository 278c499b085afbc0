//! The second factor, and the devices that are remembered.

mod error;
mod model;

use latchkey_shared::{
    auth::{self, AnswerError, Auth},
    crypto::token::Kind,
    device,
    id::DeviceId,
    secret::Secret,
};
use poem::web::Data;
use poem_openapi::{
    OpenApi,
    param::{Path, Query},
};
use uuid::Uuid;

use self::model::{
    AccessTokenView, BothFactorsRequest, ConfirmTotpRequest, DeviceView, MfaStatusView,
    ReauthenticateRequest, RecoveryCodesView, SetUpTotpRequest, TotpSetupView, VerifyMfaRequest,
};
use super::{Tag, auth::SessionTokens, page};
use crate::{
    extract::{Bearer, ClientOrigin, Enrolling, Json, Limit, Named, SignIn},
    problem::{ApiResult, Busy, Conflict, Input, Limited, NotFound, Parameters, SignedIn},
    reply::{List, NoContent, Ok as Reply},
};

/// The operations.
pub struct MfaApi;

#[OpenApi(prefix_path = "/v1", tag = "Tag::Mfa")]
impl MfaApi {
    /// Finish a sign-in with the second factor
    ///
    /// After a wrong code the token can be used again, until there were too many; after a right one it is used up.
    #[oai(path = "/auth/mfa/verify", method = "post", operation_id = "verifyMfa")]
    async fn verify(
        &self,
        _limit: Limit<SignIn>,
        Data(auth): Data<&Auth>,
        origin: ClientOrigin,
        named: Named,
        body: Json<VerifyMfaRequest>,
    ) -> ApiResult<Reply<SessionTokens>, (Input, SignedIn, Limited)> {
        named.check(Kind::Mfa, &body.mfa_token, || AnswerError::InvalidMfaToken.into())?;
        let signed_in = auth::answer_challenge(auth, &origin, body.0.into()).await?;
        Ok(Reply(signed_in.into()))
    }

    /// Prove your identity again
    ///
    /// What is sensitive takes a proof of the last minutes and otherwise answers 401 `reauthentication_required`. The
    /// session goes on; the new access token, and those that follow by refresh, tell of this proof.
    #[oai(
        path = "/auth/reauthenticate",
        method = "post",
        operation_id = "reauthenticate"
    )]
    async fn reauthenticate(
        &self,
        _limit: Limit<SignIn>,
        Data(auth): Data<&Auth>,
        Bearer(caller): Bearer,
        origin: ClientOrigin,
        body: Json<ReauthenticateRequest>,
    ) -> ApiResult<Reply<AccessTokenView>, (Input, SignedIn, Limited, Busy)> {
        let (password, code) = body.0.read();
        let access = auth::reauthenticate(auth, &caller, &origin, password, code).await?;
        Ok(Reply(access.into()))
    }

    /// Look at your second factor
    #[oai(path = "/mfa", method = "get", operation_id = "getMfa")]
    async fn status(
        &self,
        Data(auth): Data<&Auth>,
        Enrolling(caller): Enrolling,
    ) -> ApiResult<Reply<MfaStatusView>, SignedIn> {
        Ok(Reply(auth::factor_status(auth, &caller).await?.into()))
    }

    /// Begin to set up an authenticator
    ///
    /// Nothing changes until its first code is confirmed, within 15 minutes; a second setup replaces the first.
    #[oai(path = "/mfa/totp/setup", method = "post", operation_id = "setUpTotp")]
    async fn set_up(
        &self,
        _limit: Limit<SignIn>,
        Data(auth): Data<&Auth>,
        Enrolling(caller): Enrolling,
        origin: ClientOrigin,
        body: Json<SetUpTotpRequest>,
    ) -> ApiResult<Reply<TotpSetupView>, (Input, SignedIn, Limited, Busy)> {
        let password = Secret::new(body.0.password);
        let setup = auth::set_up_factor(auth, &caller, &origin, password).await?;
        Ok(Reply(setup.into()))
    }

    /// Confirm an authenticator with its first code
    ///
    /// It takes the place of the one before it. Your other sessions end, and no device is trusted any more. The recovery
    /// codes are shown this once.
    #[oai(path = "/mfa/totp/confirm", method = "post", operation_id = "confirmTotp")]
    async fn confirm(
        &self,
        _limit: Limit<SignIn>,
        Data(auth): Data<&Auth>,
        Enrolling(caller): Enrolling,
        origin: ClientOrigin,
        body: Json<ConfirmTotpRequest>,
    ) -> ApiResult<Reply<RecoveryCodesView>, (Input, SignedIn, Conflict, Limited)> {
        let code = Secret::new(body.0.code);
        let codes = auth::confirm_factor(auth, &caller, &origin, code).await?;
        Ok(Reply(codes.into()))
    }

    /// Remove your authenticator
    ///
    /// Its recovery codes go with it. Refused where the tenant requires a second factor of you.
    #[oai(path = "/mfa/totp/disable", method = "post", operation_id = "disableTotp")]
    async fn disable(
        &self,
        _limit: Limit<SignIn>,
        Data(auth): Data<&Auth>,
        Bearer(caller): Bearer,
        origin: ClientOrigin,
        body: Json<BothFactorsRequest>,
    ) -> ApiResult<NoContent, (Input, SignedIn, Conflict, Limited, Busy)> {
        let (password, code) = body.0.read();
        auth::disable_factor(auth, &caller, &origin, password, code).await?;
        Ok(NoContent)
    }

    /// Make new recovery codes
    ///
    /// The old ones no longer work; the new ones are shown this once.
    #[oai(
        path = "/mfa/recovery-codes",
        method = "post",
        operation_id = "replaceRecoveryCodes"
    )]
    async fn replace_recovery_codes(
        &self,
        _limit: Limit<SignIn>,
        Data(auth): Data<&Auth>,
        Bearer(caller): Bearer,
        origin: ClientOrigin,
        body: Json<BothFactorsRequest>,
    ) -> ApiResult<Reply<RecoveryCodesView>, (Input, SignedIn, Conflict, Limited, Busy)> {
        let (password, code) = body.0.read();
        let codes = auth::replace_recovery_codes(auth, &caller, &origin, password, code).await?;
        Ok(Reply(codes.into()))
    }

    /// List your devices
    ///
    /// Those that have signed in, newest first.
    #[oai(path = "/devices", method = "get", operation_id = "listDevices")]
    async fn list_devices(
        &self,
        Data(auth): Data<&Auth>,
        Bearer(caller): Bearer,
        /// Rows of a page
        #[oai(validator(minimum(value = "1"), maximum(value = "100")))]
        limit: Query<Option<u32>>,
        /// `next_cursor` of the page before
        cursor: Query<Option<String>>,
    ) -> ApiResult<Reply<List<DeviceView>>, (SignedIn, Parameters)> {
        let page = page(limit.0, cursor.0.as_deref())?;
        let devices = device::list(&auth.context, &caller.session, page).await?;
        Ok(Reply(List::of(devices)))
    }

    /// Forget a device
    ///
    /// It is asked for the second factor again. Its sessions go on.
    #[oai(path = "/devices/:id", method = "delete", operation_id = "forgetDevice")]
    async fn forget_device(
        &self,
        Data(auth): Data<&Auth>,
        Bearer(caller): Bearer,
        origin: ClientOrigin,
        /// The device
        id: Path<Uuid>,
    ) -> ApiResult<NoContent, (SignedIn, NotFound)> {
        device::forget(&auth.context, &caller.session, &origin, DeviceId(id.0)).await?;
        Ok(NoContent)
    }
}
