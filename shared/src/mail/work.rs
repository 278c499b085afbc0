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
    of_use: bool,
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

/// Claims the mail if it is due and nobody else holds it. One whose token was used, has expired, or was followed by a newer
/// one ends here instead: who clicked on it would only be told so.
///
/// # Errors
/// When the database does not answer; then nothing is claimed.
pub async fn claim(context: &Context, id: Uuid, lease: Duration) -> Result<Option<Claimed>, DbErr> {
    let now = context.clock.now();
    let (lease_until, soon) = (now + lease, now + CLOCK_SKEW);
    let tx = context.postgres.cross_tenant(CrossTenant::Deliver).await?;
    let claimed = Claimed::find_by_statement(raw_sql!(
        Postgres,
        "WITH due AS (
             SELECT m.id, m.token_hash IS NULL OR EXISTS (
                        SELECT FROM one_time_tokens t
                        WHERE t.hash = m.token_hash AND t.tenant_id = m.tenant_id AND t.expires_at > {now}) AS of_use
             FROM mails m
             WHERE m.id = {id} AND m.state || '' = 'pending' AND (m.attempts = 0 OR m.next_attempt_at <= {soon})
               AND (m.lease_until IS NULL OR m.lease_until < {now})
             FOR NO KEY UPDATE OF m)
         UPDATE mails m SET
             generation = m.generation + 1,
             sweep_at = {lease_until},
             lease_until = CASE WHEN due.of_use THEN {lease_until} END,
             state = CASE WHEN due.of_use THEN 'pending' ELSE 'failed' END,
             last_error = CASE WHEN due.of_use THEN m.last_error ELSE 'its token is of no use any more' END,
             sealed = CASE WHEN due.of_use THEN m.sealed ELSE '' END,
             next_attempt_at = CASE WHEN due.of_use THEN m.next_attempt_at END,
             finished_at = CASE WHEN due.of_use THEN NULL ELSE {now} END
         FROM due WHERE m.id = due.id
         RETURNING m.id, m.kind, m.generation, m.attempts, m.created_at, m.sealed, due.of_use"
    ))
    .one(&tx)
    .await?;
    tx.commit().await?;
    Ok(claimed.filter(|claimed| claimed.of_use))
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

/// Ends the claim of a mail whose sending was broken off. The attempt is not counted; the mail is due again at once.
///
/// # Errors
/// When the database does not answer; then the claim ends with its lease.
pub async fn give_back(context: &Context, mail: &Claimed) -> Result<(), DbErr> {
    let (id, generation, now) = (mail.id, mail.generation, context.clock.now());
    let tx = context.postgres.cross_tenant(CrossTenant::Deliver).await?;
    tx.execute_raw(raw_sql!(
        Postgres,
        "UPDATE mails SET lease_until = NULL, sweep_at = {now}
         WHERE id = {id} AND generation = {generation} AND state || '' = 'pending'"
    ))
    .await?;
    tx.commit().await
}

#[derive(FromQueryResult)]
struct Oldest {
    next_attempt_at: DateTime<Utc>,
}

/// For how long the mail has been due that has been so longest, queued ones and those under way among them; nothing while
/// none is.
///
/// # Errors
/// When the database does not answer.
pub async fn overdue(context: &Context) -> Result<Option<Duration>, DbErr> {
    let now = context.clock.now();
    let tx = context.postgres.cross_tenant(CrossTenant::Sweep).await?;
    let oldest = Oldest::find_by_statement(raw_sql!(
        Postgres,
        "SELECT next_attempt_at FROM mails
         WHERE state = 'pending' AND next_attempt_at <= {now} ORDER BY next_attempt_at LIMIT 1"
    ))
    .one(&tx)
    .await?;
    Ok(oldest.map(|oldest| (now - oldest.next_attempt_at).to_std().unwrap_or_default()))
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
