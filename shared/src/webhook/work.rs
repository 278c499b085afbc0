//! The worker's side of deliveries: claimed, called, recorded; and found again when any of that was cut off.
//!
//! A claim is a lease: until it ends no other worker calls, and whoever takes the delivery over afterwards raises its
//! generation, so that the late outcome of the first changes nothing. All of this spans tenants; nothing here is
//! ever asked for by a request.
//!
//! A statement that has ids compares `state || ''`: were it the bare column, the planner might take the index of what is
//! due, and walk through the whole backlog for the sake of a few rows.
//!
//! Such a statement also names the span of the ids, so that it opens the partitions of their days alone, and of events
//! those of the same: a delivery's id bears its event's instant. It takes rows by `= ANY` even where it joins by their
//! ids: the planner might read all that lies between the first and the last.
//!
//! Rows are locked in the order of their ids, here and in `store`, so that two batches never wait for each other in a circle.

use std::{collections::HashMap, sync::Arc, time::Duration};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use sea_orm::{ConnectionTrait, DbErr, FromQueryResult, raw_sql};
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use super::{header::Headers, model::rate, signature::SigningSecret};
use crate::{
    config::{KeyRing, Rate},
    context::Context,
    crypto::seal::{self, SealBroken},
    entity::ErrorClass,
    error::Internal,
    id::{self, DeliveryId, EndpointId, EventId, TenantId},
    postgres::{CrossTenant, Tx},
    trace::TraceContext,
};

/// The word in `attempts.outcome` for a call that the endpoint took.
pub const SUCCEEDED: &str = "succeeded";
pub(super) const FAILED: &str = "failed";

/// Machines' clocks differ. A retry that is found due on one may be claimed on another that is behind by as much.
const CLOCK_SKEW: Duration = Duration::from_secs(1);

/// A delivery that this worker, and no other, may call.
#[derive(Clone, FromQueryResult)]
pub struct Claimed {
    /// The delivery.
    pub id: DeliveryId,
    /// Whose it is.
    pub tenant_id: TenantId,
    /// The claim's number.
    pub generation: i32,
    /// How many calls have ended before this one.
    pub attempts: i32,
    /// How many of them before it was sent anew: the schedule counts from there.
    pub earlier_attempts: i32,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// Until then nobody else calls.
    pub lease_until: DateTime<Utc>,
    /// The event.
    pub event_id: EventId,
    /// Of the event, and one for all its deliveries that are claimed together.
    #[sea_orm(skip)]
    sent: Arc<Sent>,
    /// The endpoint.
    pub endpoint_id: EndpointId,
    /// Where it is.
    pub url: String,
    /// Address ranges that are not public and that it may be in all the same.
    pub allowed_cidrs: Vec<String>,
    /// Since when every call to it has failed.
    pub failing_since: Option<DateTime<Utc>>,
    /// Whether the call bears `v1a` signatures as well.
    pub asymmetric: bool,
    /// When it was last changed by a person.
    pub(super) updated_at: DateTime<Utc>,
    enabled: bool,
    rate_limit: Option<i32>,
    rate_window_seconds: Option<i32>,
    sealed_secret: Vec<u8>,
    sealed_former_secrets: Vec<Vec<u8>>,
    sealed_headers: Vec<u8>,
}

/// What an event is to its endpoints.
#[derive(Default)]
struct Sent {
    body: Bytes,
    traceparent: Option<String>,
}

impl Claimed {
    /// The very bytes to sign and send.
    #[must_use]
    pub fn body(&self) -> &Bytes {
        &self.sent.body
    }

    /// The trace that its event was caused in.
    #[must_use]
    pub fn trace(&self) -> Option<TraceContext> {
        TraceContext::parse(self.sent.traceparent.as_deref()?)
    }

    /// How often the endpoint is called at most.
    #[must_use]
    pub fn rate(&self) -> Option<Rate> {
        rate(self.rate_limit, self.rate_window_seconds)
    }

    /// Opens what the call needs: the secrets that sign it, the newest first, and the endpoint's own headers.
    ///
    /// # Errors
    /// When the data key is missing or a row was altered.
    pub fn open(&self, ring: &KeyRing) -> Result<(Vec<SigningSecret>, Headers), Internal> {
        let id = self.endpoint_id.0;
        let sealed = std::iter::once(&self.sealed_secret).chain(&self.sealed_former_secrets);
        let secrets = sealed
            .map(|sealed| Ok(SigningSecret::from_bytes(seal::open(ring, id, sealed)?)))
            .collect::<Result<_, SealBroken>>()?;
        if self.sealed_headers.is_empty() {
            return Ok((secrets, Headers::new()));
        }
        let headers = seal::open(ring, id, &self.sealed_headers)?;
        Ok((secrets, serde_json::from_slice(headers.expose())?))
    }
}

