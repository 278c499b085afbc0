//! Bringing back what an endpoint has lost: the deliveries of a span that failed or were cancelled are sent anew.
//!
//! The first chunk is brought back with the request. Where there are more, a row says how far that has come, and the
//! worker's sweep goes on from there. What was brought back is pending and is not found again, so that asking twice
//! sends nothing twice. What has been erased since has nothing to be sent.

use chrono::{DateTime, TimeDelta, Utc};
use sea_orm::{ConnectionTrait, DbErr, FromQueryResult, raw_sql};
use serde_json::json;
use uuid::Uuid;

use super::{error::WebhookError, redeliver::is_on, service, store};
use crate::{
    context::Context,
    id::{EndpointId, TenantId, first_id},
    permission::{Authorized, WebhooksWrite},
    postgres::{CrossTenant, Tx},
    principal::Origin,
};

/// The most deliveries in one statement.
const CHUNK: u32 = 1_000;
/// More are brought back and not counted: whoever asks waits for it.
const COUNTED: i64 = 100_000;
/// As finely as ids tell instants apart.
const INSTANT: TimeDelta = TimeDelta::milliseconds(1);

/// Which deliveries are meant.
#[derive(Clone, Copy)]
struct Span {
    tenant: TenantId,
    endpoint: EndpointId,
    since: DateTime<Utc>,
    until: DateTime<Utc>,
}

/// Sends anew what the endpoint has lost of what was made at `since` or later and before `until`; how many deliveries
/// that are, up to 100,000. They are sent as there is room.
///
/// # Errors
/// [`WebhookError::NotFound`]; [`WebhookError::EndpointOff`]; [`WebhookError::InvalidSpan`].
pub async fn recover(
    context: &Context,
    caller: &Authorized<WebhooksWrite>,
    origin: &Origin,
    id: EndpointId,
    since: DateTime<Utc>,
    until: Option<DateTime<Utc>>,
) -> Result<u64, WebhookError> {
    let tenant = caller.principal().tenant;
    let change = context.change(tenant, caller.actor(), origin).await?;
    let now = change.now;
    // What is made after the request is not its business.
    let until = until.map_or(now, |until| until.min(now));
    if since > until {
        return Err(WebhookError::InvalidSpan);
    }
    store::endpoint(tenant, &change.tx, id)
        .await?
        .ok_or(WebhookError::NotFound)?;
    if !is_on(tenant, &change.tx, id).await? {
        return Err(WebhookError::EndpointOff);
    }
    let span = Span {
        tenant,
        endpoint: id,
        since,
        until,
    };
    let count = count_lost(&change.tx, span).await?;
    let brought = bring_back(&change.tx, span, Uuid::nil(), now).await?;
    if brought.len() == CHUNK as usize {
        let (recovery, cursor) = (context.uuid(now), last(&brought));
        change
            .tx
            .execute_raw(raw_sql!(
                Postgres,
                "INSERT INTO webhook_recoveries (id, tenant_id, endpoint_id, since, until, cursor, created_at)
                 VALUES ({recovery}, {tenant}, {id}, {since}, {until}, {cursor}, {now})"
            ))
            .await?;
    }
    let detail = json!({ "since": since, "until": until, "count": count });
    service::record(&change, "webhook_endpoint.recover", id, detail).await?;
    change.commit().await?;
    Ok(count)
}

#[derive(FromQueryResult)]
struct Recovery {
    id: Uuid,
    tenant_id: TenantId,
    endpoint_id: EndpointId,
    since: DateTime<Utc>,
    until: DateTime<Utc>,
    cursor: Uuid,
}

/// Takes each recovery that is not done a chunk further, so that a long one holds up no other: the worker's verb. Whether
/// there was one.
///
/// # Errors
/// When the database does not answer; then the last of them has not moved.
pub async fn go_on(context: &Context) -> Result<bool, DbErr> {
    let mut reached = Uuid::nil();
    while let Some(id) = go_on_after(context, reached).await? {
        reached = id;
    }
    Ok(!reached.is_nil())
}

