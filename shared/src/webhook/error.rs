//! What a caller of the webhook services can do something about.

use sea_orm::DbErr;

use super::{
    event_type::MAX_DOCUMENT,
    field::{MAX_METADATA, MAX_METADATA_NAME, MAX_METADATA_VALUE},
    header::HeaderFault,
    target::UrlFault,
};
use crate::{crypto::seal::SealBroken, error::Internal, outbox::InvalidEventType};

/// Where somebody names a type of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GivenType {
    /// As that of an event.
    Own,
    /// As one that an endpoint wants.
    Wanted,
    /// As that of the events to list.
    OfEvents,
    /// As that of the deliveries to list.
    OfDeliveries,
}

/// Why a request could not be met.
#[derive(Debug, thiserror::Error)]
pub enum WebhookError {
    /// There is no such thing in the caller's tenant.
    #[error("not found")]
    NotFound,
    /// The endpoint's URL cannot be called.
    #[error("the URL {0}")]
    InvalidUrl(UrlFault),
    /// A type that cannot be, or that a tenant may not publish.
    #[error("the event type {name:?} is not valid: {InvalidEventType}")]
    InvalidEventType {
        /// As it was given.
        name: String,
        /// What it was given as.
        given: GivenType,
    },
    /// More types than an endpoint may list.
    #[error("an endpoint lists {0} event types at most; an empty list means all")]
    TooManyEventTypes(usize),
    /// A header that cannot be sent.
    #[error("{0}")]
    InvalidHeader(#[from] HeaderFault),
    /// The description is too long, or holds control characters.
    #[error("a description has {0} characters at most and no control characters")]
    InvalidDescription(usize),
    /// Too many entries, or one too long.
    #[error(
        "metadata has {MAX_METADATA} entries at most, names of {MAX_METADATA_NAME} characters and values of \
         {MAX_METADATA_VALUE}"
    )]
    InvalidMetadata,
    /// Nothing is sent to the endpoint: it is turned off, or deleted.
    #[error("the endpoint is turned off or deleted")]
    EndpointOff,
    /// So much waited for the endpoint when it went off that it is still being cancelled.
    #[error("what waited for the endpoint is still being cancelled")]
    StillCancelling,
    /// There is nothing left to send.
    #[error("the event's payload has been erased")]
    PayloadErased,
    /// The span ends before it begins.
    #[error("the span ends before it begins")]
    InvalidSpan,
    /// The payload is larger than an event may be.
    #[error("a payload has {0} bytes of JSON at most")]
    PayloadTooLarge(usize),
    /// The tenant has as many endpoints as it may have.
    #[error("a tenant has {0} endpoints at most")]
    LimitReached(u32),
    /// The schema or the example of an event type is too large; which of the two.
    #[error("the {0} has {MAX_DOCUMENT} bytes of JSON at most")]
    DocumentTooLarge(&'static str),
    /// The tenant has declared an event type of that name.
    #[error("the tenant has an event type of that name")]
    NameTaken,
    /// It is one of the built-in event types.
    #[error("a built-in event type can be neither changed nor deleted")]
    BuiltIn,
    /// The tenant has declared as many event types as it may.
    #[error("a tenant declares {0} event types at most")]
    TooManyDeclared(u32),
    /// Nothing that a caller can mend.
    #[error("{0}")]
    Internal(#[source] Internal),
}

impl From<Internal> for WebhookError {
    fn from(error: Internal) -> Self {
        Self::Internal(error)
    }
}

impl From<UrlFault> for WebhookError {
    fn from(fault: UrlFault) -> Self {
        Self::InvalidUrl(fault)
    }
}

crate::error::internal_variant!(WebhookError: DbErr SealBroken serde_json::Error);