/// Claims those of the deliveries that are due and that nobody else holds. One whose endpoint was turned off is
/// cancelled instead.
///
/// A first attempt is due at once, whatever this machine's clock says.
///
/// # Errors
/// When the database does not answer; then nothing is claimed.
pub async fn claim(context: &Context, ids: Vec<Uuid>, lease: Duration) -> Result<Vec<Claimed>, DbErr> {
    let now = context.clock.now();
    let (lease_until, soon) = (now + lease, now + CLOCK_SKEW);
    let (first, last) = id::span(&ids);
    let tx = context.postgres.cross_tenant(CrossTenant::Deliver).await?;
    let mut claimed = Claimed::find_by_statement(raw_sql!(
        Postgres,
        "WITH due AS (
             SELECT id FROM deliveries
             WHERE id = ANY({ids}) AND id BETWEEN {first} AND {last}
               AND state || '' = 'pending' AND (attempts = 0 OR next_attempt_at <= {soon})
               AND (lease_until IS NULL OR lease_until < {now})
             ORDER BY id FOR NO KEY UPDATE SKIP LOCKED)
         UPDATE deliveries d SET
             generation = d.generation + 1,
             sweep_at = {lease_until},
             lease_until = CASE WHEN p.enabled THEN {lease_until} END,
             state = CASE WHEN p.enabled THEN 'pending' ELSE 'cancelled' END,
             next_attempt_at = CASE WHEN p.enabled THEN d.next_attempt_at END,
             finished_at = CASE WHEN p.enabled THEN NULL ELSE {now} END
         FROM webhook_endpoints p JOIN tenants t ON t.id = p.tenant_id
         WHERE d.id = ANY(ARRAY(SELECT id FROM due)) AND d.id BETWEEN {first} AND {last}
           AND p.tenant_id = d.tenant_id AND p.id = d.endpoint_id
         RETURNING d.id, d.tenant_id, d.generation, d.attempts, d.earlier_attempts, d.created_at,
                   d.sweep_at AS lease_until, d.event_id, d.endpoint_id, p.url, t.webhook_cidrs AS allowed_cidrs, p.failing_since, p.updated_at, p.public_key IS NOT NULL AS asymmetric, p.enabled, p.rate_limit, p.rate_window_seconds,
                   p.sealed_secret, p.sealed_headers, ARRAY(
                       SELECT f.sealed_secret FROM webhook_former_secrets f
                       WHERE f.tenant_id = p.tenant_id AND f.endpoint_id = p.id AND f.ends_at > {now}
                       ORDER BY f.id DESC) AS sealed_former_secrets"
    ))
    .all(&tx)
    .await?;
    claimed.retain(|one| one.enabled);
    let events = sent(&tx, &claimed).await?;
    tx.commit().await?;
    // An event goes with its deliveries, never before them; should one be missing all the same, nothing is sent.
    claimed.retain_mut(|one| {
        let sent = events.get(&(one.tenant_id, one.event_id));
        one.sent = sent.cloned().unwrap_or_default();
        !one.body().is_empty()
    });
    Ok(claimed)
}

/// What the deliveries bring, each event read once: one that goes to very many endpoints may be large.
async fn sent(tx: &Tx, claimed: &[Claimed]) -> Result<HashMap<(TenantId, EventId), Arc<Sent>>, DbErr> {
    #[derive(FromQueryResult)]
    struct Event {
        tenant_id: TenantId,
        id: EventId,
        body: String,
        traceparent: Option<String>,
    }
    let mut ids: Vec<Uuid> = claimed.iter().map(|one| one.event_id.0).collect();
    ids.sort_unstable();
    ids.dedup();
    let (first, last) = id::span(&ids);
    let events = Event::find_by_statement(raw_sql!(
        Postgres,
        "SELECT tenant_id, id, body, traceparent FROM events WHERE id = ANY({ids}) AND id BETWEEN {first} AND {last}"
    ))
    .all(tx)
    .await?;
    let sent = events.into_iter().map(|event| {
        let sent = Sent {
            body: event.body.into(),
            traceparent: event.traceparent,
        };
        ((event.tenant_id, event.id), Arc::new(sent))
    });
    Ok(sent.collect())
}

