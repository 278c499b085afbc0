//! What of second factors and devices becomes which problem.

use latchkey_shared::{
    auth::{AnswerError, FactorError},
    device::DeviceError,
};

use crate::{
    problem::{Failure, ProblemCode},
    routes::auth::error::busy,
};

impl From<FactorError> for Failure {
    fn from(error: FactorError) -> Self {
        match error {
            FactorError::InvalidCredentials => {
                Self::new(ProblemCode::InvalidCredentials, "The password is wrong.")
            }
            FactorError::InvalidCode => invalid_code(),
            FactorError::NotEnabled => {
                Self::new(ProblemCode::MfaNotEnabled, "The account has no second factor.")
            }
            FactorError::NotPending => Self::new(
                ProblemCode::MfaNotPending,
                "Begin at /v1/mfa/totp/setup; a setup holds for 15 minutes.",
            ),
            FactorError::Off => Self::new(ProblemCode::MfaOff, "The tenant has switched second factors off."),
            FactorError::Required => Self::new(
                ProblemCode::MfaRequired,
                "The tenant requires a second factor; set up another to replace this one.",
            ),
            FactorError::Unproven(max_age) => Self::stale_authentication(max_age),
            FactorError::SessionEnded => Self::new(ProblemCode::Unauthenticated, "Sign in again."),
            FactorError::Busy => busy(),
            FactorError::Internal(error) => error.into(),
        }
    }
}

impl From<AnswerError> for Failure {
    fn from(error: AnswerError) -> Self {
        match error {
            AnswerError::InvalidMfaToken => Self::new(ProblemCode::InvalidMfaToken, "Sign in again."),
            AnswerError::InvalidCode => invalid_code(),
            AnswerError::Internal(error) => error.into(),
        }
    }
}

impl From<DeviceError> for Failure {
    fn from(error: DeviceError) -> Self {
        match error {
            DeviceError::NotFound => Self::new(ProblemCode::NotFound, "There is no such device."),
            DeviceError::Internal(error) => error.into(),
        }
    }
}

fn invalid_code() -> Failure {
    Failure::new(
        ProblemCode::InvalidCode,
        "The code is wrong, was used before, or its time is over.",
    )
}
