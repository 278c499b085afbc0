//! The worker's side of deliveries: claimed, called, recorded; and found again when any of that was cut off.
//!
//! A claim is a lease: until it ends no other worker calls, and whoever takes the delivery over afterwards raises its
//! generation, so that the late outcome of the first changes nothing. All of this spans tenants; nothing here is
//! ever asked for by a request.
//!
//! A statement that has ids compares `state || ''`: were it the bare column, the planner might take the index of what is
//! due, and walk through the whole backlog for the sake of a few rows.
//!
//! Rows are locked in the order of their ids, here and in `store`, so that two batches never wait for each other in a circle.

use std::{collections::HashSet, time::Duration};

use chrono::{DateTime, Utc};
use sea_orm::{ActiveValue::Set, DbErr, EntityTrait, FromQueryResult, raw_sql};
use serde_json::Value;
use uuid::Uuid;

use super::{header::Headers, signature::SigningSecret};
use crate::{
    config::KeyRing,
    context::Context,
    crypto::seal::{self, SealBroken},
    entity::attempt,
    error::Internal,
    id::{AttemptId, DeliveryId, EndpointId, EventId, TenantId},
    postgres::CrossTenant,
};

/// The word in `attempts.outcome` for a call that the endpoint took.
pub const SUCCEEDED: &str = "succeeded";
const FAILED: &str = "failed";

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
    /// The event.
    pub event_id: EventId,
    /// The very text to sign and send.
    pub body: String,
    /// The endpoint.
    pub endpoint_id: EndpointId,
    /// Where it is.
    pub url: String,
    enabled: bool,
    sealed_secret: Vec<u8>,
    sealed_former_secrets: Vec<Vec<u8>>,
    sealed_headers: Vec<u8>,
}

impl Claimed {
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
    let tx = context.postgres.cross_tenant(CrossTenant::Deliver).await?;
    let claimed = Claimed::find_by_statement(raw_sql!(
        Postgres,
        "WITH due AS (
             SELECT id FROM deliveries
             WHERE id = ANY({ids}) AND state || '' = 'pending' AND (attempts = 0 OR next_attempt_at <= {soon})
               AND (lease_until IS NULL OR lease_until < {now})
             ORDER BY id FOR NO KEY UPDATE SKIP LOCKED)
         UPDATE deliveries d SET
             generation = d.generation + 1,
             sweep_at = {lease_until},
             lease_until = CASE WHEN p.enabled THEN {lease_until} END,
             state = CASE WHEN p.enabled THEN 'pending' ELSE 'cancelled' END,
             next_attempt_at = CASE WHEN p.enabled THEN d.next_attempt_at END,
             finished_at = CASE WHEN p.enabled THEN NULL ELSE {now} END
         FROM due, events e, webhook_endpoints p
         WHERE d.id = due.id
           AND e.tenant_id = d.tenant_id AND e.id = d.event_id
           AND p.tenant_id = d.tenant_id AND p.id = d.endpoint_id
         RETURNING d.id, d.tenant_id, d.generation, d.attempts, d.earlier_attempts, d.created_at, d.event_id, e.body,
                   d.endpoint_id, p.url, p.enabled, p.sealed_secret, p.sealed_headers, ARRAY(
                       SELECT f.sealed_secret FROM webhook_former_secrets f
                       WHERE f.tenant_id = p.tenant_id AND f.endpoint_id = p.id AND f.ends_at > {now}
                       ORDER BY f.id DESC) AS sealed_former_secrets"
    ))
    .all(&tx)
    .await?;
    tx.commit().await?;
    Ok(claimed.into_iter().filter(|claimed| claimed.enabled).collect())
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
    pub error_class: Option<&'static str>,
    /// What the failure said.
    pub error_detail: Option<String>,
    /// The address that was called, with its port.
    pub address: Option<String>,
    /// Of the response; an object of strings.
    pub response_headers: Value,
    /// As much of the body as is kept.
    pub response_body: Option<String>,
}