/// What a delivery becomes after a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// The endpoint took it.
    Succeeded,
    /// It is tried again then.
    Again(DateTime<Utc>),
    /// It is given up.
    Failed,
}

impl Next {
    const fn state(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Again(_) => "pending",
            Self::Failed => "failed",
        }
    }

    const fn at(self) -> Option<DateTime<Utc>> {
        match self {
            Self::Again(at) => Some(at),
            Self::Succeeded | Self::Failed => None,
        }
    }
}

/// What a call showed.
#[derive(Clone, Debug)]
pub struct Observed {
    /// When it began.
    pub started_at: DateTime<Utc>,
    /// How long it took.
    pub duration: Duration,
    /// Of the HTTP response.
    pub status: Option<u16>,
    /// The kind of failure.
    pub error_class: Option<ErrorClass>,
    /// What the failure said.
    pub error_detail: Option<String>,
    /// The address that was called, with its port.
    pub address: Option<String>,
    /// The `traceparent` that the call bore.
    pub traceparent: Option<String>,
    /// Of the response; an object of strings.
    pub response_headers: Value,
    /// As much of the body as is kept.
    pub response_body: Option<String>,
}

/// A call that has ended.
#[derive(Clone, Debug)]
pub struct Finished {
    /// The attempt: recorded twice, it is the same one.
    pub attempt: Uuid,
    /// The delivery.
    pub id: DeliveryId,
    /// Whose it is.
    pub tenant_id: TenantId,
    /// The claim under which it was called.
    pub generation: i32,
    /// The call's number, from 1.
    pub number: i32,
    /// What follows.
    pub next: Next,
    /// What there was to see.
    pub observed: Observed,
}

/// Writes down calls that have ended, and what their deliveries become: one statement, whose text is the same for any
/// number of them.
///
/// The outcome of a claim that was lost meanwhile is kept as an attempt and changes nothing else, and so is one that was
/// written down before, though nobody heard. What would be tried again
/// is cancelled where the endpoint was turned off during the call. A tenant that was
/// deleted meanwhile has taken its deliveries along; there is nothing left to say of them.
///
/// # Errors
/// When the database does not answer. Unless this is asked for again, the deliveries are called again once their leases have
/// ended.
pub async fn record(context: &Context, finished: &[Finished]) -> Result<(), Internal> {
    let now = context.clock.now();
    let ids: Vec<Uuid> = finished.iter().map(|call| call.id.0).collect();
    let calls: Vec<Call<'_>> = finished.iter().map(Call::of).collect();
    let (calls, (first, last)) = (serde_json::to_string(&calls)?, id::span(&ids));
    let tx = context.postgres.cross_tenant(CrossTenant::Deliver).await?;
    tx.execute_raw(raw_sql!(
        Postgres,
        "WITH calls AS (
             SELECT * FROM json_to_recordset({calls}::json) AS c (
                 id uuid, delivery_id uuid, tenant_id uuid, generation integer, number integer, state text,
                 next_at timestamptz, started_at timestamptz, duration_ms integer, outcome text, status smallint,
                 error_class text, error_detail text, address text, traceparent text, response_headers jsonb, response_body text)),
         held AS (
             SELECT id, endpoint_id FROM deliveries WHERE id = ANY({ids}) AND id BETWEEN {first} AND {last}
             ORDER BY id FOR NO KEY UPDATE),
         moved AS (
             UPDATE deliveries d SET
                 state = CASE WHEN c.off THEN 'cancelled' ELSE c.state END,
                 attempts = d.attempts + 1,
                 next_attempt_at = CASE WHEN NOT c.off THEN c.next_at END,
                 sweep_at = coalesce(c.next_at, {now}),
                 lease_until = NULL,
                 finished_at = CASE WHEN c.off OR c.next_at IS NULL THEN {now} END
             FROM (
                 SELECT calls.*, next_at IS NOT NULL AND NOT EXISTS (
                     SELECT FROM webhook_endpoints p
                     WHERE p.tenant_id = calls.tenant_id AND p.id = held.endpoint_id AND p.enabled) AS off
                 FROM calls JOIN held ON held.id = calls.delivery_id) c
             WHERE d.id = ANY(ARRAY(SELECT id FROM held)) AND d.id BETWEEN {first} AND {last} AND d.id = c.delivery_id
               AND d.generation = c.generation AND d.attempts = c.number - 1 AND d.state || '' = 'pending')
         INSERT INTO attempts (id, tenant_id, delivery_id, endpoint_id, number, started_at, duration_ms, outcome, status,
                               error_class, error_detail, address, traceparent, response_headers, response_body)
         SELECT c.id, c.tenant_id, c.delivery_id, held.endpoint_id, c.number, c.started_at, c.duration_ms, c.outcome, c.status,
                c.error_class, c.error_detail, c.address, c.traceparent, c.response_headers, c.response_body
         FROM calls c JOIN held ON held.id = c.delivery_id
         ON CONFLICT DO NOTHING"
    ))
    .await?;
    tx.commit().await?;
    Ok(())
}

