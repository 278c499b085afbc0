//! A permission that a tenant has made up for its own services.

use sea_orm::entity::prelude::*;

use crate::id::{PermissionId, TenantId};

/// A permission that a tenant has made up for its own services.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "permissions")]
pub struct Model {
    /// Its id.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: PermissionId,
    /// Whose it is.
    pub tenant_id: TenantId,
    /// Its `resource:action`.
    pub name: String,
    /// What it allows.
    pub description: Option<String>,
    /// When it was made.
    pub created_at: DateTimeUtc,
}

impl ActiveModelBehavior for ActiveModel {}
