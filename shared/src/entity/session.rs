//! A sign-in and what came of it.

use sea_orm::entity::prelude::*;

use crate::id::{DeviceId, SessionId, TenantId, UserId};

/// A sign-in and what came of it.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "sessions")]
pub struct Model {
    /// Its id.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: SessionId,
    /// Whose it is.
    pub tenant_id: TenantId,
    /// The user.
    pub user_id: UserId,
    /// The client's address.
    pub address: Option<String>,
    /// The client's own description.
    pub user_agent: Option<String>,
    /// What its user calls the device.
    pub device_label: Option<String>,
    /// The device, where it proved to be one that had signed in before.
    pub device_id: Option<DeviceId>,
    /// How its user signed in: `amr` values (RFC 8176).
    pub methods: Vec<String>,
    /// When its user last proved a credential.
    pub authenticated_at: Option<DateTimeUtc>,
    /// When it was used last, to some minutes.
    pub last_seen_at: Option<DateTimeUtc>,
    /// When it was made.
    pub created_at: DateTimeUtc,
    /// It ends then in any case.
    pub expires_at: DateTimeUtc,
    /// When it was ended.
    pub revoked_at: Option<DateTimeUtc>,
    /// Why it was ended.
    pub revoke_reason: Option<String>,
}

impl ActiveModelBehavior for ActiveModel {}
