//! Events of accounts that are gone: what they said is erased, that they were is not.

use std::collections::HashSet;

use sea_orm::{ConnectionTrait, DbErr, FromQueryResult, raw_sql};
use uuid::Uuid;

use crate::{
    id::{self, TenantId, UserId},
    postgres::Tx,
};

#[derive(FromQueryResult)]
struct Marked {
    id: Uuid,
    tenant_id: Uuid,
}

#[derive(FromQueryResult)]
struct Waiting {
    event_id: Uuid,
}

/// Erases the data of events that are marked for it, and what receivers answered to them: of the first `limit` behind
/// `after`, about one user or about anybody. The last one that was looked at, if there may be more behind it.
///
/// An event of which a delivery is still under way keeps its bytes until that has ended, because every attempt sends
/// the same. It is found again by the worker. Once erased it is not sent anew.
///
/// # Errors
/// When the database does not answer.
pub(crate) async fn erase_marked(
    tx: &Tx,
    about: Option<(TenantId, UserId)>,
    after: Uuid,
    limit: i64,
) -> Result<Option<Uuid>, DbErr> {
    // Two statements, so that each has an index to itself whatever the plan is made for.
    let next = if let Some((tenant, user)) = about {
        raw_sql!(
            Postgres,
            "SELECT id, tenant_id FROM events
             WHERE erase AND tenant_id = {tenant} AND user_id = {user} AND id > {after}
             ORDER BY id LIMIT {limit} FOR NO KEY UPDATE SKIP LOCKED"
        )
    } else {
        raw_sql!(
            Postgres,
            "SELECT id, tenant_id FROM events WHERE erase AND id > {after}
             ORDER BY id LIMIT {limit} FOR NO KEY UPDATE SKIP LOCKED"
        )
    };
    let marked = Marked::find_by_statement(next).all(tx).await?;
    if marked.is_empty() {
        return Ok(None);
    }
    erase(tx, &marked).await?;
    let is_full = i64::try_from(marked.len()).is_ok_and(|found| found >= limit);
    Ok(marked.last().map(|last| last.id).filter(|_| is_full))
}

/// Erases those of the events that nothing is under way of.
async fn erase(tx: &Tx, marked: &[Marked]) -> Result<(), DbErr> {
    let ids: Vec<Uuid> = marked.iter().map(|event| event.id).collect();
    let (of_deliveries, of_fan_outs, (first, last)) = (ids.clone(), ids.clone(), id::span(&ids));
    // `state || ''` and the span: see `webhook::work`.
    let waiting: HashSet<Uuid> = Waiting::find_by_statement(raw_sql!(
        Postgres,
        "SELECT event_id FROM deliveries
         WHERE event_id = ANY({of_deliveries}) AND id BETWEEN {first} AND {last} AND state || '' = 'pending'
         UNION ALL
         SELECT e.id FROM fanouts f CROSS JOIN unnest(f.event_ids) AS e (id)
         WHERE f.id BETWEEN {first} AND {last} AND e.id = ANY({of_fan_outs})"
    ))
    .all(tx)
    .await?
    .into_iter()
    .map(|waiting| waiting.event_id)
    .collect();
    let over = || marked.iter().filter(|event| !waiting.contains(&event.id));
    let ids: Vec<Uuid> = over().map(|event| event.id).collect();
    let tenants: HashSet<Uuid> = over().map(|event| event.tenant_id).collect();
    let tenants: Vec<Uuid> = tenants.into_iter().collect();
    let events = ids.clone();
    tx.execute_raw(raw_sql!(
        Postgres,
        "UPDATE attempts SET response_headers = jsonb_build_object(), response_body = NULL
         WHERE tenant_id = ANY({tenants}) AND delivery_id BETWEEN {first} AND {last}
           AND delivery_id = ANY(ARRAY(
               SELECT id FROM deliveries WHERE event_id = ANY({events}) AND id BETWEEN {first} AND {last}))"
    ))
    .await?;
    tx.execute_raw(raw_sql!(
        Postgres,
        "UPDATE events e SET erase = false, erased = true, user_id = NULL, body = json_build_object(
                 'type', e.type, 'timestamp', e.body::json -> 'timestamp', 'tenant_id', e.tenant_id,
                 'data', json_build_object('erased', true))::text
             WHERE e.id = ANY({ids}) AND e.id BETWEEN {first} AND {last}"
    ))
    .await
    .map(drop)
}
