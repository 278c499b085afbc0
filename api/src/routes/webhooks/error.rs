//! What of webhooks becomes which problem.

use latchkey_shared::webhook::{GivenType, WebhookError};

use crate::problem::{Failure, FieldError, ProblemCode};

impl From<WebhookError> for Failure {
    fn from(error: WebhookError) -> Self {
        let detail = error.to_string();
        let field = |pointer: &str, code: &str| {
            let field = FieldError::new(pointer, code, detail.clone());
            Self::fields(ProblemCode::ValidationFailed, vec![field])
        };
        match error {
            WebhookError::NotFound => Self::new(ProblemCode::NotFound, "There is no such resource."),
            WebhookError::InvalidUrl(_) => field("/url", "refused_url"),
            WebhookError::InvalidEventType { given, .. } => field(pointer(given), "invalid_event_type"),
            WebhookError::TooManyEventTypes(_) => field("/event_types", "too_many"),
            WebhookError::InvalidHeader(_) => field("/headers", "invalid_header"),
            WebhookError::InvalidDescription(_) => field("/description", "invalid"),
            WebhookError::InvalidMetadata => field("/metadata", "invalid"),
            WebhookError::InvalidSpan => field("/until", "invalid"),
            WebhookError::EndpointOff => Self::new(
                ProblemCode::EndpointDisabled,
                "Nothing is sent to the endpoint: it is turned off, or deleted.",
            ),
            WebhookError::StillCancelling => Self::new(
                ProblemCode::EndpointDisabled,
                "What waited for the endpoint when it was turned off is still being cancelled. Try again in a moment.",
            ),
            WebhookError::PayloadErased => Self::new(
                ProblemCode::PayloadErased,
                "There is nothing left to send: the tenant's retention, or somebody's deletion, has erased it.",
            ),
            WebhookError::PayloadTooLarge(_) => field("/payload", "too_large"),
            WebhookError::DocumentTooLarge("schema") => field("/schema", "too_large"),
            WebhookError::DocumentTooLarge(_) => field("/example", "too_large"),
            WebhookError::NameTaken => Self::new(ProblemCode::NameTaken, detail),
            WebhookError::BuiltIn => Self::new(ProblemCode::BuiltIn, detail),
            WebhookError::TooManyDeclared(_) | WebhookError::LimitReached(_) => {
                Self::new(ProblemCode::LimitReached, detail)
            }
            WebhookError::Internal(error) => error.into(),
        }
    }
}

fn pointer(given: GivenType) -> &'static str {
    match given {
        GivenType::Own => "/type",
        GivenType::Wanted => "/event_types",
        GivenType::OfEvents => "/query/type",
        GivenType::OfDeliveries => "/query/event_type",
    }
}
