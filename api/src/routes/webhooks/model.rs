//! The shapes of endpoints, events, deliveries and attempts.

use std::{collections::HashMap, num::NonZeroU32, time::Duration};

use latchkey_shared::{
    config::Rate,
    entity::DeliveryState,
    webhook::{CreatedEndpoint, Delivery, Endpoint, EndpointPatch, Event, NewEndpoint},
};
use poem_openapi::{
    Enum, Object,
    types::{Example, MaybeUndefined},
};
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::{extract::Kept, json_object::JsonObject, routes::changed, time::Timestamp};

/// An endpoint to be.
#[derive(Object)]
#[oai(deny_unknown_fields, example)]
pub(super) struct CreateWebhookEndpointRequest {
    /// An https URL at a public address.
    #[oai(validator(min_length = 1, max_length = 2048))]
    url: String,
    /// Which types it gets, and families of them such as `user.*`; none means all.
    #[oai(validator(max_items = 100))]
    event_types: Option<Vec<String>>,
    /// For people.
    #[oai(validator(max_length = 256))]
    description: Option<String>,
    /// Headers of its own, sent with every call and never shown again.
    headers: Option<HashMap<String, String>>,
    /// Whether it gets events from now on; true if absent.
    enabled: Option<bool>,
    /// Your own: 50 entries at most, names of up to 64 characters and values of up to 500.
    metadata: Option<HashMap<String, String>>,
    /// How often it is called at most.
    rate_limit: Option<RateLimitView>,
    /// Whether its calls bear a `v1a` signature (Ed25519) beside that of `v1`; false if absent.
    asymmetric_signature: Option<bool>,
}

impl Example for CreateWebhookEndpointRequest {
    fn example() -> Self {
        Self {
            url: "https://hooks.example.com/latchkey".to_owned(),
            event_types: Some(vec!["user.registered".to_owned()]),
            description: Some("CRM".to_owned()),
            headers: None,
            enabled: Some(true),
            metadata: None,
            rate_limit: Some(RateLimitView {
                limit: 50,
                window_seconds: 1,
            }),
            asymmetric_signature: None,
        }
    }
}

impl From<CreateWebhookEndpointRequest> for NewEndpoint {
    fn from(request: CreateWebhookEndpointRequest) -> Self {
        let CreateWebhookEndpointRequest {
            url,
            event_types,
            description,
            headers,
            enabled,
            metadata,
            rate_limit,
            asymmetric_signature,
        } = request;
        Self {
            url,
            description,
            event_types: event_types.unwrap_or_default(),
            headers: headers.unwrap_or_default().into_iter().collect(),
            enabled: enabled.unwrap_or(true),
            metadata: metadata.unwrap_or_default().into_iter().collect(),
            rate_limit: rate_limit.map(Into::into),
            asymmetric: asymmetric_signature.unwrap_or(false),
        }
    }
}

/// What to change of an endpoint.
#[derive(Object)]
#[oai(deny_unknown_fields)]
pub(super) struct UpdateWebhookEndpointRequest {
    /// An https URL at a public address.
    #[oai(validator(min_length = 1, max_length = 2048))]
    url: Kept<String>,
    /// Replaces the list; an empty one, or null, means all.
    #[oai(validator(max_items = 100))]
    event_types: MaybeUndefined<Vec<String>>,
    /// For people; null clears it.
    #[oai(validator(max_length = 256))]
    description: MaybeUndefined<String>,
    /// Replaces all headers of its own; null clears them.
    headers: MaybeUndefined<HashMap<String, String>>,
    /// Whether it gets events from now on.
    enabled: Kept<bool>,
    /// Replaces all metadata; null clears it.
    metadata: MaybeUndefined<HashMap<String, String>>,
    /// How often it is called at most; null lifts the limit.
    rate_limit: MaybeUndefined<RateLimitView>,
    /// Whether its calls bear a `v1a` signature (Ed25519) beside that of `v1`.
    asymmetric_signature: Kept<bool>,
}

