//! Webhooks: a tenant's endpoints, and the history of what was sent to them.
//!
//! A delivery is one event on its way to one endpoint. It is `pending` until a call has succeeded (`succeeded`),
//! the schedule has ended or the endpoint answered 410 (`failed`), or the endpoint was turned off or deleted
//! (`cancelled`). Between calls its next time stands in PostgreSQL; while a worker calls, the row is leased.
//! Every copy of an event carries the same id and the same bytes.
//!
//! What must never happen: a call to an address inside somebody's network; two workers that send one delivery at
//! the same time; a secret, or the value of a customer's header, that can be read back or stands in a dump.

pub mod address;
mod error;
mod event_type;
mod field;
pub mod header;
mod health;
mod model;
mod outlived;
mod publish;
pub mod recover;
mod redeliver;
pub mod retry;
mod rotate;
mod service;
pub mod signature;
mod store;
pub mod target;
mod turn_off;
pub mod work;

pub(crate) use self::outlived::{end_outlived, remove_deleted};
pub(crate) use self::turn_off::{cancel_rest, disable_failing};
pub use self::{
    error::{GivenType, WebhookError},
    event_type::{
        EventTypeInfo, EventTypePatch, MAX_DOCUMENT, MAX_OWN, NewEventType, create_event_type,
        delete_event_type, list_event_types, update_event_type,
    },
    field::{MAX_DESCRIPTION, MAX_EVENT_TYPES, MAX_METADATA, MAX_METADATA_NAME, MAX_METADATA_VALUE},
    header::{HeaderFault, Headers},
    health::{Health, get_health},
    model::{
        Attempt, AttemptFilter, CreatedEndpoint, Delivery, DeliveryFilter, Endpoint, EndpointPatch, Event,
        EventFilter, Metadata, NewEndpoint,
    },
    publish::{MAX_PAYLOAD, Publisher},
    recover::recover,
    redeliver::{redeliver, send_test},
    rotate::{MAX_OVERLAP, MAX_SECRETS, rotate_secret},
    service::*,
    target::UrlFault,
};
