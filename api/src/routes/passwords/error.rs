//! What of passwords and addresses becomes which problem.

use latchkey_shared::{
    auth::{ChangeEmailError, ChangePasswordError, LoginError, NewPasswordError, ResetPasswordError},
    user::WeakPassword,
};

use crate::{
    problem::{Failure, FieldError, ProblemCode},
    routes::auth::error::{busy, invalid_token},
};

/// The password in the field at `pointer` cannot be set.
pub(in crate::routes) fn new_password(pointer: &str, error: NewPasswordError) -> Failure {
    match error {
        NewPasswordError::Weak(weak) => {
            let field = FieldError::new(pointer, word(weak), weak.to_string());
            Failure::fields(ProblemCode::ValidationFailed, vec![field])
        }
        NewPasswordError::Busy => busy(),
        NewPasswordError::Internal(error) => error.into(),
    }
}

fn word(weak: WeakPassword) -> &'static str {
    match weak {
        WeakPassword::TooShort { .. } => "too_short",
        WeakPassword::TooLong => "too_long",
        WeakPassword::IsAddress => "is_address",
        WeakPassword::IsTenantName => "is_tenant_name",
        WeakPassword::TooCommon => "too_common",
        WeakPassword::Breached => "breached",
        WeakPassword::UsedBefore => "used_before",
    }
}

/// The password of someone who is signed in was not proven.
fn unconfirmed(error: LoginError) -> Failure {
    match error {
        LoginError::InvalidCredentials => {
            Failure::new(ProblemCode::InvalidCredentials, "The password is wrong.")
        }
        other => other.into(),
    }
}

impl From<ChangePasswordError> for Failure {
    fn from(error: ChangePasswordError) -> Self {
        match error {
            ChangePasswordError::Confirm(error) => unconfirmed(error),
            ChangePasswordError::Password(error) => new_password("/new_password", error),
            ChangePasswordError::Internal(error) => error.into(),
        }
    }
}

impl From<ResetPasswordError> for Failure {
    fn from(error: ResetPasswordError) -> Self {
        match error {
            ResetPasswordError::InvalidToken => invalid_token(),
            ResetPasswordError::Password(error) => new_password("/new_password", error),
            ResetPasswordError::Internal(error) => error.into(),
        }
    }
}

impl From<ChangeEmailError> for Failure {
    fn from(error: ChangeEmailError) -> Self {
        match error {
            ChangeEmailError::Confirm(error) => unconfirmed(error),
            ChangeEmailError::Unchanged => {
                let field = FieldError::new("/new_email", "unchanged", error.to_string());
                Self::fields(ProblemCode::ValidationFailed, vec![field])
            }
            ChangeEmailError::Internal(error) => error.into(),
        }
    }
}
