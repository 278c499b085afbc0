//! A type of events that a tenant publishes itself.

use sea_orm::entity::prelude::*;

use crate::id::{EventTypeId, TenantId};

/// A type of events that a tenant publishes itself.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "event_types")]
pub struct Model {
    /// Its id.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: EventTypeId,
    /// Whose it is.
    pub tenant_id: TenantId,
    /// As it stands in the body of an event.
    pub name: String,
    /// What it says.
    pub description: String,
    /// A JSON Schema of a whole body, as the tenant wrote it; an object.
    pub schema: Option<Json>,
    /// A whole body, as the tenant wrote it; an object.
    pub example: Option<Json>,
    /// When it was made.
    pub created_at: DateTimeUtc,
    /// When it last changed.
    pub updated_at: DateTimeUtc,
}

impl ActiveModelBehavior for ActiveModel {}
