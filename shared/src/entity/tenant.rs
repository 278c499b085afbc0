//! A tenant: an isolated population.

use sea_orm::entity::prelude::*;

use super::TenantStatus;
use crate::{id::TenantId, version::Version};

/// A tenant: an isolated population.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "tenants")]
pub struct Model {
    /// Its id.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: TenantId,
    /// Names it in hosts and headers.
    pub slug: String,
    /// For people.
    pub name: String,
    /// Its state.
    pub status: TenantStatus,
    /// See `tenant::Settings`.
    pub settings: Json,
    /// Counts the changes of this row.
    pub version: Version,
    /// See `tenant::RateLimits`.
    pub rate_limits: Json,
    /// Address ranges that are not public and that its endpoints may be called in all the same.
    pub webhook_cidrs: Vec<String>,
    /// When what it holds is removed, if it is to be.
    pub delete_at: Option<DateTimeUtc>,
    /// When it was made.
    pub created_at: DateTimeUtc,
    /// When it last changed.
    pub updated_at: DateTimeUtc,
}

impl ActiveModelBehavior for ActiveModel {}
