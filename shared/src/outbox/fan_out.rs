//! Events that go to very many endpoints: their deliveries are written by the worker, a chunk at a time.
//!
//! Whom an event goes to is settled with the event: the endpoints that were enabled then and asked for its type. Whoever
//! is turned off or deleted before its turn comes gets nothing; who is made or turned on later does not either.
//!
//! Workers need no leader. Each draws a tenant, so that a burst of one keeps no other waiting, takes of its events
//! those that have waited longest for a turn and that nobody else holds, and writes a chunk's deliveries together
//! with how far it has come: cut off at any point, the chunk is there whole or not at all, and no endpoint gets an
//! event twice.

use chrono::{DateTime, Utc};
use sea_orm::{ConnectionTrait, DbErr, FromQueryResult, raw_sql};
use uuid::Uuid;

use crate::{context::Context, id::TenantId, postgres::CrossTenant, queue::Lane};

/// The most deliveries in one transaction.
pub const CHUNK: i32 = 500;

/// What is next to be spread.
#[derive(FromQueryResult)]
struct Turn {
    id: Uuid,
    tenant_id: TenantId,
    event_type: String,
    events: i32,
    endpoints: i32,
    spread: i32,
    created_at: DateTime<Utc>,
}

#[derive(FromQueryResult)]
struct Written {
    id: Uuid,
}

/// Writes the next chunk of deliveries and queues them; how many those were, or `None` where nothing waits to be spread
/// that no other worker holds.
///
/// # Errors
/// When the database does not answer; then nothing is written.
pub async fn step(context: &Context) -> Result<Option<usize>, DbErr> {
    let now = context.clock.now();
    let tx = context.postgres.cross_tenant(CrossTenant::FanOut).await?;
    // The lists, which never change, of the one that is next: they may be long, and those of all that wait are longer.
    let turn = Turn::find_by_statement(raw_sql!(
        Postgres,
        "WITH drawn AS MATERIALIZED (SELECT tenant_id FROM fanouts GROUP BY tenant_id ORDER BY random() LIMIT 1),
         next AS MATERIALIZED (
             SELECT id, tenant_id, event_type, spread, created_at
             FROM fanouts ORDER BY tenant_id = (SELECT tenant_id FROM drawn) DESC, touched_at
             LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED)
         SELECT n.*, cardinality(f.event_ids) AS events, cardinality(f.endpoint_ids) AS endpoints
         FROM next n JOIN fanouts f ON f.id = n.id"
    ))
    .one(&tx)
    .await?;
    let Some(turn) = turn else {
        return Ok(None);
    };
    let Turn {
        id,
        tenant_id: tenant,
        event_type: name,
        events,
        endpoints,
        spread,
        created_at,
    } = turn;
    let to = endpoints.min(spread + (CHUNK / events.max(1)).max(1));
    // Endpoints by their ids, and none of the tenant's others: joined to the list, a database that does not know yet how many
    // there are looks at all of them for each of the chunk.
    //
    // The job is about to be queued; until then the sweep has nothing to do with it.
    let sweep_at = now + context.config.worker.queue_grace;
    let deliveries = Written::find_by_statement(raw_sql!(
        Postgres,
        "INSERT INTO deliveries (id, tenant_id, event_id, endpoint_id, event_type, state,
                                 next_attempt_at, sweep_at, created_at)
         SELECT latchkey_uuid_beside(e.id), {tenant}, e.id, p.id, {name}, 'pending', {created_at}, {sweep_at}, {created_at}
         FROM fanouts f CROSS JOIN unnest(f.event_ids) AS e (id) CROSS JOIN webhook_endpoints p
         WHERE f.id = {id} AND p.tenant_id = {tenant} AND p.enabled AND p.deleted_at IS NULL
           AND p.id = ANY(ARRAY(
               SELECT n.id FROM fanouts l CROSS JOIN unnest(l.endpoint_ids) WITH ORDINALITY AS n (id, place)
               WHERE l.id = {id} AND n.place > {spread} AND n.place <= {to}))
         RETURNING id"
    ))
    .all(&tx)
    .await?;
    let advance = if to < endpoints {
        raw_sql!(
            Postgres,
            "UPDATE fanouts SET spread = {to}, touched_at = {now} WHERE id = {id}"
        )
    } else {
        raw_sql!(Postgres, "DELETE FROM fanouts WHERE id = {id}")
    };
    tx.execute_raw(advance).await?;
    tx.commit().await?;
    let jobs = deliveries.len();
    context
        .queue
        .push(Lane::Fresh, deliveries.into_iter().map(|delivery| delivery.id));
    Ok(Some(jobs))
}
