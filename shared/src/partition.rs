//! The partitions of events, deliveries and attempts: one a day, made ahead and dropped when it is history.
//!
//! All three tables are partitioned by the instant of an event: a delivery's id bears that of its event, and attempts
//! are kept by their delivery's id. A day is thus one partition of each; a look-up by an id opens one; and no delivery
//! outlives its event, nor an attempt its delivery.
//!
//! The application's role owns no table. What it may do to partitions it does by functions of their owner, which take
//! instants, bound them, and make or drop one partition at a time under a short wait for its locks. A partition that
//! cannot be made or dropped now is made or dropped by the next run: nobody waits long behind it. Rows of a day that
//! has no partition lie in the default partition, where they work as anywhere else.
//!
//! What must never happen: a delivery that waits and is dropped with its day; a row that finds no partition.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sea_orm::{ConnectionTrait, DbErr, Statement, raw_sql};

use crate::{context::Context, postgres::CrossTenant};

/// So far ahead partitions are made: as long may all workers be away before rows lie elsewhere.
pub const AHEAD: Duration = Duration::from_hours(8 * 24);

/// So often a partition is tried whose locks are not to be had, and the wait in between.
const TRIES: u32 = 10;
const PAUSE: Duration = Duration::from_millis(250);

/// Makes the partitions from tomorrow on that are missing; how many those were.
///
/// Not today's: a row that is on its way to the default partition at this moment would find itself in the wrong one, and
/// its request would fail.
///
/// # Errors
/// When one cannot be made now, after some tries; those before it stay.
pub async fn make_ahead(context: &Context) -> Result<u32, DbErr> {
    let now = context.clock.now();
    make(context, now + Duration::from_hours(24), now + AHEAD).await
}

/// As [`make_ahead`], from one instant to another. Nothing is made further back than 400 days or further ahead than 40.
///
/// # Errors
/// As [`make_ahead`].
pub async fn make(context: &Context, since: DateTime<Utc>, until: DateTime<Utc>) -> Result<u32, DbErr> {
    one_by_one(context, || {
        raw_sql!(
            Postgres,
            "SELECT latchkey_make_partition({since}, {until}) AS name"
        )
    })
    .await
}

/// Drops the partitions whose day was over before the instant, but for days of which a delivery waits or an event is
/// still being spread; how many those were. Yesterday stays in any case.
///
/// # Errors
/// When one cannot be dropped now, after some tries; those before it are gone.
pub async fn drop_before(context: &Context, before: DateTime<Utc>) -> Result<u32, DbErr> {
    one_by_one(context, || {
        raw_sql!(Postgres, "SELECT latchkey_drop_partition({before}) AS name")
    })
    .await
}

/// How many rows lie in no day's partition, counted up to a few thousand.
///
/// # Errors
/// When the database does not answer.
pub async fn rows_outside(context: &Context) -> Result<i64, DbErr> {
    let tx = context.postgres.cross_tenant(CrossTenant::Partitions).await?;
    let row = tx
        .query_one_raw(raw_sql!(
            Postgres,
            "SELECT latchkey_rows_outside_partitions() AS outside"
        ))
        .await?;
    row.map_or(Ok(0), |row| row.try_get("", "outside"))
}

/// Deletes up to `limit` rows of each table that are older than the instant, lie in no day's partition and are not
/// waited for; how many there were at most of one table.
///
/// # Errors
/// When the database does not answer.
pub async fn delete_outside(context: &Context, before: DateTime<Utc>, limit: u32) -> Result<u64, DbErr> {
    let limit = i32::try_from(limit).unwrap_or(i32::MAX);
    let tx = context.postgres.cross_tenant(CrossTenant::Partitions).await?;
    let row = tx
        .query_one_raw(raw_sql!(
            Postgres,
            "SELECT latchkey_delete_outside_partitions({before}, {limit}) AS gone"
        ))
        .await?;
    tx.commit().await?;
    let gone: i64 = row.map_or(Ok(0), |row| row.try_get("", "gone"))?;
    Ok(gone.unsigned_abs())
}

/// Runs the statement, each time in a transaction of its own, until it names no partition any more.
async fn one_by_one(context: &Context, statement: impl Fn() -> Statement) -> Result<u32, DbErr> {
    let (mut done, mut failed) = (0, 0);
    loop {
        match one(context, statement()).await {
            Ok(Some(name)) => {
                tracing::debug!(partition = name, "made or dropped");
                (done, failed) = (done + 1, 0);
            }
            Ok(None) => return Ok(done),
            Err(error) if failed + 1 == TRIES => return Err(error),
            Err(_) => {
                failed += 1;
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

async fn one(context: &Context, statement: Statement) -> Result<Option<String>, DbErr> {
    let tx = context.postgres.cross_tenant(CrossTenant::Partitions).await?;
    let row = tx.query_one_raw(statement).await?;
    tx.commit().await?;
    row.map_or(Ok(None), |row| row.try_get("", "name"))
}