/// A call that has ended.
#[derive(Clone, Debug)]
pub struct Finished {
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

#[derive(FromQueryResult)]
struct Row {
    id: DeliveryId,
}

/// Writes down calls that have ended, and what their deliveries become.
///
/// The outcome of a claim that was lost meanwhile is kept as an attempt and changes nothing else.
///
/// # Errors
/// When the database does not answer; then nothing is written, and the deliveries are called again once their
/// leases have ended.
pub async fn record(context: &Context, finished: &[Finished]) -> Result<(), DbErr> {
    let now = context.clock.now();
    let ids: Vec<Uuid> = finished.iter().map(|call| call.id.0).collect();
    let generations: Vec<i32> = finished.iter().map(|call| call.generation).collect();
    let states: Vec<String> = finished.iter().map(|call| call.next.state().to_owned()).collect();
    // Only a delivery that stays pending has a next time; an array has no gaps, so the others say now.
    let times: Vec<DateTime<Utc>> = finished
        .iter()
        .map(|call| call.next.at().unwrap_or(now))
        .collect();
    let tx = context.postgres.cross_tenant(CrossTenant::Deliver).await?;
    let locked = ids.clone();
    let present: HashSet<DeliveryId> = Row::find_by_statement(raw_sql!(
        Postgres,
        "SELECT id FROM deliveries WHERE id = ANY({locked}) ORDER BY id FOR NO KEY UPDATE"
    ))
    .all(&tx)
    .await?
    .into_iter()
    .map(|row| row.id)
    .collect();
    Row::find_by_statement(raw_sql!(
        Postgres,
        "UPDATE deliveries d SET
             state = o.state,
             attempts = d.attempts + 1,
             next_attempt_at = CASE WHEN o.state = 'pending' THEN o.at END,
             sweep_at = o.at,
             lease_until = NULL,
             finished_at = CASE WHEN o.state = 'pending' THEN NULL ELSE {now} END
         FROM unnest({ids}::uuid[], {generations}::integer[], {states}::text[], {times}::timestamptz[])
              AS o (id, generation, state, at)
         WHERE d.id = o.id AND d.generation = o.generation AND d.state || '' = 'pending'
         RETURNING d.id"
    ))
    .all(&tx)
    .await?;
    // A tenant that was deleted meanwhile has taken its deliveries along; there is nothing left to say of them.
    let attempts: Vec<_> = finished
        .iter()
        .filter(|call| present.contains(&call.id))
        .map(|call| attempt_row(context, call))
        .collect();
    if !attempts.is_empty() {
        attempt::Entity::insert_many(attempts)
            .exec_without_returning(&tx)
            .await?;
    }
    tx.commit().await
}

fn attempt_row(context: &Context, call: &Finished) -> attempt::ActiveModel {
    let Finished {
        id,
        tenant_id,
        generation: _,
        number,
        next,
        observed,
    } = call;
    let outcome = if *next == Next::Succeeded {
        SUCCEEDED
    } else {
        FAILED
    };
    attempt::ActiveModel {
        id: Set(AttemptId(context.uuid(observed.started_at))),
        tenant_id: Set(*tenant_id),
        delivery_id: Set(*id),
        number: Set(*number),
        started_at: Set(observed.started_at),
        duration_ms: Set(i32::try_from(observed.duration.as_millis()).unwrap_or(i32::MAX)),
        outcome: Set(outcome.to_owned()),
        status: Set(observed.status.and_then(|status| i16::try_from(status).ok())),
        error_class: Set(observed.error_class.map(str::to_owned)),
        error_detail: Set(observed.error_detail.clone()),
        address: Set(observed.address.clone()),
        response_headers: Set(observed.response_headers.clone()),
        response_body: Set(observed.response_body.clone()),
    }
}

/// A delivery that is due and was not queued.
#[derive(Clone, Copy, Debug, FromQueryResult)]
pub struct Due {
    /// The delivery.
    pub id: DeliveryId,
    /// How many calls have ended.
    pub attempts: i32,
}

/// Takes up to `limit` deliveries that are due and that nobody has queued, longest due first, and leaves each alone
/// for the grace that a queued job has. `fresh` and `retries` say which of them there is room for.
///
/// # Errors
/// When the database does not answer.
pub async fn sweep(context: &Context, fresh: bool, retries: bool, limit: u32) -> Result<Vec<Due>, DbErr> {
    let now = context.clock.now();
    let (until, limit) = (now + context.config.worker.queue_grace, i64::from(limit));
    let tx = context.postgres.cross_tenant(CrossTenant::Sweep).await?;
    let due = Due::find_by_statement(raw_sql!(
        Postgres,
        "UPDATE deliveries SET sweep_at = {until}
         WHERE id IN (
             SELECT id FROM deliveries
             WHERE state = 'pending' AND sweep_at <= {now}
               AND (({fresh} AND attempts = 0) OR ({retries} AND attempts > 0))
             ORDER BY sweep_at FOR NO KEY UPDATE SKIP LOCKED LIMIT {limit})
         RETURNING id, attempts"
    ))
    .all(&tx)
    .await?;
    tx.commit().await?;
    Ok(due)
}
