//! The worker's side of mail: claimed, sent, recorded; and found again when any of that was cut off.
//!
//! A claim is a lease, as with deliveries: see `webhook::work`, which also tells why `state || ''` is compared.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sea_orm::{ConnectionTrait, DbErr, FromQueryResult, raw_sql};
use uuid::Uuid;

use super::Message;
use crate::{config::KeyRing, context::Context, error::Internal, id::MailId, postgres::CrossTenant};

/// See `webhook::work`: a retry may be claimed by a machine whose clock is behind by as much.
const CLOCK_SKEW: Duration = Duration::from_secs(1);

/// A mail that this worker, and no other, may send.
#[derive(FromQueryResult)]
pub struct Claimed {
    /// The mail.
    pub id: MailId,
    /// What it is about.
    pub kind: String,
    /// The claim's number.
    pub generation: i32,
    /// How many attempts have ended before this one.
    pub attempts: i32,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    sealed: Vec<u8>,
}

impl Claimed {
    /// Opens the mail.
    ///
    /// # Errors
    /// When the data key is missing or the row was altered.
    pub fn open(&self, ring: &KeyRing) -> Result<Message, Internal> {
        Message::open(ring, self.id.0, &self.sealed)
    }
}

/// Claims the mail if it is due and nobody else holds it.
///
/// # Errors
/// When the database does not answer; then nothing is claimed.
pub async fn claim(context: &Context, id: Uuid, lease: Duration) -> Result<Option<Claimed>, DbErr> {
    let now = context.clock.now();
    let (lease_until, soon) = (now + lease, now + CLOCK_SKEW);
    let tx = context.postgres.cross_tenant(CrossTenant::Deliver).await?;
    let claimed = Claimed::find_by_statement(raw_sql!(
        Postgres,
        "UPDATE mails SET generation = generation + 1, lease_until = {lease_until}, sweep_at = {lease_until}
         WHERE id = {id} AND state || '' = 'pending' AND (attempts = 0 OR next_attempt_at <= {soon})
           AND (lease_until IS NULL OR lease_until < {now})
         RETURNING id, kind, generation, attempts, created_at, sealed"
    ))
    .one(&tx)
    .await?;
    tx.commit().await?;
    Ok(claimed)
}

/// Writes down that the mail server has the mail, and forgets what it said.
///
/// # Errors
/// When the database does not answer; the mail is then sent once more, with the same `Message-ID`.
pub async fn succeeded(context: &Context, mail: &Claimed) -> Result<(), DbErr> {
    let (id, generation, now) = (mail.id, mail.generation, context.clock.now());
    let tx = context.postgres.cross_tenant(CrossTenant::Deliver).await?;
    tx.execute_raw(raw_sql!(
        Postgres,
        "UPDATE mails SET state = 'succeeded', attempts = attempts + 1, sealed = '', last_error = NULL,
                next_attempt_at = NULL, lease_until = NULL, finished_at = {now}
         WHERE id = {id} AND generation = {generation} AND state || '' = 'pending'"
    ))
    .await?;
    tx.commit().await
}

/// Writes down that an attempt failed with `error`, to be tried again at `next`, or never.
///
/// # Errors
/// When the database does not answer; the mail is tried again once its lease has ended.
pub async fn failed(
    context: &Context,
    mail: &Claimed,
    error: &str,
    next: Option<DateTime<Utc>>,
) -> Result<(), DbErr> {
    let (id, generation, now) = (mail.id, mail.generation, context.clock.now());
    let tx = context.postgres.cross_tenant(CrossTenant::Deliver).await?;
    tx.execute_raw(raw_sql!(
        Postgres,
        "UPDATE mails SET attempts = attempts + 1, last_error = {error}, lease_until = NULL,
                next_attempt_at = {next}::timestamptz,
                sweep_at = coalesce({next}::timestamptz, sweep_at),
                state = CASE WHEN {next}::timestamptz IS NULL THEN 'failed' ELSE 'pending' END,
                sealed = CASE WHEN {next}::timestamptz IS NULL THEN '' ELSE sealed END,
                finished_at = CASE WHEN {next}::timestamptz IS NULL THEN {now} END
         WHERE id = {id} AND generation = {generation} AND state || '' = 'pending'"
    ))
    .await?;
    tx.commit().await
}

#[derive(FromQueryResult)]
struct Due {
    id: Uuid,
}

/// Takes up to `limit` mails that are due and that nobody has queued, longest due first, and leaves each alone for
/// the grace that a queued job has.
///
/// # Errors
/// When the database does not answer.
pub async fn sweep(context: &Context, limit: u32) -> Result<Vec<Uuid>, DbErr> {
    let now = context.clock.now();
    let (until, limit) = (now + context.config.worker.queue_grace, i64::from(limit));
    let tx = context.postgres.cross_tenant(CrossTenant::Sweep).await?;
    let due = Due::find_by_statement(raw_sql!(
        Postgres,
        "UPDATE mails SET sweep_at = {until}
         WHERE id IN (
             SELECT id FROM mails WHERE state = 'pending' AND sweep_at <= {now}
             ORDER BY sweep_at FOR NO KEY UPDATE SKIP LOCKED LIMIT {limit})
         RETURNING id"
    ))
    .all(&tx)
    .await?;
    tx.commit().await?;
    Ok(due.into_iter().map(|row| row.id).collect())
}
