//! Of the tenant itself and of its webhooks.

use schemars::JsonSchema;
use serde::Serialize;

use super::{EventType, Payload, id};
use crate::{
    clock::Timestamp,
    entity::Offence,
    id::{EndpointId, TenantId},
};

/// The tenant.
#[derive(Debug, Serialize, JsonSchema)]
pub struct NamedTenant {
    /// The tenant's id.
    pub id: TenantId,
    /// Its name in hosts and headers.
    pub slug: String,
    /// Its name for people.
    pub name: String,
}

impl NamedTenant {
    fn example() -> Self {
        Self {
            id: TenantId(id(1)),
            slug: "acme".to_owned(),
            name: "Acme".to_owned(),
        }
    }
}

/// The tenant was suspended, or deleted.
#[derive(Debug, Serialize, JsonSchema)]
pub struct TenantSuspended {
    /// The tenant.
    pub tenant: NamedTenant,
    /// When what it holds is removed; null unless it was deleted.
    pub delete_at: Option<Timestamp>,
}

impl Payload for TenantSuspended {
    const TYPE: EventType = EventType::TenantSuspended;

    fn example() -> Self {
        Self {
            tenant: NamedTenant::example(),
            delete_at: None,
        }
    }
}

/// The tenant works again.
#[derive(Debug, Serialize, JsonSchema)]
pub struct TenantActivated {
    /// The tenant.
    pub tenant: NamedTenant,
    /// Null: nothing of it is to be removed.
    pub delete_at: Option<Timestamp>,
}

impl Payload for TenantActivated {
    const TYPE: EventType = EventType::TenantActivated;

    fn example() -> Self {
        Self {
            tenant: NamedTenant::example(),
            delete_at: None,
        }
    }
}

/// A webhook endpoint was turned off.
#[derive(Debug, Serialize, JsonSchema)]
pub struct WebhookEndpointDisabled {
    /// The endpoint's id.
    pub endpoint_id: EndpointId,
    /// Its scheme, host and port; the rest of its URL is nobody's but its own.
    pub url: String,
    /// What it did; null when a person turned it off.
    pub reason: Option<Offence>,
    /// How many deliveries waited for it. They are given up, unless it is turned on again before all are.
    pub cancelled_deliveries: u64,
}

impl Payload for WebhookEndpointDisabled {
    const TYPE: EventType = EventType::WebhookEndpointDisabled;

    fn example() -> Self {
        Self {
            endpoint_id: EndpointId(id(9)),
            url: "https://hooks.example.com".to_owned(),
            reason: Some(Offence::Failing),
            cancelled_deliveries: 3,
        }
    }
}

/// A test, sent on request.
#[derive(Debug, Serialize, JsonSchema)]
pub struct WebhookTest {
    /// The endpoint that it was sent to.
    pub endpoint_id: EndpointId,
}

impl Payload for WebhookTest {
    const TYPE: EventType = EventType::WebhookTest;

    fn example() -> Self {
        Self {
            endpoint_id: EndpointId(id(9)),
        }
    }
}
