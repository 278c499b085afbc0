//! What of service accounts becomes which problem.

use latchkey_shared::service_account::ServiceAccountError;

use crate::problem::{Failure, FieldError, ProblemCode};

impl From<ServiceAccountError> for Failure {
    fn from(error: ServiceAccountError) -> Self {
        let detail = error.to_string();
        match error {
            ServiceAccountError::NotFound => Self::new(ProblemCode::NotFound, "There is no such resource."),
            ServiceAccountError::UnknownRole(at) => {
                let field = FieldError::new(format!("/role_ids/{at}"), "unknown_role", detail);
                Self::fields(ProblemCode::ValidationFailed, vec![field])
            }
            ServiceAccountError::Escalation => Self::new(
                ProblemCode::Escalation,
                "The roles grant what you do not hold, or one of them is owner.",
            ),
            ServiceAccountError::LimitReached(_) => Self::new(ProblemCode::LimitReached, detail),
            ServiceAccountError::Internal(error) => error.into(),
        }
    }
}
