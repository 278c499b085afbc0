//! What would outlive the history of webhooks: deliveries that wait for ever, and endpoints that were deleted.
//!
//! What is never called (its endpoint has a limit that is always used up, or no room) makes no attempt, and so never comes
//! to the end of its schedule. It would keep its day, and with that day everybody's history, from ending.

use chrono::{DateTime, Utc};
use sea_orm::{ConnectionTrait, DbErr, raw_sql};

use super::work::walk;
use crate::{context::Context, id, postgres::CrossTenant};

/// Ends up to `limit` deliveries from before that still wait and that nobody is calling; how many there were.
///
/// # Errors
/// When the database does not answer.
pub(crate) async fn end_outlived(context: &Context, before: DateTime<Utc>, limit: u32) -> Result<u64, DbErr> {
    let (now, before, limit) = (context.clock.now(), id::first_id(before), i64::from(limit));
    let tx = walk(context).await?;
    let ended = tx
        .execute_raw(raw_sql!(
            Postgres,
            "WITH outlived AS MATERIALIZED (
                 SELECT id FROM deliveries
                 WHERE state = 'pending' AND id < {before} AND (lease_until IS NULL OR lease_until < {now})
                 LIMIT {limit} FOR NO KEY UPDATE SKIP LOCKED)
             UPDATE deliveries d SET state = 'failed', generation = d.generation + 1, lease_until = NULL,
                 next_attempt_at = NULL, finished_at = {now}
             WHERE d.id = ANY(ARRAY(SELECT id FROM outlived)) AND d.id < {before}"
        ))
        .await?
        .rows_affected();
    tx.commit().await?;
    Ok(ended)
}

/// Removes up to `limit` endpoints that were deleted before then and that no delivery is left of; how many there were.
///
/// # Errors
/// When the database does not answer.
pub(crate) async fn remove_deleted(
    context: &Context,
    before: DateTime<Utc>,
    limit: u32,
) -> Result<u64, DbErr> {
    let limit = i64::from(limit);
    let tx = context.postgres.cross_tenant(CrossTenant::Sweep).await?;
    let removed = tx
        .execute_raw(raw_sql!(
            Postgres,
            "DELETE FROM webhook_endpoints WHERE id IN (
                 SELECT id FROM webhook_endpoints p
                 WHERE deleted_at < {before} AND NOT EXISTS (
                     SELECT FROM deliveries d WHERE d.tenant_id = p.tenant_id AND d.endpoint_id = p.id)
                 LIMIT {limit})"
        ))
        .await?
        .rows_affected();
    tx.commit().await?;
    Ok(removed)
}
