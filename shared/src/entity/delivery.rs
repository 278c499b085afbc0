//! One event on its way to one endpoint.

use sea_orm::entity::prelude::*;

use super::DeliveryState;
use crate::id::{DeliveryId, EndpointId, EventId, TenantId};

/// One event on its way to one endpoint.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "deliveries")]
pub struct Model {
    /// Its id.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: DeliveryId,
    /// Whose it is.
    pub tenant_id: TenantId,
    /// The event.
    pub event_id: EventId,
    /// The endpoint.
    pub endpoint_id: EndpointId,
    /// The type of the event.
    pub event_type: String,
    /// Its state.
    pub state: DeliveryState,
    /// How many were made.
    pub attempts: i32,
    /// How many of them before it was last sent anew.
    pub earlier_attempts: i32,
    /// When it is due; null when it is finished.
    pub next_attempt_at: Option<DateTimeUtc>,
    /// Not before then does the sweep look at it.
    pub sweep_at: DateTimeUtc,
    /// Until then a worker holds it.
    pub lease_until: Option<DateTimeUtc>,
    /// Counts the leases.
    pub generation: i32,
    /// When it was made.
    pub created_at: DateTimeUtc,
    /// When it reached its end.
    pub finished_at: Option<DateTimeUtc>,
}

impl ActiveModelBehavior for ActiveModel {}