/// Takes the next one after that id further; which it was.
async fn go_on_after(context: &Context, after: Uuid) -> Result<Option<Uuid>, DbErr> {
    let now = context.clock.now();
    let tx = context.postgres.cross_tenant(CrossTenant::Sweep).await?;
    let next = Recovery::find_by_statement(raw_sql!(
        Postgres,
        "SELECT id, tenant_id, endpoint_id, since, until, cursor FROM webhook_recoveries
         WHERE id > {after} ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED"
    ))
    .one(&tx)
    .await?;
    let Some(Recovery {
        id,
        tenant_id,
        endpoint_id,
        since,
        until,
        cursor,
    }) = next
    else {
        return Ok(None);
    };
    let span = Span {
        tenant: tenant_id,
        endpoint: endpoint_id,
        since,
        until,
    };
    // Turned off meanwhile, it wants nothing back.
    let brought = if is_on(tenant_id, &tx, endpoint_id).await? {
        bring_back(&tx, span, cursor, now).await?
    } else {
        Vec::new()
    };
    let further = if brought.len() == CHUNK as usize {
        let cursor = last(&brought);
        raw_sql!(
            Postgres,
            "UPDATE webhook_recoveries SET cursor = {cursor} WHERE id = {id}"
        )
    } else {
        raw_sql!(Postgres, "DELETE FROM webhook_recoveries WHERE id = {id}")
    };
    tx.execute_raw(further).await?;
    tx.commit().await?;
    Ok(Some(id))
}

#[derive(FromQueryResult)]
struct Count {
    count: i64,
}

async fn count_lost(tx: &Tx, span: Span) -> Result<u64, DbErr> {
    let Span {
        tenant,
        endpoint,
        since,
        until,
    } = span;
    let (first, beyond) = (first_id(since), first_id(until + INSTANT));
    // A delivery's id bears its event's instant.
    let (since_event, until_event) = (first, beyond);
    let counted = Count::find_by_statement(raw_sql!(
        Postgres,
        "SELECT count(*) FROM (
             SELECT FROM deliveries d JOIN events e ON e.id = d.event_id AND e.tenant_id = d.tenant_id
             WHERE d.tenant_id = {tenant} AND d.endpoint_id = {endpoint} AND d.state IN ('failed', 'cancelled')
               AND d.id >= {first} AND d.id < {beyond} AND d.created_at >= {since} AND d.created_at < {until}
               AND e.id >= {since_event} AND e.id < {until_event} AND NOT e.erased
             LIMIT {COUNTED}) AS lost"
    ))
    .one(tx)
    .await?;
    Ok(counted.map_or(0, |counted| counted.count.unsigned_abs()))
}

#[derive(FromQueryResult)]
struct Brought {
    id: Uuid,
}

fn last(brought: &[Brought]) -> Uuid {
    brought.iter().map(|row| row.id).max().unwrap_or_default()
}

/// The sweep finds them at once, and queues as many as there is room for.
async fn bring_back(tx: &Tx, span: Span, after: Uuid, now: DateTime<Utc>) -> Result<Vec<Brought>, DbErr> {
    let Span {
        tenant,
        endpoint,
        since,
        until,
    } = span;
    let (since_event, until_event) = (first_id(since), first_id(until + INSTANT));
    let (first, beyond) = (since_event.max(after), until_event);
    let limit = i64::from(CHUNK);
    Brought::find_by_statement(raw_sql!(
        Postgres,
        "WITH lost AS (
             SELECT d.id FROM deliveries d JOIN events e ON e.id = d.event_id AND e.tenant_id = d.tenant_id
             WHERE d.tenant_id = {tenant} AND d.endpoint_id = {endpoint} AND d.state IN ('failed', 'cancelled')
               AND d.id >= {first} AND d.id < {beyond} AND d.created_at >= {since} AND d.created_at < {until}
               AND e.id >= {since_event} AND e.id < {until_event} AND NOT e.erased
             ORDER BY d.id LIMIT {limit} FOR NO KEY UPDATE OF d FOR SHARE OF e)
         UPDATE deliveries d SET
             state = 'pending', next_attempt_at = {now}, sweep_at = {now}, lease_until = NULL, finished_at = NULL,
             generation = d.generation + 1, earlier_attempts = d.attempts
         FROM lost WHERE d.id = lost.id AND d.tenant_id = {tenant}
         RETURNING d.id"
    ))
    .all(tx)
    .await
}
