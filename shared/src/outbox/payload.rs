//! Payloads of tenants that want them erased before their day ends.
//!
//! What is old enough is marked, tenant by tenant and in the order of ids, and erased as the events of accounts that are
//! gone are: as soon as nothing of them is under way.

use chrono::{DateTime, TimeDelta, Utc};
use sea_orm::{ConnectionTrait, DbErr, FromQueryResult, raw_sql};
use uuid::Uuid;

use crate::{
    id::{TenantId, first_id},
    postgres::Tx,
};

#[derive(FromQueryResult)]
struct Wish {
    tenant_id: TenantId,
    days: i64,
    marked_to: Option<Uuid>,
}

#[derive(FromQueryResult)]
struct Marked {
    id: Uuid,
}

/// Marks up to `limit` events of each tenant whose payloads it wants to be gone by now; how many there were at most.
///
/// # Errors
/// When the database does not answer.
pub(crate) async fn mark_old(tx: &Tx, now: DateTime<Utc>, limit: i64) -> Result<u64, DbErr> {
    let wishes = Wish::find_by_statement(raw_sql!(
        Postgres,
        "SELECT t.id AS tenant_id, (t.settings #>> ARRAY['webhooks', 'payload_retention_days'])::bigint AS days, m.marked_to
         FROM tenants t LEFT JOIN payload_marks m ON m.tenant_id = t.id
         WHERE t.settings #>> ARRAY['webhooks', 'payload_retention_days'] IS NOT NULL"
    ))
    .all(tx)
    .await?;
    let mut most = 0;
    for wish in wishes {
        most = most.max(mark(tx, &wish, now, limit).await?);
    }
    Ok(most)
}

async fn mark(tx: &Tx, wish: &Wish, now: DateTime<Utc>, limit: i64) -> Result<u64, DbErr> {
    let Wish {
        tenant_id: tenant,
        days,
        marked_to,
    } = *wish;
    let (after, until) = (
        marked_to.unwrap_or_default(),
        first_id(now - TimeDelta::days(days)),
    );
    let marked = Marked::find_by_statement(raw_sql!(
        Postgres,
        "WITH old AS MATERIALIZED (
             SELECT id FROM events WHERE tenant_id = {tenant} AND id > {after} AND id < {until} ORDER BY id LIMIT {limit})
         UPDATE events SET erase = true
         WHERE tenant_id = {tenant} AND id = ANY(ARRAY(SELECT id FROM old))
           AND id >= (SELECT id FROM old ORDER BY id LIMIT 1) AND id <= (SELECT id FROM old ORDER BY id DESC LIMIT 1)
         RETURNING id"
    ))
    .all(tx)
    .await?;
    let all = i64::try_from(marked.len()).is_ok_and(|marked| marked < limit);
    let last = marked.iter().map(|event| event.id).max();
    let reached = if all {
        until.max(after)
    } else {
        last.unwrap_or(after)
    };
    tx.execute_raw(raw_sql!(
        Postgres,
        "INSERT INTO payload_marks (tenant_id, marked_to) VALUES ({tenant}, {reached})
         ON CONFLICT (tenant_id) DO UPDATE SET marked_to = EXCLUDED.marked_to"
    ))
    .await?;
    Ok(marked.len() as u64)
}
