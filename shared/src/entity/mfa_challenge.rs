//! The question for the second factor, put to someone who has proven the first.

use sea_orm::entity::prelude::*;

use crate::id::{DeviceId, TenantId, UserId};

/// The question for the second factor, put to someone who has proven the first.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "mfa_challenges")]
pub struct Model {
    /// SHA-256 of the token.
    #[sea_orm(primary_key, auto_increment = false)]
    pub hash: Vec<u8>,
    /// Whose it is.
    pub tenant_id: TenantId,
    /// The user.
    pub user_id: UserId,
    /// The device that signs in, where it is known.
    pub device_id: Option<DeviceId>,
    /// What the client calls the device.
    pub device_label: Option<String>,
    /// When it was made.
    pub created_at: DateTimeUtc,
    /// From then on it is of no use.
    pub expires_at: DateTimeUtc,
}

impl ActiveModelBehavior for ActiveModel {}
