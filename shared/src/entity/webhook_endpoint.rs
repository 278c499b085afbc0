//! A customer's receiver.

use sea_orm::entity::prelude::*;

use crate::id::{EndpointId, TenantId};

/// A customer's receiver.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "webhook_endpoints")]
pub struct Model {
    /// Its id.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: EndpointId,
    /// Whose it is.
    pub tenant_id: TenantId,
    /// Where it is called.
    pub url: String,
    /// For people.
    pub description: Option<String>,
    /// Empty: every type.
    pub event_types: Vec<String>,
    /// The names of the headers that are sent with every call.
    pub header_names: Vec<String>,
    /// Those headers with their values.
    pub sealed_headers: Vec<u8>,
    /// Whether events are sent to it.
    pub enabled: bool,
    /// When it was not a person who turned it off.
    pub disabled_reason: Option<String>,
    /// Since when every call has failed.
    pub failing_since: Option<DateTimeUtc>,
    /// The newest signing secret.
    pub sealed_secret: Vec<u8>,
    /// What verifies its asymmetric signatures; none are made where there is none.
    pub public_key: Option<String>,
    /// The tenant's own; an object of strings.
    pub metadata: Json,
    /// The most calls in a span of `rate_window_seconds`.
    pub rate_limit: Option<i32>,
    /// How long that span is.
    pub rate_window_seconds: Option<i32>,
    /// When it was made.
    pub created_at: DateTimeUtc,
    /// When it last changed.
    pub updated_at: DateTimeUtc,
    /// When it was deleted; its row stays for the history of its deliveries.
    pub deleted_at: Option<DateTimeUtc>,
}

impl ActiveModelBehavior for ActiveModel {}
