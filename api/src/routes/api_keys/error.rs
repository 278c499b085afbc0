//! What of keys becomes which problem.

use latchkey_shared::api_key::ApiKeyError;

use crate::problem::{Failure, FieldError, ProblemCode};

impl From<ApiKeyError> for Failure {
    fn from(error: ApiKeyError) -> Self {
        let detail = error.to_string();
        let field = |pointer: &str, code: &str| {
            let field = FieldError::new(pointer, code, detail.clone());
            Self::fields(ProblemCode::ValidationFailed, vec![field])
        };
        match error {
            ApiKeyError::NotFound => Self::new(ProblemCode::NotFound, "There is no such resource."),
            ApiKeyError::UnknownScope(at) => field(&format!("/scopes/{at}"), "unknown_permission"),
            ApiKeyError::Escalation => Self::new(
                ProblemCode::Escalation,
                "The key could do what you cannot, or would act in another's name.",
            ),
            ApiKeyError::CallerEnded => Self::new(
                ProblemCode::Unauthenticated,
                "The credential has ended meanwhile.",
            ),
            ApiKeyError::UnknownOwner => field("/owner/id", "unknown_owner"),
            ApiKeyError::InvalidCidr(at) => field(&format!("/allowed_cidrs/{at}"), "invalid_format"),
            ApiKeyError::MetadataTooLarge(_) => field("/metadata", "too_large"),
            ApiKeyError::InvalidExpiry => field("/expires_at", "invalid"),
            ApiKeyError::InvalidCreation => field("/created_before", "invalid"),
            ApiKeyError::NotActive => Self::new(
                ProblemCode::ApiKeyNotActive,
                "It has ended, or was replaced already.",
            ),
            ApiKeyError::NothingNamed => field("", "required"),
            ApiKeyError::LimitReached(_) => Self::new(ProblemCode::LimitReached, detail),
            ApiKeyError::Internal(error) => error.into(),
        }
    }
}
