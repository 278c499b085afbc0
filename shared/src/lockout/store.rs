//! The SQL of lockout.

use chrono::{DateTime, Utc};
use sea_orm::{ConnectionTrait, DbErr, raw_sql};

use crate::{id::TenantId, postgres::Tx};

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

pub(super) async fn clear(tx: &Tx, tenant: TenantId, credential: &[u8]) -> Result<(), DbErr> {
    let credential = credential.to_vec();
    tx.execute_raw(raw_sql!(
        Postgres,
        "DELETE FROM lockouts WHERE tenant_id = {tenant} AND credential = {credential}"
    ))
    .await
    .map(drop)
}
