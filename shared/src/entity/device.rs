//! A device that a user has signed in with.

use sea_orm::entity::prelude::*;

use crate::id::{DeviceId, TenantId, UserId};

/// A device that a user has signed in with.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "devices")]
pub struct Model {
    /// Its id.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: DeviceId,
    /// Whose it is.
    pub tenant_id: TenantId,
    /// The user.
    pub user_id: UserId,
    /// SHA-256 of its token.
    pub hash: Vec<u8>,
    /// What its user calls it.
    pub label: Option<String>,
    /// When it was made.
    pub created_at: DateTimeUtc,
    /// When it was seen last.
    pub last_seen_at: DateTimeUtc,
    /// From then on it is of no use.
    pub expires_at: DateTimeUtc,
    /// Until then it is not asked for the second factor.
    pub trusted_until: Option<DateTimeUtc>,
}

impl ActiveModelBehavior for ActiveModel {}
