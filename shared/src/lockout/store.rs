//! The SQL of lockout.

use chrono::{DateTime, Utc};
use sea_orm::{ConnectionTrait, DbErr, FromQueryResult, raw_sql};

use crate::{
    id::{DeviceId, TenantId, UserId},
    postgres::Tx,
};

pub(super) async fn is_locked(
    tx: &Tx,
    tenant: TenantId,
    credential: &[u8],
    now: DateTime<Utc>,
) -> Result<bool, DbErr> {
    let credential = credential.to_vec();
    let row = tx
        .query_one_raw(raw_sql!(
            Postgres,
            "SELECT 1 AS locked FROM lockouts
             WHERE tenant_id = {tenant} AND credential = {credential} AND locked_until > {now}"
        ))
        .await?;
    Ok(row.is_some())
}

/// Where a count stands.
#[derive(FromQueryResult)]
pub(super) struct Count {
    pub(super) failures: i32,
    pub(super) expires_at: DateTime<Utc>,
    pub(super) locked_until: Option<DateTime<Utc>>,
    pub(super) told_at: Option<DateTime<Utc>>,
}

/// Adds to the count, or begins a new one if there is none or its time is over. The row stays locked until the
/// transaction ends, so that failures at once are counted one after the other.
pub(super) async fn count(
    tx: &Tx,
    tenant: TenantId,
    credential: &[u8],
    failures: i32,
    now: DateTime<Utc>,
    expires_at: DateTime<Utc>,
) -> Result<Count, DbErr> {
    let credential = credential.to_vec();
    let counted = Count::find_by_statement(raw_sql!(
        Postgres,
        "INSERT INTO lockouts AS known (tenant_id, credential, failures, first_at, last_at, expires_at)
         VALUES ({tenant}, {credential}, {failures}, {now}, {now}, {expires_at})
         ON CONFLICT (tenant_id, credential) DO UPDATE SET
             failures = excluded.failures + CASE WHEN known.expires_at > {now} THEN known.failures ELSE 0 END,
             first_at = CASE WHEN known.expires_at > {now} THEN known.first_at ELSE excluded.first_at END,
             expires_at = CASE WHEN known.expires_at > {now} THEN known.expires_at ELSE excluded.expires_at END,
             last_at = excluded.last_at
         RETURNING failures, expires_at, locked_until, told_at"
    ))
    .one(tx)
    .await?;
    counted.ok_or_else(|| DbErr::RecordNotFound("the count that was just written".to_owned()))
}

pub(super) async fn lock(
    tx: &Tx,
    tenant: TenantId,
    credential: &[u8],
    until: Option<DateTime<Utc>>,
    told_at: Option<DateTime<Utc>>,
) -> Result<(), DbErr> {
    let credential = credential.to_vec();
    tx.execute_raw(raw_sql!(
        Postgres,
        "UPDATE lockouts SET locked_until = {until}, told_at = {told_at}
         WHERE tenant_id = {tenant} AND credential = {credential}"
    ))
    .await
    .map(drop)
}

pub(super) async fn clear(tx: &Tx, tenant: TenantId, credentials: Vec<Vec<u8>>) -> Result<(), DbErr> {
    tx.execute_raw(raw_sql!(
        Postgres,
        "DELETE FROM lockouts WHERE tenant_id = {tenant} AND credential = ANY({credentials})"
    ))
    .await
    .map(drop)
}

pub(super) async fn devices(tx: &Tx, tenant: TenantId, user: UserId) -> Result<Vec<DeviceId>, DbErr> {
    #[derive(FromQueryResult)]
    struct Row {
        id: DeviceId,
    }
    let rows = Row::find_by_statement(raw_sql!(
        Postgres,
        "SELECT id FROM devices WHERE tenant_id = {tenant} AND user_id = {user}"
    ))
    .all(tx)
    .await?;
    Ok(rows.into_iter().map(|row| row.id).collect())
}