/// A call as the statement reads it.
#[derive(Serialize)]
struct Call<'a> {
    id: Uuid,
    delivery_id: Uuid,
    tenant_id: Uuid,
    generation: i32,
    number: i32,
    state: &'static str,
    next_at: Option<DateTime<Utc>>,
    started_at: DateTime<Utc>,
    duration_ms: i32,
    outcome: &'static str,
    status: Option<u16>,
    error_class: Option<ErrorClass>,
    error_detail: Option<&'a str>,
    address: Option<&'a str>,
    traceparent: Option<&'a str>,
    response_headers: &'a Value,
    response_body: Option<&'a str>,
}

impl<'a> Call<'a> {
    fn of(call: &'a Finished) -> Self {
        let Finished {
            attempt,
            id,
            tenant_id,
            generation,
            number,
            next,
            observed,
        } = call;
        let Observed {
            started_at,
            duration,
            status,
            error_class,
            error_detail,
            address,
            traceparent,
            response_headers,
            response_body,
        } = observed;
        Self {
            id: *attempt,
            delivery_id: id.0,
            tenant_id: tenant_id.0,
            generation: *generation,
            number: *number,
            state: next.state(),
            next_at: next.at(),
            started_at: *started_at,
            duration_ms: i32::try_from(duration.as_millis()).unwrap_or(i32::MAX),
            outcome: if *next == Next::Succeeded {
                SUCCEEDED
            } else {
                FAILED
            },
            status: *status,
            error_class: *error_class,
            error_detail: error_detail.as_deref(),
            address: address.as_deref(),
            traceparent: traceparent.as_deref(),
            response_headers,
            response_body: response_body.as_deref(),
        }
    }
}

/// A delivery that was claimed, and not called or not to the end.
#[derive(Clone, Copy, Debug)]
pub struct GivenBack {
    /// The delivery.
    pub id: DeliveryId,
    /// The claim that ends with this.
    pub generation: i32,
    /// When it is to be looked at again.
    pub at: DateTime<Utc>,
}

/// Ends claims under which nobody was called, or whose calls were broken off: they must have ended. The attempts are not counted;
/// each is due again at its time, and what is so at once keeps its place among those that wait.
///
/// # Errors
/// When the database does not answer; then the claims end with their leases.
pub async fn give_back(context: &Context, back: &[GivenBack]) -> Result<(), DbErr> {
    let ids: Vec<Uuid> = back.iter().map(|back| back.id.0).collect();
    let generations: Vec<i32> = back.iter().map(|back| back.generation).collect();
    let times: Vec<DateTime<Utc>> = back.iter().map(|back| back.at).collect();
    let now = context.clock.now();
    let (wanted, (first, last)) = (ids.clone(), id::span(&ids));
    let tx = context.postgres.cross_tenant(CrossTenant::Deliver).await?;
    tx.execute_raw(raw_sql!(
        Postgres,
        "WITH held AS (
             SELECT id FROM deliveries WHERE id = ANY({wanted}) AND id BETWEEN {first} AND {last}
             ORDER BY id FOR NO KEY UPDATE)
         UPDATE deliveries d SET
             lease_until = NULL,
             next_attempt_at = CASE WHEN b.at > {now} THEN b.at ELSE d.next_attempt_at END,
             sweep_at = b.at
         FROM unnest({ids}::uuid[], {generations}::integer[], {times}::timestamptz[]) AS b (id, generation, at)
         WHERE d.id = ANY(ARRAY(SELECT id FROM held)) AND d.id BETWEEN {first} AND {last} AND d.id = b.id
           AND d.generation = b.generation AND d.state || '' = 'pending'"
    ))
    .await?;
    tx.commit().await
}

