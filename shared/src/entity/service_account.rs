//! A machine that has roles of its own.

use sea_orm::entity::prelude::*;

use super::ServiceAccountStatus;
use crate::id::{ServiceAccountId, TenantId};

/// A machine that has roles of its own.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "service_accounts")]
pub struct Model {
    /// Its id.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: ServiceAccountId,
    /// Whose it is.
    pub tenant_id: TenantId,
    /// For people.
    pub name: String,
    /// For people.
    pub description: Option<String>,
    /// Whether its keys work.
    pub status: ServiceAccountStatus,
    /// When it was made.
    pub created_at: DateTimeUtc,
    /// When it last changed.
    pub updated_at: DateTimeUtc,
}

impl ActiveModelBehavior for ActiveModel {}
