//! The sweep: finds work that is due and in nobody's queue.
//!
//! Retries become due here, and a crash, a flushed Redis or a full queue heal here, by one and the same statement.
//! Every worker sweeps; rows that another one has in hand are skipped. A lane whose stream is long gets nothing more:
//! what waits, waits in PostgreSQL. What may take long runs beside it, for nothing that is due waits for that.

use std::time::{Duration, Instant};

use latchkey_shared::{
    api_key,
    context::Context,
    error::Internal,
    mail, privacy,
    queue::{self, Depth, FULL_STREAM, Lane},
    retention, webhook,
};
use metrics::{counter, gauge};
use sea_orm::DbErr;
use tokio::time::{Interval, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use crate::WorkerError;

/// Rows taken by one statement.
const BATCH: u32 = 1000;
/// So many chunks of what an endpoint has lost are brought back in a row: they are more work for everybody.
const RECOVERY_ROUNDS: usize = 4;
/// A stream is filled up to that length, half a second of work: what is queued after it waits for as long. Filled are
/// those that have come down to half of it.
const LONG_STREAM: usize = 3 * FULL_STREAM;
/// So soon a stream that had no room for all that is due is looked at again.
const ROOM_INTERVAL: Duration = Duration::from_millis(50);
const RETENTION_INTERVAL: Duration = Duration::from_mins(10);
/// What tenants did by the worker's hand is written down so often.
const USAGE_INTERVAL: Duration = Duration::from_secs(30);

/// Brings back what endpoints have lost, until the shutdown.
pub(crate) async fn recover(context: Context, shutdown: CancellationToken) -> Result<(), WorkerError> {
    let mut ticks = ticks(context.config.worker.sweep_interval);
    while shutdown.run_until_cancelled(ticks.tick()).await.is_some() {
        for _ in 0..RECOVERY_ROUNDS {
            match webhook::recover::go_on(&context).await {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => {
                    tracing::warn!(%error, "what endpoints have lost is brought back later");
                    break;
                }
            }
        }
    }
    Ok(())
}

/// Clears away what has expired, until the shutdown: a tenant that goes may take hours.
pub(crate) async fn clean(context: Context, shutdown: CancellationToken) -> Result<(), WorkerError> {
    let mut ticks = ticks(RETENTION_INTERVAL);
    while shutdown.run_until_cancelled(ticks.tick()).await.is_some() {
        if let Err(error) = tell_expiring(&context, &shutdown).await {
            tracing::warn!(%error, "telling of keys that will expire failed");
        }
        if let Err(error) = clear_away(&context, &shutdown).await {
            tracing::warn!(%error, "clearing away what has expired failed");
        }
    }
    Ok(())
}

fn ticks(period: Duration) -> Interval {
    let mut ticks = tokio::time::interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// Sweeps until the shutdown. No failure ends it.
pub(crate) async fn run(context: Context, shutdown: CancellationToken) -> Result<(), WorkerError> {
    let interval = context.config.worker.sweep_interval;
    let (mut looked, mut counted) = (None, Instant::now());
    let mut lanes = Vec::new();
    loop {
        if looked.is_none_or(|at: Instant| at.elapsed() >= interval) {
            looked = Some(Instant::now());
            tell_overdue(&context).await;
            // Mails are few, and somebody waits for each.
            lanes = vec![Lane::Mail, Lane::Fresh, Lane::Retry];
        }
        if counted.elapsed() > USAGE_INTERVAL {
            counted = Instant::now();
            write_usage(&context).await;
        }
        lanes = sweep(&context, &lanes).await;
        let left = interval.saturating_sub(looked.map_or(Duration::ZERO, |at| at.elapsed()));
        let pause = if lanes.is_empty() {
            left
        } else {
            ROOM_INTERVAL.min(left)
        };
        let paused = shutdown.run_until_cancelled(tokio::time::sleep(pause));
        if paused.await.is_none() {
            break;
        }
    }
    write_usage(&context).await;
    Ok(())
}

async fn write_usage(context: &Context) {
    if let Err(error) = context.usage.flush(&context.postgres).await {
        tracing::warn!(%error, "what tenants did is written with the next batch");
    }
}

/// A figure that cannot be told keeps nothing from being swept.
async fn tell_overdue(context: &Context) {
    let (deliveries, mails) = tokio::join!(webhook::work::overdue(context), mail::work::overdue(context));
    for (gauge, overdue) in [
        (gauge!("latchkey_deliveries_overdue_seconds"), deliveries),
        (gauge!("latchkey_mails_overdue_seconds"), mails),
    ] {
        match overdue {
            Ok(overdue) => gauge.set(overdue.unwrap_or_default().as_secs_f64()),
            Err(error) => tracing::warn!(%error, "how long work is overdue is unknown"),
        }
    }
}

/// Finds what is due, each lane by itself: what keeps one from being swept keeps no other. Those of which there may be more
/// than there was room for.
async fn sweep(context: &Context, lanes: &[Lane]) -> Vec<Lane> {
    let mut more = Vec::new();
    for &lane in lanes {
        // While Redis is away rows stay as they are, and are found again within a sweep of its return.
        let Some(room) = room(context, lane).await else {
            continue;
        };
        match sweep_lane(context, lane, room).await {
            Ok(true) => more.push(lane),
            Ok(false) => {}
            Err(error) => tracing::warn!(lane = lane.as_str(), %error, "sweeping failed"),
        }
    }
    more
}

/// Fills the stream; whether it is full.
async fn sweep_lane(context: &Context, lane: Lane, mut room: usize) -> Result<bool, DbErr> {
    if room < LONG_STREAM / 2 {
        return Ok(true);
    }
    while room > 0 {
        let (limit, due) = match lane {
            Lane::Mail => (BATCH as usize, mail::work::sweep(context, BATCH).await?),
            // One statement for all: each walks past all that is queued.
            Lane::Fresh | Lane::Retry => (
                room,
                webhook::work::sweep(context, lane == Lane::Retry, room).await?,
            ),
        };
        push(context, lane, due.iter().copied(), &mut room);
        if due.len() < limit {
            return Ok(false);
        }
    }
    Ok(true)
}

/// How many more jobs the lane's stream takes; `None` while Redis is away.
async fn room(context: &Context, lane: Lane) -> Option<usize> {
    let prefix = &context.config.redis.key_prefix;
    let depth = queue::depth(&mut context.redis.connection(), prefix, lane).await;
    let Depth { lag, pending, length } = depth
        .inspect_err(|error| tracing::warn!(lane = lane.as_str(), %error, "the queue's depth is unknown"))
        .ok()?;
    for (state, jobs) in [("waiting", lag), ("running", pending)] {
        #[expect(clippy::cast_precision_loss, reason = "a gauge needs no more than 53 bits")]
        gauge!("latchkey_queue_jobs", "lane" => lane.as_str(), "state" => state).set(jobs as f64);
    }
    Some(LONG_STREAM.saturating_sub(length))
}

fn push(context: &Context, lane: Lane, ids: impl ExactSizeIterator<Item = uuid::Uuid>, room: &mut usize) {
    let jobs = ids.len();
    *room = room.saturating_sub(jobs);
    if jobs > 0 {
        context.queue.push(lane, ids);
        counter!("latchkey_sweep_queued_total", "lane" => lane.as_str()).increment(jobs as u64);
    }
}

async fn tell_expiring(context: &Context, shutdown: &CancellationToken) -> Result<(), Internal> {
    while !shutdown.is_cancelled() && api_key::tell_expiring(context, BATCH).await? >= u64::from(BATCH) {}
    Ok(())
}

async fn clear_away(context: &Context, shutdown: &CancellationToken) -> Result<(), DbErr> {
    while !shutdown.is_cancelled() && retention::delete_expired(context, BATCH).await? >= u64::from(BATCH) {}
    privacy::purge_tenants(context, BATCH, || shutdown.is_cancelled()).await?;
    Ok(())
}
