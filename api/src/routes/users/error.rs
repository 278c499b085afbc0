//! The problems of administration.

use latchkey_shared::{administration::UserError, rbac::AssignError};

use crate::{
    problem::{Failure, FieldError, ProblemCode},
    routes::passwords::error::new_password,
};

impl From<UserError> for Failure {
    fn from(error: UserError) -> Self {
        let taken = |code, pointer: &str, detail: &str| {
            Self::fields(code, vec![FieldError::new(pointer, "taken", detail)])
        };
        match error {
            UserError::NotFound => Self::new(ProblemCode::NotFound, "There is no such user."),
            UserError::OwnAccount => Self::new(
                ProblemCode::OwnAccount,
                "The operations below /v1/auth are for one's own account.",
            ),
            UserError::Escalation => Self::new(
                ProblemCode::Escalation,
                "The user may do what you may not. Owners alone decide over owners.",
            ),
            UserError::LastOwner => Self::new(
                ProblemCode::LastOwner,
                "Make someone else an owner of the tenant first.",
            ),
            UserError::Disabled => Self::new(ProblemCode::AccountDisabled, "Enable the user first."),
            UserError::EmailTaken => taken(
                ProblemCode::EmailTaken,
                "/email",
                "Another user of the tenant has this address.",
            ),
            UserError::ExternalIdTaken => taken(
                ProblemCode::ExternalIdTaken,
                "/external_id",
                "Another user of the tenant has this external id.",
            ),
            UserError::TooOften(limit) => Self::over(limit),
            UserError::Roles(error) => roles(error),
            UserError::Password(error) => new_password("/password", error),
            UserError::Internal(error) => error.into(),
        }
    }
}

fn roles(error: AssignError) -> Failure {
    let field = |pointer: String, code: &str, detail: &str| {
        let field = FieldError::new(pointer, code, detail);
        Failure::fields(ProblemCode::ValidationFailed, vec![field])
    };
    match error {
        AssignError::UserNotFound => Failure::new(ProblemCode::NotFound, "There is no such user."),
        AssignError::UnknownRole(place) => field(
            format!("/role_ids/{place}"),
            "unknown_role",
            "The tenant has no such role.",
        ),
        AssignError::Escalation => Failure::new(
            ProblemCode::Escalation,
            "A role grants what you do not hold. Owners alone make owners.",
        ),
        AssignError::LastOwner => Failure::new(
            ProblemCode::LastOwner,
            "Make someone else an owner of the tenant first.",
        ),
        AssignError::TooManyRoles => field(
            "/role_ids".to_owned(),
            "too_many",
            "A user cannot hold so many roles.",
        ),
        AssignError::Internal(error) => error.into(),
    }
}
