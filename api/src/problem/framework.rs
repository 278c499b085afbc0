//! What the framework refuses by itself, as problems of ours.

use poem::error::{MethodNotAllowedError, NotFoundError, ReadBodyError};
use poem_openapi::error::{ContentTypeError, ParseParamError, ParsePathError, ParseRequestPayloadError};

use super::{Failure, FieldError, ProblemCode};

/// The problem behind any error. The framework's own texts name Rust types; none of them is passed on.
#[must_use]
pub fn failure(error: &poem::Error) -> Failure {
    if let Some(failure) = error.downcast_ref::<Failure>() {
        return failure.clone();
    }
    if let Some(parameter) = error.downcast_ref::<ParseParamError>() {
        let pointer = format!("/query/{}", parameter.name);
        let field = FieldError::new(pointer, "invalid", format!("{} cannot be read", parameter.name));
        return Failure::fields(ProblemCode::InvalidParameter, vec![field]);
    }
    if error.is::<ParsePathError>() {
        // What is not even an id names nothing.
        return Failure::new(ProblemCode::NotFound, "There is no such resource.");
    }
    if error.is::<NotFoundError>() {
        return Failure::new(ProblemCode::RouteNotFound, "No operation has this path.");
    }
    if error.is::<MethodNotAllowedError>() {
        return Failure::new(
            ProblemCode::MethodNotAllowed,
            "The operation at this path takes another method.",
        );
    }
    if error.is::<ContentTypeError>() {
        return Failure::new(
            ProblemCode::UnsupportedMediaType,
            "Send the body as application/json.",
        );
    }
    if error.is::<ParseRequestPayloadError>() {
        return Failure::new(ProblemCode::MalformedJson, "The body cannot be read.");
    }
    match error.downcast_ref::<ReadBodyError>() {
        Some(ReadBodyError::PayloadTooLarge) => {
            return Failure::new(
                ProblemCode::BodyTooLarge,
                "The body is larger than this server takes.",
            );
        }
        Some(_) => return Failure::new(ProblemCode::BadRequest, "The body broke off."),
        None => {}
    }
    if error.status().is_client_error() {
        return Failure::new(ProblemCode::BadRequest, "The request cannot be read.");
    }
    tracing::error!(%error, "an unforeseen error");
    Failure::new(
        ProblemCode::InternalError,
        "The request id finds the cause in the server's log.",
    )
}