/// Notes that endpoints answer again, or that they have begun to fail. Of one that stands in both lists, one answer is
/// enough. A row that somebody has in hand is left out: the next call says the same.
///
/// # Errors
/// When the database does not answer.
pub async fn note_endpoints(
    context: &Context,
    answering: Vec<Uuid>,
    failing: Vec<Uuid>,
) -> Result<(), DbErr> {
    let now = context.clock.now();
    let (again, begun) = (answering.clone(), failing);
    let tx = context.postgres.cross_tenant(CrossTenant::Deliver).await?;
    tx.execute_raw(raw_sql!(
        Postgres,
        "WITH changed AS (
             SELECT id FROM webhook_endpoints
             WHERE (id = ANY({again}) AND failing_since IS NOT NULL) OR (id = ANY({begun}) AND failing_since IS NULL)
             ORDER BY id FOR NO KEY UPDATE SKIP LOCKED)
         UPDATE webhook_endpoints p SET failing_since = CASE WHEN p.id = ANY({answering}) THEN NULL ELSE {now} END
         FROM changed WHERE p.id = changed.id"
    ))
    .await?;
    tx.commit().await
}

/// A transaction that walks the index of what is due, and that alone.
///
/// Plans are kept while days begin and grow: what is right for one that is empty must be right for one that is not. And
/// should the database crash, what was queued is found once more: nothing has to wait for the disk.
pub(super) async fn walk(context: &Context) -> Result<Tx, DbErr> {
    let tx = context.postgres.cross_tenant(CrossTenant::Sweep).await?;
    let settings = "SET LOCAL enable_seqscan = off; SET LOCAL plan_cache_mode = force_generic_plan;
                    SET LOCAL synchronous_commit = off";
    tx.execute_unprepared(settings).await?;
    Ok(tx)
}

#[derive(FromQueryResult)]
struct Oldest {
    next_attempt_at: DateTime<Utc>,
}

/// For how long the delivery has been due that has been so longest, queued and called ones among them; nothing while none
/// is.
///
/// # Errors
/// When the database does not answer.
pub async fn overdue(context: &Context) -> Result<Option<Duration>, DbErr> {
    let now = context.clock.now();
    let tx = walk(context).await?;
    let oldest = Oldest::find_by_statement(raw_sql!(
        Postgres,
        "SELECT oldest.next_attempt_at
         FROM (VALUES (0), (1)) AS lane (again) CROSS JOIN LATERAL (
             SELECT next_attempt_at FROM deliveries
             WHERE state = 'pending' AND least(attempts, 1) = lane.again AND next_attempt_at <= {now}
             ORDER BY next_attempt_at LIMIT 1) AS oldest
         ORDER BY oldest.next_attempt_at LIMIT 1"
    ))
    .one(&tx)
    .await?;
    Ok(oldest.map(|oldest| (now - oldest.next_attempt_at).to_std().unwrap_or_default()))
}

#[derive(FromQueryResult)]
struct Due {
    id: Uuid,
}

/// Takes up to `limit` deliveries that are due and that nobody has queued, longest due first, and leaves each alone
/// for the grace that a queued job has: first attempts, or later ones if `again`. What is queued or called is walked past:
/// no more than the streams hold, and less work than to keep it out of the index would be.
///
/// # Errors
/// When the database does not answer.
pub async fn sweep(context: &Context, again: bool, limit: usize) -> Result<Vec<Uuid>, DbErr> {
    let now = context.clock.now();
    let (again, until) = (i32::from(again), now + context.config.worker.queue_grace);
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let tx = walk(context).await?;
    let due = Due::find_by_statement(raw_sql!(
        Postgres,
        "WITH due AS MATERIALIZED (
             SELECT id FROM deliveries
             WHERE state = 'pending' AND least(attempts, 1) = {again} AND next_attempt_at <= {now} AND sweep_at <= {now}
             ORDER BY next_attempt_at FOR NO KEY UPDATE SKIP LOCKED LIMIT {limit})
         UPDATE deliveries d SET sweep_at = {until}
         WHERE d.id = ANY(ARRAY(SELECT id FROM due))
           AND d.id >= (SELECT id FROM due ORDER BY id LIMIT 1)
           AND d.id <= (SELECT id FROM due ORDER BY id DESC LIMIT 1)
         RETURNING d.id"
    ))
    .all(&tx)
    .await?;
    tx.commit().await?;
    Ok(due.into_iter().map(|due| due.id).collect())
}