/// How often an endpoint is called: after a pause as many calls at once as `limit` says, and then that many in each window
/// (GCRA).
#[derive(Clone, Copy, Object)]
#[oai(rename = "WebhookRateLimit", deny_unknown_fields)]
struct RateLimitView {
    /// Calls.
    #[oai(validator(minimum(value = "1"), maximum(value = "1000000")))]
    limit: u32,
    /// In so many seconds.
    #[oai(validator(minimum(value = "1"), maximum(value = "86400")))]
    window_seconds: u32,
}

impl From<RateLimitView> for Rate {
    fn from(view: RateLimitView) -> Self {
        Self {
            count: NonZeroU32::new(view.limit).unwrap_or(NonZeroU32::MIN),
            window: Duration::from_secs(view.window_seconds.into()),
        }
    }
}

impl From<Rate> for RateLimitView {
    fn from(rate: Rate) -> Self {
        Self {
            limit: rate.count.get(),
            window_seconds: u32::try_from(rate.window.as_secs()).unwrap_or(u32::MAX),
        }
    }
}

impl From<UpdateWebhookEndpointRequest> for EndpointPatch {
    fn from(request: UpdateWebhookEndpointRequest) -> Self {
        let UpdateWebhookEndpointRequest {
            url,
            event_types,
            description,
            headers,
            enabled,
            metadata,
            rate_limit,
            asymmetric_signature,
        } = request;
        Self {
            url: url.0,
            event_types: changed(event_types).map(Option::unwrap_or_default),
            description: changed(description),
            headers: changed(headers).map(|headers| headers.unwrap_or_default().into_iter().collect()),
            enabled: enabled.0,
            metadata: changed(metadata).map(|metadata| metadata.unwrap_or_default().into_iter().collect()),
            rate_limit: changed(rate_limit).map(|rate| rate.map(Into::into)),
            asymmetric: asymmetric_signature.0,
        }
    }
}

/// A receiver of events.
#[derive(Object)]
#[oai(rename = "WebhookEndpoint")]
pub(super) struct EndpointView {
    id: Uuid,
    url: String,
    /// Which types it gets; none means all.
    event_types: Vec<String>,
    description: Option<String>,
    /// The names of its own headers; their values are never shown.
    header_names: Vec<String>,
    enabled: bool,
    /// Why it is off, when it was not a person who turned it off.
    disabled_reason: Option<String>,
    /// Since when every call has failed; null while calls succeed.
    failing_since: Option<Timestamp>,
    /// Your own.
    metadata: HashMap<String, String>,
    /// How often it is called at most.
    rate_limit: Option<RateLimitView>,
    /// Verifies its `v1a` signatures (Standard Webhooks, `whpk_` and 32 bytes in base64); null while none are made. It
    /// changes with the secret, and former ones verify as long as former secrets sign.
    public_key: Option<String>,
    created_at: Timestamp,
    updated_at: Timestamp,
}

impl From<Endpoint> for EndpointView {
    fn from(endpoint: Endpoint) -> Self {
        let Endpoint {
            id,
            url,
            description,
            event_types,
            header_names,
            enabled,
            disabled_reason,
            failing_since,
            metadata,
            rate_limit,
            public_key,
            created_at,
            updated_at,
        } = endpoint;
        Self {
            id: id.0,
            url,
            event_types,
            description,
            header_names,
            enabled,
            disabled_reason,
            failing_since: failing_since.map(Timestamp::from),
            metadata: metadata.into_iter().collect(),
            rate_limit: rate_limit.map(Into::into),
            public_key,
            created_at: created_at.into(),
            updated_at: updated_at.into(),
        }
    }
}

/// A new endpoint and its secret.
#[derive(Object)]
#[oai(rename = "CreatedWebhookEndpoint")]
pub(super) struct CreatedEndpointView {
    endpoint: EndpointView,
    /// Verifies signatures (Standard Webhooks); shown this once.
    secret: String,
}

impl From<CreatedEndpoint> for CreatedEndpointView {
    fn from(created: CreatedEndpoint) -> Self {
        let CreatedEndpoint { endpoint, secret } = created;
        Self {
            endpoint: endpoint.into(),
            secret: secret.expose().clone(),
        }
    }
}

