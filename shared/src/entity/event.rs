//! Something that happened.

use sea_orm::entity::prelude::*;

use crate::id::{EventId, TenantId, UserId};

/// Something that happened.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "events")]
pub struct Model {
    /// Its id.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: EventId,
    /// Whose it is.
    pub tenant_id: TenantId,
    /// The type of the event.
    #[sea_orm(column_name = "type")]
    pub event_type: String,
    /// The very text that is signed and sent.
    pub body: String,
    /// Whose data the body holds, if any user's.
    pub user_id: Option<UserId>,
    /// The data is to be erased once no delivery is under way.
    pub erase: bool,
    /// That has been done: there is nothing left to send.
    pub erased: bool,
    /// The trace of the request that caused it, as that named it.
    pub traceparent: Option<String>,
    /// When it was made.
    pub created_at: DateTimeUtc,
}

impl ActiveModelBehavior for ActiveModel {}
