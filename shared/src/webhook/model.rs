//! What the services take and give.

use std::{collections::BTreeMap, num::NonZeroU32, time::Duration};

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

use super::header::Headers;
use crate::{
    config::Rate,
    entity::{DeliveryState, ErrorClass, attempt, delivery, event, webhook_endpoint},
    id::{AttemptId, DeliveryId, EndpointId, EventId},
    secret::Secret,
};

/// A customer's receiver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Its id.
    pub id: EndpointId,
    /// Where it is called.
    pub url: String,
    /// For people.
    pub description: Option<String>,
    /// What it gets; empty means everything.
    pub event_types: Vec<String>,
    /// The names of its own headers. Their values are credentials more often than not and never shown again.
    pub header_names: Vec<String>,
    /// Whether events are sent to it.
    pub enabled: bool,
    /// Why not, when it was not a person who turned it off: `gone` after the endpoint answered 410, `failing` after every
    /// call failed for days.
    pub disabled_reason: Option<String>,
    /// Since when every call has failed; nothing while calls succeed.
    pub failing_since: Option<DateTime<Utc>>,
    /// The tenant's own.
    pub metadata: Metadata,
    /// How often it is called at most.
    pub rate_limit: Option<Rate>,
    /// What verifies its `v1a` signatures; nothing where none are made.
    pub public_key: Option<String>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it last changed.
    pub updated_at: DateTime<Utc>,
}

impl From<webhook_endpoint::Model> for Endpoint {
    fn from(row: webhook_endpoint::Model) -> Self {
        let webhook_endpoint::Model {
            id,
            tenant_id: _,
            url,
            description,
            event_types,
            header_names,
            sealed_headers: _,
            enabled,
            disabled_reason,
            failing_since,
            sealed_secret: _,
            public_key,
            metadata,
            rate_limit,
            rate_window_seconds,
            created_at,
            updated_at,
            deleted_at: _,
        } = row;
        Self {
            id,
            url,
            description,
            event_types,
            header_names,
            enabled,
            disabled_reason,
            failing_since,
            // Nothing but an object of strings was put there.
            metadata: serde_json::from_value(metadata).unwrap_or_default(),
            rate_limit: rate(rate_limit, rate_window_seconds),
            public_key,
            created_at,
            updated_at,
        }
    }
}

/// Names and values of a tenant's own.
pub type Metadata = BTreeMap<String, String>;

pub(super) fn rate(count: Option<i32>, seconds: Option<i32>) -> Option<Rate> {
    Some(Rate {
        count: NonZeroU32::new(u32::try_from(count?).ok()?)?,
        window: Duration::from_secs(u64::try_from(seconds?).ok()?),
    })
}

/// What a new endpoint is made of.
#[derive(Clone, Debug, Default)]
pub struct NewEndpoint {
    /// `https`, public, 2,048 characters at most.
    pub url: String,
    /// For people, 256 characters at most.
    pub description: Option<String>,
    /// Types, and families such as `user.*`; empty means every type.
    pub event_types: Vec<String>,
    /// Sent with every call.
    pub headers: Headers,
    /// Whether events are sent to it from now on.
    pub enabled: bool,
    /// The tenant's own.
    pub metadata: Metadata,
    /// How often it is called at most.
    pub rate_limit: Option<Rate>,
    /// Whether its calls bear `v1a` signatures beside those of `v1`.
    pub asymmetric: bool,
}

/// A new endpoint and the secret that it verifies signatures with.
#[derive(Clone, Debug)]
pub struct CreatedEndpoint {
    /// The endpoint.
    pub endpoint: Endpoint,
    /// `whsec_…`; shown this once.
    pub secret: Secret<String>,
}

/// What to change; `None` leaves a field as it is.
#[derive(Clone, Debug, Default)]
pub struct EndpointPatch {
    /// As in [`NewEndpoint`].
    pub url: Option<String>,
    /// `Some(None)` clears it.
    pub description: Option<Option<String>>,
    /// Replaces the list; empty means every type.
    pub event_types: Option<Vec<String>>,
    /// Replaces all headers.
    pub headers: Option<Headers>,
    /// Turns it on or off; off cancels what is pending.
    pub enabled: Option<bool>,
    /// Replaces all metadata.
    pub metadata: Option<Metadata>,
    /// `Some(None)` lifts it.
    pub rate_limit: Option<Option<Rate>>,
    /// Turns `v1a` signatures on or off.
    pub asymmetric: Option<bool>,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// Its id, which receivers get as `webhook-id`.
    pub id: EventId,
    /// Its type.
    pub event_type: String,
    /// The `data` of its body.
    pub payload: Map<String, Value>,
    /// What it held is gone.
    pub payload_erased: bool,
    /// The trace of the request that caused it, as that named it.
    pub traceparent: Option<String>,
    /// When it happened.
    pub created_at: DateTime<Utc>,
}

