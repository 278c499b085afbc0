//! One call of an endpoint and what came of it.

use sea_orm::entity::prelude::*;

use super::ErrorClass;
use crate::id::{AttemptId, DeliveryId, EndpointId, TenantId};

/// One call of an endpoint and what came of it.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "attempts")]
pub struct Model {
    /// Its id.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: AttemptId,
    /// Whose it is.
    #[sea_orm(primary_key, auto_increment = false)]
    pub tenant_id: TenantId,
    /// The delivery.
    #[sea_orm(primary_key, auto_increment = false)]
    pub delivery_id: DeliveryId,
    /// The endpoint that was called; of early attempts it is not known.
    pub endpoint_id: Option<EndpointId>,
    /// Counts from 1.
    pub number: i32,
    /// When the call began.
    pub started_at: DateTimeUtc,
    /// How long it took.
    pub duration_ms: i32,
    /// `success` or `failure`; of an attempt `succeeded` or `failed`.
    pub outcome: String,
    /// Of the HTTP response.
    pub status: Option<i16>,
    /// The kind of failure.
    pub error_class: Option<ErrorClass>,
    /// What the failure said.
    pub error_detail: Option<String>,
    /// The address that was called.
    pub address: Option<String>,
    /// The `traceparent` that the call bore.
    pub traceparent: Option<String>,
    /// Of the response.
    pub response_headers: Json,
    /// Its first 16 KiB.
    pub response_body: Option<String>,
}

impl ActiveModelBehavior for ActiveModel {}
