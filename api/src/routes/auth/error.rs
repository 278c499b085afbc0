//! What of accounts, sign-in and sessions becomes which problem.

use latchkey_shared::{
    auth::{LoginError, RegisterError, UnlockError, VerifyError},
    session::RefreshError,
};

use crate::{
    problem::{Failure, FieldError, ProblemCode},
    routes::passwords::error::new_password,
};

impl From<LoginError> for Failure {
    fn from(error: LoginError) -> Self {
        match error {
            LoginError::InvalidCredentials => Self::new(
                ProblemCode::InvalidCredentials,
                "The e-mail address or the password is wrong.",
            ),
            LoginError::EmailNotVerified => Self::new(
                ProblemCode::EmailNotVerified,
                "Follow the link in the verification mail, then sign in.",
            ),
            LoginError::Busy => busy(),
            LoginError::Internal(error) => error.into(),
        }
    }
}

impl From<RegisterError> for Failure {
    fn from(error: RegisterError) -> Self {
        match error {
            RegisterError::Closed => Self::new(
                ProblemCode::RegistrationClosed,
                "This tenant takes only those it invites.",
            ),
            RegisterError::Password(error) => new_password("/password", error),
            RegisterError::EmailTaken => {
                Self::new(ProblemCode::EmailTaken, "The e-mail address has an account.")
            }
            RegisterError::Internal(error) => error.into(),
        }
    }
}

impl From<VerifyError> for Failure {
    fn from(error: VerifyError) -> Self {
        match error {
            VerifyError::InvalidToken => invalid_token(),
            VerifyError::Internal(error) => error.into(),
        }
    }
}

impl From<UnlockError> for Failure {
    fn from(error: UnlockError) -> Self {
        match error {
            UnlockError::InvalidToken => invalid_token(),
            UnlockError::Internal(error) => error.into(),
        }
    }
}

impl From<RefreshError> for Failure {
    fn from(error: RefreshError) -> Self {
        match error {
            RefreshError::Invalid => Self::new(ProblemCode::InvalidRefreshToken, "Sign in again."),
            RefreshError::Internal(error) => error.into(),
        }
    }
}

/// The hashing queue is full.
pub(in crate::routes) fn busy() -> Failure {
    Failure::new(
        ProblemCode::Unavailable,
        "Too many passwords are waiting to be checked.",
    )
}

/// A token from a mail is of no use.
pub(in crate::routes) fn invalid_token() -> Failure {
    let field = FieldError::new("/token", "invalid", "The token is unknown, used or expired.");
    Failure::fields(ProblemCode::InvalidToken, vec![field])
}
