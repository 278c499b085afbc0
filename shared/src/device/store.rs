//! The SQL of devices.

use chrono::{DateTime, Utc};
use sea_orm::{
    ActiveModelTrait, ActiveValue::Set, ColumnTrait, ConnectionTrait, DbErr, EntityTrait, FromQueryResult,
    QueryFilter, QueryOrder, QuerySelect, raw_sql,
};

use super::Known;
use crate::{
    context::Change,
    entity::device,
    id::{DeviceId, TenantId, UserId},
    postgres::Tx,
};

pub(super) async fn find(
    tx: &Tx,
    tenant: TenantId,
    hash: &[u8],
    now: DateTime<Utc>,
) -> Result<Option<Known>, DbErr> {
    #[derive(FromQueryResult)]
    struct Row {
        id: DeviceId,
        user_id: UserId,
        trusted_until: Option<DateTime<Utc>>,
    }
    let hash = hash.to_vec();
    let row = Row::find_by_statement(raw_sql!(
        Postgres,
        "SELECT id, user_id, trusted_until FROM devices
         WHERE tenant_id = {tenant} AND hash = {hash} AND expires_at > {now}"
    ))
    .one(tx)
    .await?;
    Ok(row.map(|row| Known {
        id: row.id,
        user: row.user_id,
        trusted_until: row.trusted_until,
    }))
}

pub(super) async fn insert(
    change: &Change<'_>,
    id: DeviceId,
    user: UserId,
    hash: &[u8],
    label: Option<&str>,
    expires_at: DateTime<Utc>,
) -> Result<(), DbErr> {
    let row = device::ActiveModel {
        id: Set(id),
        tenant_id: Set(change.tenant),
        user_id: Set(user),
        hash: Set(hash.to_vec()),
        label: Set(label.map(str::to_owned)),
        created_at: Set(change.now),
        last_seen_at: Set(change.now),
        expires_at: Set(expires_at),
        trusted_until: Set(None),
    };
    row.insert(&change.tx).await.map(drop)
}

pub(super) async fn touch(
    tx: &Tx,
    tenant: TenantId,
    id: DeviceId,
    now: DateTime<Utc>,
    expires_at: DateTime<Utc>,
) -> Result<(), DbErr> {
    tx.execute_raw(raw_sql!(
        Postgres,
        "UPDATE devices SET last_seen_at = {now}, expires_at = {expires_at}
         WHERE tenant_id = {tenant} AND id = {id}"
    ))
    .await
    .map(drop)
}

pub(super) async fn distrust(tx: &Tx, tenant: TenantId, user: UserId) -> Result<(), DbErr> {
    tx.execute_raw(raw_sql!(
        Postgres,
        "UPDATE devices SET trusted_until = NULL
         WHERE tenant_id = {tenant} AND user_id = {user} AND trusted_until IS NOT NULL"
    ))
    .await
    .map(drop)
}

pub(super) async fn of_user(tx: &Tx, tenant: TenantId, user: UserId) -> Result<Vec<DeviceId>, DbErr> {
    device::Entity::find()
        .select_only()
        .column(device::Column::Id)
        .filter(device::Column::TenantId.eq(tenant))
        .filter(device::Column::UserId.eq(user))
        .order_by_asc(device::Column::Id)
        .into_tuple()
        .all(tx)
        .await
}
