//! A code that stands in for the second factor, once.

use sea_orm::entity::prelude::*;

use crate::id::{TenantId, UserId};

/// A code that stands in for the second factor, once.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "recovery_codes")]
pub struct Model {
    /// A keyed hash of the code.
    #[sea_orm(primary_key, auto_increment = false)]
    pub hash: Vec<u8>,
    /// Whose it is.
    pub tenant_id: TenantId,
    /// The user.
    pub user_id: UserId,
    /// When it was made.
    pub created_at: DateTimeUtc,
}

impl ActiveModelBehavior for ActiveModel {}
