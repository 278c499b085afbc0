//! The shapes of attempts.

use latchkey_shared::{entity::ErrorClass, webhook::Attempt};
use poem_openapi::{Enum, Object, types::Any};
use serde_json::Value;
use uuid::Uuid;

use crate::time::Timestamp;

/// How an attempt ended.
#[derive(Enum)]
#[oai(rename = "AttemptOutcome", rename_all = "snake_case")]
enum OutcomeView {
    Succeeded,
    Failed,
}

/// What kept a call from being a success.
#[derive(Enum)]
#[oai(rename = "ErrorClass", rename_all = "snake_case")]
pub(super) enum ErrorClassView {
    /// The host's name has no address.
    Dns,
    /// The host, or one of its addresses, is not public.
    RefusedAddress,
    /// Nobody took the connection.
    Connect,
    /// The connection could not be made safe: the certificate is not to be trusted, or there is no TLS.
    Tls,
    /// There was no answer in time.
    Timeout,
    /// The connection ended before the answer was there.
    ConnectionClosed,
    /// What came back is no HTTP.
    InvalidResponse,
    /// The answer leads elsewhere; redirects are not followed.
    Redirect,
    /// The answer's status is no success.
    HttpStatus,
    /// The call could not be made, for a reason on our side.
    Other,
}

impl From<ErrorClass> for ErrorClassView {
    fn from(class: ErrorClass) -> Self {
        match class {
            ErrorClass::Dns => Self::Dns,
            ErrorClass::RefusedAddress => Self::RefusedAddress,
            ErrorClass::Connect => Self::Connect,
            ErrorClass::Tls => Self::Tls,
            ErrorClass::Timeout => Self::Timeout,
            ErrorClass::ConnectionClosed => Self::ConnectionClosed,
            ErrorClass::InvalidResponse => Self::InvalidResponse,
            ErrorClass::Redirect => Self::Redirect,
            ErrorClass::HttpStatus => Self::HttpStatus,
            ErrorClass::Other => Self::Other,
        }
    }
}

/// One call of an endpoint.
#[derive(Object)]
#[oai(rename = "Attempt")]
pub(super) struct AttemptView {
    id: Uuid,
    delivery_id: Uuid,
    /// Counts from 1.
    number: i32,
    started_at: Timestamp,
    /// Milliseconds.
    duration_ms: i32,
    outcome: OutcomeView,
    /// The HTTP status, if there was a response.
    #[oai(skip_serializing_if_is_none = false)]
    status: Option<i16>,
    /// What kept it from being a success.
    #[oai(skip_serializing_if_is_none = false)]
    error_class: Option<ErrorClassView>,
    /// What the failure said.
    #[oai(skip_serializing_if_is_none = false)]
    error_detail: Option<String>,
    /// The address that was called, with its port.
    #[oai(skip_serializing_if_is_none = false)]
    address: Option<String>,
    /// Of the response.
    response_headers: Any<Value>,
    /// The first 16 KiB of the response.
    #[oai(skip_serializing_if_is_none = false)]
    response_body: Option<String>,
}

impl From<Attempt> for AttemptView {
    fn from(attempt: Attempt) -> Self {
        let Attempt {
            id,
            delivery_id,
            number,
            started_at,
            duration_ms,
            succeeded,
            status,
            error_class,
            error_detail,
            address,
            response_headers,
            response_body,
        } = attempt;
        Self {
            id: id.0,
            delivery_id: delivery_id.0,
            number,
            started_at: started_at.into(),
            duration_ms,
            outcome: if succeeded {
                OutcomeView::Succeeded
            } else {
                OutcomeView::Failed
            },
            status,
            error_class: error_class.map(Into::into),
            error_detail,
            address,
            response_headers: Any(response_headers),
            response_body,
        }
    }
}
