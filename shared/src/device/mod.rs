//! Devices that a user has signed in with.
//!
//! Each sign-in hands out a token that names the device. A client that shows it at its next sign-in is known: a
//! stranger's failures do not lock it out. Where the tenant allows it, a known device may be trusted for a
//! while, and is then not asked for the second factor.
//!
//! What must never happen: a device token that lets anyone in by itself, or one that counts for another user.

mod service;
mod store;

use chrono::{DateTime, Utc};
use sea_orm::DbErr;
use serde_json::json;

pub use self::service::{Device, DeviceError, forget, list};
use crate::{
    audit::{self, Record},
    clock::Timestamp,
    context::Change,
    crypto::token::{Kind, Token},
    error::Internal,
    id::{DeviceId, TenantId, UserId},
    postgres::Tx,
    secret::Secret,
};

/// Beyond so many, those that were not seen for longest are forgotten: each sign-in without a token makes another.
const MAX_PER_USER: i64 = 100;

/// A device that has signed in before.
#[derive(Clone, Debug)]
pub struct Known {
    /// Which.
    pub id: DeviceId,
    /// Whose: it is known to this user alone.
    pub user: UserId,
    /// Until then it is not asked for the second factor.
    pub trusted_until: Option<DateTime<Utc>>,
}

/// The device whose token that is; nothing for a token that is foreign, forged or forgotten.
pub(crate) async fn recognise(
    tx: &Tx,
    tenant: TenantId,
    token: Option<&str>,
    now: DateTime<Utc>,
) -> Result<Option<Known>, DbErr> {
    let token = token
        .and_then(|text| Token::parse(Kind::Device, text))
        .filter(|token| token.tenant() == tenant);
    match token {
        Some(token) => store::find(tx, tenant, &token.hash(), now).await,
        None => Ok(None),
    }
}

/// The user's device of that id, if it is still known.
pub(crate) async fn find(
    tx: &Tx,
    tenant: TenantId,
    user: UserId,
    id: DeviceId,
    now: DateTime<Utc>,
) -> Result<Option<Known>, DbErr> {
    store::find_by_id(tx, tenant, user, id, now).await
}

/// Notes that the user signed in with a device that is not known yet, and gives its token.
pub(crate) async fn remember(
    change: &Change<'_>,
    user: UserId,
    label: Option<&str>,
) -> Result<(DeviceId, Secret<String>), Internal> {
    let id = DeviceId::new(change.now, &*change.context.random);
    let token = Token::new(Kind::Device, change.tenant, &*change.context.random);
    let expires_at = change.now + change.context.config.tokens.device_ttl;
    store::insert(change, id, user, &token.hash(), label, expires_at).await?;
    store::delete_beyond(&change.tx, change.tenant, user, MAX_PER_USER).await?;
    Ok((id, token.into_text()))
}

/// Does not ask the device for the second factor until then.
pub(crate) async fn trust(
    change: &Change<'_>,
    device: DeviceId,
    user: UserId,
    until: DateTime<Utc>,
) -> Result<(), DbErr> {
    store::trust(&change.tx, change.tenant, device, until).await?;
    let detail = json!({ "user_id": user, "trusted_until": Timestamp(until) });
    audit::record(
        change,
        Record::success("device.trust", "device", device.0, detail),
    )
    .await
}

/// Asks for the second factor again on every device of the user.
pub(crate) async fn distrust(tx: &Tx, tenant: TenantId, user: UserId) -> Result<(), DbErr> {
    store::distrust(tx, tenant, user).await
}

/// Forgets every device of the user.
pub(crate) async fn forget_all(tx: &Tx, tenant: TenantId, user: UserId) -> Result<(), DbErr> {
    store::delete_all(tx, tenant, user).await
}

/// Every device of the user, remembered or expired.
pub(crate) async fn of_user(tx: &Tx, tenant: TenantId, user: UserId) -> Result<Vec<DeviceId>, DbErr> {
    store::of_user(tx, tenant, user).await
}
