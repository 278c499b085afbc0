//! The shapes of accounts, sign-in and sessions.

use latchkey_shared::{
    auth::{Asked, Entrance, Login, Register, Registered, SignedIn},
    entity::UserStatus,
    secret::Secret,
    user::User,
};
use poem::{IntoResponse, Response, http::StatusCode};
use poem_openapi::{
    ApiResponse, Enum, Object, Union,
    registry::{MetaResponses, Registry},
    types::Type,
};
use uuid::Uuid;

use super::email;
use crate::{
    extract::Json,
    problem::Failure,
    reply::{Accepted, Created},
    time::Timestamp,
};

/// An account to be.
#[derive(Object)]
#[oai(deny_unknown_fields, example)]
pub(super) struct RegisterRequest {
    /// The address; a verification mail is sent to it.
    #[oai(validator(max_length = 254))]
    email: String,
    /// 8 to 256 characters, any of them.
    #[oai(validator(min_length = 8, max_length = 256))]
    password: String,
    /// What the user goes by.
    #[oai(validator(min_length = 1, max_length = 200))]
    name: Option<String>,
}

impl poem_openapi::types::Example for RegisterRequest {
    fn example() -> Self {
        Self {
            email: "ada@example.com".to_owned(),
            password: "correct horse battery staple".to_owned(),
            name: Some("Ada Lovelace".to_owned()),
        }
    }
}

impl RegisterRequest {
    pub(super) fn read(self) -> Result<Register, Failure> {
        let Self {
            email: address,
            password,
            name,
        } = self;
        Ok(Register {
            email: email(&address)?,
            password: Secret::new(password),
            name,
        })
    }
}

/// What came of a registration.
pub(super) enum RegisterReply {
    /// 202: a mail is on its way.
    Sent,
    /// 201: the account can be used.
    Created(UserView),
}

impl From<Registered> for RegisterReply {
    fn from(registered: Registered) -> Self {
        match registered {
            Registered::VerificationSent => Self::Sent,
            Registered::Created(user) => Self::Created(user.into()),
        }
    }
}

impl IntoResponse for RegisterReply {
    fn into_response(self) -> Response {
        match self {
            Self::Sent => Accepted(SentView::verification()).into_response(),
            Self::Created(user) => {
                let mut response = Json(RegisteredView {
                    status: RegisteredStatus::Registered,
                    user,
                })
                .into_response();
                response.set_status(StatusCode::CREATED);
                response
                    .headers_mut()
                    .insert("location", poem::http::HeaderValue::from_static("/v1/auth/me"));
                response
            }
        }
    }
}

impl ApiResponse for RegisterReply {
    fn meta() -> MetaResponses {
        let mut meta = Created::<RegisteredView>::meta();
        meta.responses.extend(Accepted::<SentView>::meta().responses);
        meta
    }

    fn register(registry: &mut Registry) {
        RegisteredView::register(registry);
        SentView::register(registry);
    }
}

/// An account that was made.
#[derive(Object)]
#[oai(rename = "Registered")]
pub(super) struct RegisteredView {
    status: RegisteredStatus,
    user: UserView,
}

#[derive(Enum)]
#[oai(rename_all = "snake_case")]
enum RegisteredStatus {
    Registered,
}

/// A mail is on its way, if the address takes one.
#[derive(Object)]
#[oai(rename = "VerificationSent")]
pub(in crate::routes) struct SentView {
    status: SentStatus,
}

#[derive(Enum)]
#[oai(rename_all = "snake_case")]
enum SentStatus {
    VerificationSent,
}

impl SentView {
    pub(in crate::routes) fn verification() -> Self {
        Self {
            status: SentStatus::VerificationSent,
        }
    }
}

/// A token from a mail.
#[derive(Object)]
#[oai(deny_unknown_fields)]
pub(super) struct VerifyEmailRequest {
    /// From the link in the mail.
    #[oai(validator(max_length = 256))]
    pub(super) token: String,
}

/// A token from the mail that told of a lock.
#[derive(Object)]
#[oai(deny_unknown_fields)]
pub(super) struct UnlockRequest {
    /// From the link in the mail.
    #[oai(validator(max_length = 256))]
    pub(super) token: String,
}

/// A proven address.
#[derive(Object)]
#[oai(rename = "VerifiedEmail")]
pub(super) struct VerifiedView {
    user_id: Uuid,
    email: String,
}

impl From<User> for VerifiedView {
    fn from(user: User) -> Self {
        Self {
            user_id: user.id.0,
            email: user.email,
        }
    }
}

/// An address that waits for its mail.
#[derive(Object)]
#[oai(deny_unknown_fields)]
pub(super) struct ResendVerificationRequest {
    /// The address.
    #[oai(validator(max_length = 254))]
    pub(super) email: String,
}

/// A try to sign in.
#[derive(Object)]
#[oai(deny_unknown_fields, example)]
pub(super) struct LoginRequest {
    /// The address.
    #[oai(validator(max_length = 254))]
    email: String,
    /// The password.
    #[oai(validator(max_length = 1024))]
    password: String,
    /// From an earlier sign-in on this device: it keeps a stranger's failures from locking the device out.
    #[oai(validator(max_length = 256))]
    device_token: Option<String>,
    /// What the list of sessions calls the device.
    #[oai(validator(min_length = 1, max_length = 100))]
    device_label: Option<String>,
}

