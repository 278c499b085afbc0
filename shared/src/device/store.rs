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
    page::PageRequest,
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

pub(super) async fn find_by_id(
    tx: &Tx,
    tenant: TenantId,
    user: UserId,
    id: DeviceId,
    now: DateTime<Utc>,
) -> Result<Option<Known>, DbErr> {
    let row = device::Entity::find_by_id(id)
        .filter(device::Column::TenantId.eq(tenant))
        .filter(device::Column::UserId.eq(user))
        .filter(device::Column::ExpiresAt.gt(now))
        .one(tx)
        .await?;
    Ok(row.map(|row| Known {
        id: row.id,
        user: row.user_id,
        trusted_until: row.trusted_until,
    }))
}

/// Deletes all but the user's `keep` devices that were seen last. What another sign-in deletes at this moment is left to
/// it: two that wait for each other's rows would deadlock. Arrays, because each is computed once: as joins the planner
/// took them for, they ran over all devices for each of them.
pub(super) async fn delete_beyond(tx: &Tx, tenant: TenantId, user: UserId, keep: i64) -> Result<(), DbErr> {
    tx.execute_raw(raw_sql!(
        Postgres,
        "DELETE FROM devices WHERE tenant_id = {tenant} AND id = ANY(ARRAY(
             SELECT id FROM devices WHERE tenant_id = {tenant} AND id = ANY(ARRAY(
                 SELECT id FROM devices WHERE tenant_id = {tenant} AND user_id = {user}
                 ORDER BY last_seen_at DESC, id DESC OFFSET {keep}))
             FOR UPDATE SKIP LOCKED))"
    ))
    .await
    .map(drop)
}

pub(super) async fn trust(
    tx: &Tx,
    tenant: TenantId,
    id: DeviceId,
    until: DateTime<Utc>,
) -> Result<(), DbErr> {
    tx.execute_raw(raw_sql!(
        Postgres,
        "UPDATE devices SET trusted_until = {until} WHERE tenant_id = {tenant} AND id = {id}"
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
/// The user's devices, newest first.
pub(super) async fn page(
    tx: &Tx,
    tenant: TenantId,
    user: UserId,
    now: DateTime<Utc>,
    page: PageRequest,
) -> Result<Vec<device::Model>, DbErr> {
    device::Entity::find()
        .filter(device::Column::TenantId.eq(tenant))
        .filter(device::Column::UserId.eq(user))
        .filter(device::Column::ExpiresAt.gt(now))
        .filter(device::Column::Id.lt(page.before_or_max()))
        .order_by_desc(device::Column::Id)
        .limit(page.fetch().unsigned_abs())
        .all(tx)
        .await
}

/// Deletes a device of the user; whether there was one.
pub(super) async fn delete(tx: &Tx, tenant: TenantId, user: UserId, id: DeviceId) -> Result<bool, DbErr> {
    let done = tx
        .execute_raw(raw_sql!(
            Postgres,
            "DELETE FROM devices WHERE tenant_id = {tenant} AND user_id = {user} AND id = {id}"
        ))
        .await?;
    Ok(done.rows_affected() == 1)
}

pub(super) async fn delete_all(tx: &Tx, tenant: TenantId, user: UserId) -> Result<(), DbErr> {
    tx.execute_raw(raw_sql!(
        Postgres,
        "DELETE FROM devices WHERE tenant_id = {tenant} AND user_id = {user}"
    ))
    .await
    .map(drop)
}
