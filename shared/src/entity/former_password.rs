//! A password that a user had before.

use sea_orm::entity::prelude::*;

use crate::id::{TenantId, UserId};

/// A password that a user had before.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "former_passwords")]
pub struct Model {
    /// Its id.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    /// Whose it is.
    pub tenant_id: TenantId,
    /// The user.
    pub user_id: UserId,
    /// A PHC string.
    pub password_hash: String,
    /// When it was replaced.
    pub created_at: DateTimeUtc,
}

impl ActiveModelBehavior for ActiveModel {}
