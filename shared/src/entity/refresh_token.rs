//! One link of a session's chain of refresh tokens.

use sea_orm::entity::prelude::*;

use crate::id::{SessionId, TenantId};

/// One link of a session's chain of refresh tokens.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "refresh_tokens")]
pub struct Model {
    /// SHA-256 of the token.
    #[sea_orm(primary_key, auto_increment = false)]
    pub hash: Vec<u8>,
    /// Whose it is.
    pub tenant_id: TenantId,
    /// The session.
    pub session_id: SessionId,
    /// When it was made.
    pub created_at: DateTimeUtc,
    /// From then on it is of no use.
    pub expires_at: DateTimeUtc,
    /// Null while it is the live one.
    pub used_at: Option<DateTimeUtc>,
}

impl ActiveModelBehavior for ActiveModel {}