impl poem_openapi::types::Example for LoginRequest {
    fn example() -> Self {
        Self {
            email: "ada@example.com".to_owned(),
            password: "correct horse battery staple".to_owned(),
            device_token: None,
            device_label: Some("Ada's laptop".to_owned()),
        }
    }
}

impl LoginRequest {
    pub(super) fn read(self) -> Result<Login, Failure> {
        Ok(Login {
            email: email(&self.email)?,
            password: Secret::new(self.password),
            device_token: self.device_token,
            device_label: self.device_label,
        })
    }
}

/// What continues a session.
#[derive(Object)]
#[oai(deny_unknown_fields)]
pub(super) struct RefreshRequest {
    /// From the last sign-in or refresh.
    #[oai(validator(max_length = 256))]
    pub(super) refresh_token: String,
}

#[derive(Enum)]
#[oai(rename_all = "snake_case")]
enum LoginStatus {
    Authenticated,
}

/// What a right password comes to; `status` tells which.
#[derive(Union)]
#[oai(rename = "Login", one_of)]
pub(super) enum LoginView {
    Authenticated(SessionTokens),
    SecondFactor(SecondFactorRequired),
}

impl From<Entrance> for LoginView {
    fn from(entrance: Entrance) -> Self {
        match entrance {
            Entrance::SignedIn(signed_in) => Self::Authenticated((*signed_in).into()),
            Entrance::SecondFactor(asked) => Self::SecondFactor(asked.into()),
        }
    }
}

#[derive(Enum)]
#[oai(rename_all = "snake_case")]
enum SecondFactorStatus {
    MfaRequired,
}

/// How a second factor can be proven.
#[derive(Enum)]
#[oai(rename_all = "snake_case")]
pub(in crate::routes) enum MfaMethod {
    Totp,
    RecoveryCode,
}

/// The password is right; the second factor is asked for.
#[derive(Object)]
pub(super) struct SecondFactorRequired {
    status: SecondFactorStatus,
    /// For `/v1/auth/mfa/verify`, once.
    mfa_token: String,
    /// What the account can answer with.
    methods: Vec<MfaMethod>,
    /// Seconds that the token lives.
    expires_in: u64,
}

impl From<Asked> for SecondFactorRequired {
    fn from(asked: Asked) -> Self {
        let Asked {
            mfa_token,
            expires_in,
            has_recovery_codes,
        } = asked;
        let mut methods = vec![MfaMethod::Totp];
        if has_recovery_codes {
            methods.push(MfaMethod::RecoveryCode);
        }
        Self {
            status: SecondFactorStatus::MfaRequired,
            mfa_token: mfa_token.expose().clone(),
            methods,
            expires_in,
        }
    }
}

#[derive(Enum)]
pub(in crate::routes) enum TokenType {
    Bearer,
}

/// A session that has begun or goes on.
#[derive(Object)]
pub(in crate::routes) struct SessionTokens {
    status: LoginStatus,
    /// For `Authorization: Bearer`.
    access_token: String,
    token_type: TokenType,
    /// Seconds that the access token lives.
    expires_in: i64,
    /// Continues the session, once.
    refresh_token: String,
    /// Seconds that the refresh token lives.
    refresh_expires_in: i64,
    session_id: Uuid,
    /// Names this device at its next sign-in; keep it. Null where the device is known already.
    device_token: Option<String>,
    user: UserView,
}

impl From<SignedIn> for SessionTokens {
    fn from(signed_in: SignedIn) -> Self {
        let SignedIn {
            user,
            tokens,
            device_token,
        } = signed_in;
        Self {
            status: LoginStatus::Authenticated,
            access_token: tokens.access_token.expose().clone(),
            token_type: TokenType::Bearer,
            expires_in: tokens.expires_in,
            refresh_token: tokens.session.refresh_token.expose().clone(),
            refresh_expires_in: tokens.refresh_expires_in,
            session_id: tokens.session.id.0,
            device_token: device_token.map(|token| token.expose().clone()),
            user: user.into(),
        }
    }
}

#[derive(Enum)]
#[oai(rename = "UserStatus", rename_all = "snake_case")]
enum UserStatusView {
    Active,
    Disabled,
}

/// A user.
#[derive(Object)]
#[oai(rename = "User")]
pub struct UserView {
    id: Uuid,
    /// As it was written.
    email: String,
    /// Whether the address is verified: proven by a mail, or on an administrator's word.
    email_verified: bool,
    /// The address that takes its place once it is proven.
    pending_email: Option<String>,
    /// What the user goes by.
    name: Option<String>,
    status: UserStatusView,
    created_at: Timestamp,
    updated_at: Timestamp,
}

impl From<User> for UserView {
    fn from(user: User) -> Self {
        let User {
            id,
            email,
            name,
            status,
            email_verified_at,
            pending_email,
            created_at,
            updated_at,
        } = user;
        Self {
            id: id.0,
            email,
            email_verified: email_verified_at.is_some(),
            pending_email,
            name,
            status: match status {
                UserStatus::Active => UserStatusView::Active,
                UserStatus::Disabled => UserStatusView::Disabled,
            },
            created_at: created_at.into(),
            updated_at: updated_at.into(),
        }
    }
}
