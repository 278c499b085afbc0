//! What users do with their own devices.

use chrono::{DateTime, Utc};
use serde_json::json;

use super::store;
use crate::{
    audit::{self, Record},
    context::Context,
    entity::device,
    error::{Internal, internal_variant},
    id::DeviceId,
    page::{Page, PageRequest},
    principal::{Actor, Origin, UserSession},
};

/// A device, as its user sees it.
#[derive(Clone, Debug)]
pub struct Device {
    /// Its id.
    pub id: DeviceId,
    /// What its user calls it.
    pub label: Option<String>,
    /// When it signed in first.
    pub created_at: DateTime<Utc>,
    /// When it signed in last.
    pub last_seen_at: DateTime<Utc>,
    /// Until then it is not asked for the second factor.
    pub trusted_until: Option<DateTime<Utc>>,
}

impl From<device::Model> for Device {
    fn from(row: device::Model) -> Self {
        let device::Model {
            id,
            tenant_id: _,
            user_id: _,
            hash: _,
            label,
            created_at,
            last_seen_at,
            expires_at: _,
            trusted_until,
        } = row;
        Self {
            id,
            label,
            created_at,
            last_seen_at,
            trusted_until,
        }
    }
}

/// Why a device was not forgotten.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// The caller has no such device.
    #[error("there is no such device")]
    NotFound,
    /// A failure inside.
    #[error(transparent)]
    Internal(Internal),
}

internal_variant!(DeviceError: Internal sea_orm::DbErr);

/// The caller's devices, newest first.
///
/// # Errors
/// Only failures inside.
pub async fn list(
    context: &Context,
    caller: &UserSession,
    page: PageRequest,
) -> Result<Page<Device>, Internal> {
    let now = context.clock.now();
    let tx = context.postgres.tenant(caller.tenant).await?;
    let rows = store::page(&tx, caller.tenant, caller.user, now, page).await?;
    Ok(Page::cut(rows, page, |row| row.id.0).map(Device::from))
}

/// Forgets a device of the caller's: its token is of no more use, and it is not trusted any more.
///
/// # Errors
/// [`DeviceError::NotFound`].
pub async fn forget(
    context: &Context,
    caller: &UserSession,
    origin: &Origin,
    id: DeviceId,
) -> Result<(), DeviceError> {
    let change = context.change(caller.tenant, Actor::from(caller), origin).await?;
    if !store::delete(&change.tx, caller.tenant, caller.user, id).await? {
        return Err(DeviceError::NotFound);
    }
    audit::record(
        &change,
        Record::success("device.forget", "device", id.0, json!({})),
    )
    .await?;
    change.commit().await?;
    Ok(())
}
