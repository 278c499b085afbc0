//! A secret that makes time-based codes (RFC 6238).

use sea_orm::entity::prelude::*;

use crate::id::{TenantId, UserId};

/// A secret that makes time-based codes (RFC 6238).
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "totp_factors")]
pub struct Model {
    /// Its id.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    /// Whose it is.
    pub tenant_id: TenantId,
    /// The user.
    pub user_id: UserId,
    /// The secret, sealed under the row's id.
    pub sealed: Vec<u8>,
    /// The newest time step that was accepted.
    pub last_step: i64,
    /// When it was made.
    pub created_at: DateTimeUtc,
    /// When its user proved to have it; until then it does not count.
    pub confirmed_at: Option<DateTimeUtc>,
}

impl ActiveModelBehavior for ActiveModel {}