/// An event of the tenant's own.
#[derive(Object)]
#[oai(rename = "PublishEventRequest", deny_unknown_fields, example)]
pub(super) struct PublishRequest {
    /// Words of lower-case letters, digits, underscores and hyphens with dots between them; not a built-in type.
    #[oai(rename = "type", validator(min_length = 1, max_length = 128))]
    pub(super) event_type: String,
    /// Up to 256 KiB of JSON.
    pub(super) payload: JsonObject,
}

impl Example for PublishRequest {
    fn example() -> Self {
        let mut payload = Map::new();
        payload.insert("invoice".to_owned(), Value::from("INV-1815"));
        Self {
            event_type: "invoice.paid".to_owned(),
            payload: JsonObject(payload),
        }
    }
}

/// An event that was taken.
#[derive(Object)]
#[oai(rename = "PublishedEvent")]
pub(super) struct PublishedView {
    /// Receivers get it as `webhook-id`.
    pub(super) event_id: Uuid,
}

/// Something that happened.
#[derive(Object)]
#[oai(rename = "Event")]
pub(super) struct EventView {
    /// Receivers get it as `webhook-id`.
    id: Uuid,
    #[oai(rename = "type")]
    event_type: String,
    /// The `data` that receivers get.
    payload: JsonObject,
    /// What it held is gone, and it is not sent again.
    payload_erased: bool,
    /// The `traceparent` (W3C Trace Context) of the request that caused it, if it bore one.
    traceparent: Option<String>,
    created_at: Timestamp,
}

impl From<Event> for EventView {
    fn from(event: Event) -> Self {
        let Event {
            id,
            event_type,
            payload,
            payload_erased,
            traceparent,
            created_at,
        } = event;
        Self {
            id: id.0,
            event_type,
            payload: JsonObject(payload),
            payload_erased,
            traceparent,
            created_at: created_at.into(),
        }
    }
}

/// Where a delivery stands.
#[derive(Enum)]
#[oai(rename = "DeliveryState", rename_all = "snake_case")]
pub(super) enum DeliveryStateView {
    /// To be attempted, now or later.
    Pending,
    /// The endpoint has accepted it.
    Succeeded,
    /// Given up after the schedule's last attempt.
    Failed,
    /// Its endpoint is gone or turned off.
    Cancelled,
}

impl From<DeliveryStateView> for DeliveryState {
    fn from(state: DeliveryStateView) -> Self {
        match state {
            DeliveryStateView::Pending => Self::Pending,
            DeliveryStateView::Succeeded => Self::Succeeded,
            DeliveryStateView::Failed => Self::Failed,
            DeliveryStateView::Cancelled => Self::Cancelled,
        }
    }
}

impl From<DeliveryState> for DeliveryStateView {
    fn from(state: DeliveryState) -> Self {
        match state {
            DeliveryState::Pending => Self::Pending,
            DeliveryState::Succeeded => Self::Succeeded,
            DeliveryState::Failed => Self::Failed,
            DeliveryState::Cancelled => Self::Cancelled,
        }
    }
}

/// One event on its way to one endpoint.
#[derive(Object)]
#[oai(rename = "Delivery")]
pub(super) struct DeliveryView {
    id: Uuid,
    event_id: Uuid,
    /// The endpoint, which may have been deleted since.
    endpoint_id: Uuid,
    event_type: String,
    state: DeliveryStateView,
    /// How many calls have ended.
    attempts: i32,
    /// When the next one is due, while it is pending.
    next_attempt_at: Option<Timestamp>,
    created_at: Timestamp,
    /// When it reached its end.
    finished_at: Option<Timestamp>,
}

impl From<Delivery> for DeliveryView {
    fn from(delivery: Delivery) -> Self {
        let Delivery {
            id,
            event_id,
            endpoint_id,
            event_type,
            state,
            attempts,
            next_attempt_at,
            created_at,
            finished_at,
        } = delivery;
        Self {
            id: id.0,
            event_id: event_id.0,
            endpoint_id: endpoint_id.0,
            event_type,
            state: state.into(),
            attempts,
            next_attempt_at: next_attempt_at.map(Into::into),
            created_at: created_at.into(),
            finished_at: finished_at.map(Into::into),
        }
    }
}
