//! What of roles and permissions becomes which problem.

use latchkey_shared::rbac::{AssignError, RbacError};

use crate::{
    problem::{Failure, FieldError, ProblemCode},
    routes::changed_meanwhile,
};

impl From<RbacError> for Failure {
    fn from(error: RbacError) -> Self {
        let detail = error.to_string();
        match error {
            RbacError::NotFound => Self::new(ProblemCode::NotFound, "There is no such resource."),
            RbacError::BuiltIn => Self::new(ProblemCode::BuiltIn, detail),
            RbacError::InPolicy => Self::new(ProblemCode::RoleInPolicy, detail),
            RbacError::NameTaken => {
                let field = FieldError::new("/name", "taken", detail);
                Self::fields(ProblemCode::NameTaken, vec![field])
            }
            RbacError::Changed => changed_meanwhile(),
            RbacError::UnknownPermissions(places) => {
                let field = |place| {
                    let pointer = format!("/permissions/{place}");
                    FieldError::new(pointer, "unknown_permission", &*detail)
                };
                let fields = places.into_iter().map(field).collect();
                Self::fields(ProblemCode::ValidationFailed, fields)
            }
            RbacError::Escalation => Self::new(ProblemCode::Escalation, detail),
            RbacError::TooManyRoles | RbacError::TooManyPermissions => {
                Self::new(ProblemCode::LimitReached, detail)
            }
            RbacError::Internal(error) => error.into(),
        }
    }
}

impl From<AssignError> for Failure {
    fn from(error: AssignError) -> Self {
        let detail = error.to_string();
        match error {
            AssignError::UserNotFound => Self::new(ProblemCode::NotFound, "There is no such resource."),
            AssignError::UnknownRole(place) => unknown_role(&format!("/role_ids/{place}")),
            AssignError::Escalation => Self::new(ProblemCode::Escalation, detail),
            AssignError::LastOwner => Self::new(ProblemCode::LastOwner, detail),
            AssignError::TooManyRoles => Self::new(ProblemCode::LimitReached, detail),
            AssignError::Internal(error) => error.into(),
        }
    }
}

/// The field at `pointer` names no role of the tenant.
pub(in crate::routes) fn unknown_role(pointer: &str) -> Failure {
    let field = FieldError::new(pointer, "unknown_role", "There is no such role.");
    Failure::fields(ProblemCode::ValidationFailed, vec![field])
}
