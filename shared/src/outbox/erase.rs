//! Events of accounts that are gone: what they said is erased, that they were is not.

use sea_orm::{ConnectionTrait, DbErr, raw_sql};

use crate::{id::TenantId, postgres::Tx};

/// Erases the data of up to `limit` events that are marked for it, in one tenant or in all, and what receivers
/// answered to them; how many there were.
///
/// An event of which a delivery is still under way keeps its bytes until that has ended, because every attempt sends
/// the same. It is found again by the worker.
///
/// # Errors
/// When the database does not answer.
pub(crate) async fn erase_marked(tx: &Tx, tenant: Option<TenantId>, limit: i64) -> Result<u64, DbErr> {
    // `state || ''`: see `webhook::work`.
    let erased = tx
        .execute_raw(raw_sql!(
            Postgres,
            "WITH due AS (
                 SELECT e.tenant_id, e.id FROM events e
                 WHERE e.erase AND ({tenant}::uuid IS NULL OR e.tenant_id = {tenant})
                   AND NOT EXISTS (
                       SELECT FROM deliveries d
                       WHERE d.tenant_id = e.tenant_id AND d.event_id = e.id AND d.state || '' = 'pending')
                 ORDER BY e.id LIMIT {limit} FOR NO KEY UPDATE SKIP LOCKED),
             answers AS (
                 UPDATE attempts a SET response_headers = jsonb_build_object(), response_body = NULL
                 FROM due JOIN deliveries d ON d.tenant_id = due.tenant_id AND d.event_id = due.id
                 WHERE a.tenant_id = d.tenant_id AND a.delivery_id = d.id)
             UPDATE events e SET erase = false, user_id = NULL, body = json_build_object(
                 'type', e.type, 'timestamp', e.body::json -> 'timestamp', 'tenant_id', e.tenant_id,
                 'data', json_build_object('erased', true))::text
             FROM due WHERE e.tenant_id = due.tenant_id AND e.id = due.id"
        ))
        .await?;
    Ok(erased.rows_affected())
}
