//! A domain that names a tenant once it is proven.

use sea_orm::entity::prelude::*;

use crate::id::{DomainId, TenantId};

/// A domain that names a tenant once it is proven.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "tenant_domains")]
pub struct Model {
    /// Its id.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: DomainId,
    /// Whose it is.
    pub tenant_id: TenantId,
    /// Lower case, without a port.
    pub domain: String,
    /// What the domain's DNS must show.
    pub verification: String,
    /// When it was proven.
    pub verified_at: Option<DateTimeUtc>,
    /// When it was made.
    pub created_at: DateTimeUtc,
}

impl ActiveModelBehavior for ActiveModel {}