impl From<event::Model> for Event {
    fn from(row: event::Model) -> Self {
        let event::Model {
            id,
            tenant_id: _,
            event_type,
            body,
            user_id: _,
            erase: _,
            erased,
            traceparent,
            created_at,
        } = row;
        // Nothing but `outbox` writes bodies, and it writes an object with an object in it.
        let payload = match serde_json::from_str(&body) {
            Ok(Value::Object(mut body)) => match body.remove("data") {
                Some(Value::Object(data)) => data,
                _ => Map::new(),
            },
            _ => Map::new(),
        };
        Self {
            id,
            event_type,
            payload,
            payload_erased: erased,
            traceparent,
            created_at,
        }
    }
}

/// One event on its way to one endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Its id.
    pub id: DeliveryId,
    /// The event.
    pub event_id: EventId,
    /// The endpoint, which may have been deleted since.
    pub endpoint_id: EndpointId,
    /// The type of the event.
    pub event_type: String,
    /// Where it stands.
    pub state: DeliveryState,
    /// How many calls have ended.
    pub attempts: i32,
    /// When the next one is due, while it is pending.
    pub next_attempt_at: Option<DateTime<Utc>>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it reached its end.
    pub finished_at: Option<DateTime<Utc>>,
}

impl From<delivery::Model> for Delivery {
    fn from(row: delivery::Model) -> Self {
        let delivery::Model {
            id,
            tenant_id: _,
            event_id,
            endpoint_id,
            event_type,
            state,
            attempts,
            earlier_attempts: _,
            next_attempt_at,
            sweep_at: _,
            lease_until: _,
            generation: _,
            created_at,
            finished_at,
        } = row;
        Self {
            id,
            event_id,
            endpoint_id,
            event_type,
            state,
            attempts,
            next_attempt_at,
            created_at,
            finished_at,
        }
    }
}

/// Which events a list holds.
#[derive(Clone, Debug, Default)]
pub struct EventFilter {
    /// Of one type.
    pub event_type: Option<String>,
    /// Made then or later.
    pub since: Option<DateTime<Utc>>,
    /// Made earlier than that.
    pub until: Option<DateTime<Utc>>,
}

/// Which deliveries a list holds.
#[derive(Clone, Debug, Default)]
pub struct DeliveryFilter {
    /// Of one event.
    pub event_id: Option<EventId>,
    /// Of one endpoint.
    pub endpoint_id: Option<EndpointId>,
    /// In one state.
    pub state: Option<DeliveryState>,
    /// Of one type.
    pub event_type: Option<String>,
    /// Made then or later.
    pub since: Option<DateTime<Utc>>,
    /// Made earlier than that.
    pub until: Option<DateTime<Utc>>,
}

/// Which of an endpoint's attempts a list holds.
#[derive(Clone, Debug, Default)]
pub struct AttemptFilter {
    /// Whether the endpoint took the event.
    pub succeeded: Option<bool>,
    /// Of one kind of failure.
    pub error_class: Option<ErrorClass>,
    /// Begun then or later.
    pub since: Option<DateTime<Utc>>,
    /// Begun earlier than that.
    pub until: Option<DateTime<Utc>>,
}

/// One call of an endpoint and what came of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Attempt {
    /// Its id.
    pub id: AttemptId,
    /// The delivery.
    pub delivery_id: DeliveryId,
    /// Counts from 1.
    pub number: i32,
    /// When the call began.
    pub started_at: DateTime<Utc>,
    /// How long it took.
    pub duration_ms: i32,
    /// Whether the endpoint took the event.
    pub succeeded: bool,
    /// Of the HTTP response.
    pub status: Option<i16>,
    /// The kind of failure.
    pub error_class: Option<ErrorClass>,
    /// What the failure said.
    pub error_detail: Option<String>,
    /// The address that was called, with its port.
    pub address: Option<String>,
    /// The `traceparent` that the call bore.
    pub traceparent: Option<String>,
    /// Of the response; an object of strings.
    pub response_headers: Value,
    /// Its first 16 KiB.
    pub response_body: Option<String>,
}

impl From<attempt::Model> for Attempt {
    fn from(row: attempt::Model) -> Self {
        let attempt::Model {
            id,
            tenant_id: _,
            delivery_id,
            endpoint_id: _,
            number,
            started_at,
            duration_ms,
            outcome,
            status,
            error_class,
            error_detail,
            address,
            traceparent,
            response_headers,
            response_body,
        } = row;
        Self {
            id,
            delivery_id,
            number,
            started_at,
            duration_ms,
            succeeded: outcome == super::work::SUCCEEDED,
            status,
            error_class,
            error_detail,
            address,
            traceparent,
            response_headers,
            response_body,
        }
    }
}
