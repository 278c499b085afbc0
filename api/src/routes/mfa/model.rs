//! The shapes of second factors and devices.

use latchkey_shared::{
    auth::{Access, Answer},
    device::Device,
    mfa::{Code, Setup, Status},
    secret::Secret,
};
use poem_openapi::{Object, types::Example};
use uuid::Uuid;

use crate::{
    routes::auth::{MfaMethod, TokenType},
    time::Timestamp,
};

/// The answer to a sign-in that asked for the second factor.
#[derive(Object)]
#[oai(deny_unknown_fields, example)]
pub(super) struct VerifyMfaRequest {
    /// From `login`.
    #[oai(validator(max_length = 256))]
    pub(super) mfa_token: String,
    method: MfaMethod,
    /// Six digits, or a recovery code; spaces, dashes and case do not matter.
    #[oai(validator(min_length = 1, max_length = 64))]
    code: String,
    /// Whether this device is not to be asked again, for as long as the tenant allows.
    #[oai(default)]
    remember_device: bool,
}

impl Example for VerifyMfaRequest {
    fn example() -> Self {
        Self {
            mfa_token: "lkm_AZ4c".to_owned(),
            method: MfaMethod::Totp,
            code: "492039".to_owned(),
            remember_device: false,
        }
    }
}

impl From<VerifyMfaRequest> for Answer {
    fn from(request: VerifyMfaRequest) -> Self {
        let VerifyMfaRequest {
            mfa_token,
            method,
            code,
            remember_device,
        } = request;
        let code = Secret::new(code);
        Self {
            mfa_token,
            code: match method {
                MfaMethod::Totp => Code::Totp(code),
                MfaMethod::RecoveryCode => Code::Recovery(code),
            },
            remember_device,
        }
    }
}

/// The caller's credentials, once more.
#[derive(Object)]
#[oai(deny_unknown_fields)]
pub(super) struct ReauthenticateRequest {
    #[oai(validator(max_length = 1024))]
    password: String,
    /// Six digits or a recovery code; needed where the account has a second factor.
    #[oai(validator(min_length = 1, max_length = 64))]
    code: Option<String>,
}

impl ReauthenticateRequest {
    pub(super) fn read(self) -> (Secret<String>, Option<Code>) {
        let code = self.code.map(Secret::new).map(Code::of_either_kind);
        (Secret::new(self.password), code)
    }
}

/// An access token that tells of a fresh proof.
#[derive(Object)]
#[oai(rename = "AccessToken")]
pub(super) struct AccessTokenView {
    /// For `Authorization: Bearer`.
    access_token: String,
    token_type: TokenType,
    /// Seconds that it lives.
    expires_in: i64,
}

impl From<Access> for AccessTokenView {
    fn from(access: Access) -> Self {
        Self {
            access_token: access.token.expose().clone(),
            token_type: TokenType::Bearer,
            expires_in: access.expires_in,
        }
    }
}

/// What the caller has of second factors.
#[derive(Object)]
#[oai(rename = "MfaStatus")]
pub(super) struct MfaStatusView {
    totp: TotpStatusView,
    /// So many recovery codes are left.
    recovery_codes_remaining: u64,
}

/// An authenticator app.
#[derive(Object)]
#[oai(rename = "TotpStatus")]
struct TotpStatusView {
    enabled: bool,
    /// Since when.
    confirmed_at: Option<Timestamp>,
}

impl From<Status> for MfaStatusView {
    fn from(status: Status) -> Self {
        Self {
            totp: TotpStatusView {
                enabled: status.confirmed_at.is_some(),
                confirmed_at: status.confirmed_at.map(Into::into),
            },
            recovery_codes_remaining: status.recovery_codes,
        }
    }
}

/// The password, before something that could take the account away.
#[derive(Object)]
#[oai(deny_unknown_fields)]
pub(super) struct SetUpTotpRequest {
    #[oai(validator(max_length = 1024))]
    pub(super) password: String,
}

/// What an authenticator app is told, this once.
#[derive(Object)]
#[oai(rename = "TotpSetup")]
pub(super) struct TotpSetupView {
    /// For typing it in: base32.
    secret: String,
    /// For a link on the same device.
    otpauth_uri: String,
    /// For a camera: an `svg` element.
    qr_svg: String,
}

impl From<Setup> for TotpSetupView {
    fn from(setup: Setup) -> Self {
        Self {
            secret: setup.secret.expose().clone(),
            otpauth_uri: setup.otpauth_uri.expose().clone(),
            qr_svg: setup.qr_svg.expose().clone(),
        }
    }
}

/// The first code of a new authenticator.
#[derive(Object)]
#[oai(deny_unknown_fields)]
pub(super) struct ConfirmTotpRequest {
    /// Six digits.
    #[oai(validator(min_length = 1, max_length = 64))]
    pub(super) code: String,
}

/// Both factors, before something that could take the account away.
#[derive(Object)]
#[oai(deny_unknown_fields)]
pub(super) struct BothFactorsRequest {
    #[oai(validator(max_length = 1024))]
    password: String,
    /// Six digits, or a recovery code.
    #[oai(validator(min_length = 1, max_length = 64))]
    code: String,
}

impl BothFactorsRequest {
    pub(super) fn read(self) -> (Secret<String>, Code) {
        let code = Code::of_either_kind(Secret::new(self.code));
        (Secret::new(self.password), code)
    }
}

/// Codes that stand in for a lost authenticator, each once; shown this once.
#[derive(Object)]
#[oai(rename = "RecoveryCodes")]
pub(super) struct RecoveryCodesView {
    recovery_codes: Vec<String>,
}

impl From<Vec<Secret<String>>> for RecoveryCodesView {
    fn from(codes: Vec<Secret<String>>) -> Self {
        Self {
            recovery_codes: codes.iter().map(|code| code.expose().clone()).collect(),
        }
    }
}

/// A device that has signed in.
#[derive(Object)]
#[oai(rename = "Device")]
pub(super) struct DeviceView {
    id: Uuid,
    /// What it was called at its first sign-in.
    label: Option<String>,
    created_at: Timestamp,
    /// When it signed in last.
    last_seen_at: Timestamp,
    /// Until then it is not asked for the second factor.
    trusted_until: Option<Timestamp>,
}

impl From<Device> for DeviceView {
    fn from(device: Device) -> Self {
        let Device {
            id,
            label,
            created_at,
            last_seen_at,
            trusted_until,
        } = device;
        Self {
            id: id.0,
            label,
            created_at: created_at.into(),
            last_seen_at: last_seen_at.into(),
            trusted_until: trusted_until.map(Into::into),
        }
    }
}
