//! Following the signals: the stream for speed, the rows for certainty.

use std::{collections::HashMap, sync::Arc, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use redis::{
    AsyncCommands, RedisError,
    aio::ConnectionManager,
    streams::{StreamRangeReply, StreamReadOptions, StreamReadReply},
};
use sea_orm::{DbErr, FromQueryResult, raw_sql};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{Signal, SignalKind, Signals};
use crate::{
    clock::Clock,
    id::TenantId,
    postgres::{CrossTenant, Postgres},
    redis::Redis,
};

const BLOCK: Duration = Duration::from_millis(500);
const POLL: Duration = Duration::from_millis(500);
/// Rows become visible when their transaction commits, not when they are stamped: look back further than a change lets
/// that be ago: one that took longer stamps them anew before it commits.
const OVERLAP: TimeDelta = TimeDelta::seconds(20);

/// Follows the signals until `shutdown`. Returns once everything that still matters has been applied, and goes
/// on in the background.
///
/// # Errors
/// When the database cannot be read at the start.
pub async fn tail(
    signals: Arc<Signals>,
    postgres: Postgres,
    redis: Redis,
    clock: Arc<dyn Clock>,
    shutdown: CancellationToken,
) -> Result<(), DbErr> {
    let mut rows = Rows {
        signals: Arc::clone(&signals),
        postgres,
        applied: HashMap::new(),
    };
    rows.read(DateTime::UNIX_EPOCH, clock.now()).await?;
    tokio::spawn(poll(rows, clock, shutdown.clone()));
    tokio::spawn(follow(signals, redis, shutdown));
    Ok(())
}

async fn poll(mut rows: Rows, clock: Arc<dyn Clock>, shutdown: CancellationToken) {
    // Everything up to the start was read by the caller; what was in flight then lies within the overlap.
    let mut since = clock.now();
    while shutdown
        .run_until_cancelled(tokio::time::sleep(POLL))
        .await
        .is_some()
    {
        let now = clock.now();
        match rows.read(since - OVERLAP, now).await {
            Ok(()) => since = now,
            Err(error) => tracing::warn!(%error, "signals could not be read from PostgreSQL"),
        }
    }
}

#[derive(FromQueryResult)]
struct Row {
    id: Uuid,
    tenant_id: TenantId,
    kind: String,
    subject_id: Uuid,
    created_at: DateTime<Utc>,
}

/// The rows, each of which is applied once.
struct Rows {
    signals: Arc<Signals>,
    postgres: Postgres,
    /// What was applied of the time that is read again.
    applied: HashMap<Uuid, DateTime<Utc>>,
}

impl Rows {
    /// Applies what was written since then and still matters.
    async fn read(&mut self, since: DateTime<Utc>, now: DateTime<Utc>) -> Result<(), DbErr> {
        let tx = self.postgres.cross_tenant(CrossTenant::Signals).await?;
        let rows = Row::find_by_statement(raw_sql!(
            Postgres,
            "SELECT id, tenant_id, kind, subject_id, created_at FROM signals
             WHERE created_at >= {since} AND expires_at > {now}"
        ))
        .all(&tx)
        .await?;
        self.applied.retain(|_, created_at| *created_at >= since);
        for row in rows {
            if self.applied.insert(row.id, row.created_at).is_some() {
                continue;
            }
            let Some(kind) = SignalKind::parse(&row.kind) else {
                tracing::debug!(kind = row.kind, "a newer version's signal is not understood");
                continue;
            };
            self.signals.apply(&Signal {
                tenant: row.tenant_id,
                kind,
                subject: row.subject_id,
            });
        }
        self.signals.heard();
        Ok(())
    }
}

async fn follow(signals: Arc<Signals>, redis: Redis, shutdown: CancellationToken) {
    let mut last = None;
    while !shutdown.is_cancelled() {
        let Some(ended) = shutdown
            .run_until_cancelled(read_stream(&signals, &redis, &mut last))
            .await
        else {
            return;
        };
        if let Err(error) = ended {
            tracing::warn!(%error, "the stream of signals was lost; PostgreSQL is read meanwhile");
        }
        shutdown.run_until_cancelled(tokio::time::sleep(BLOCK)).await;
    }
}

/// Reads on from `last`; where nothing was read yet, from the end.
async fn read_stream(signals: &Signals, redis: &Redis, last: &mut Option<String>) -> Result<(), RedisError> {
    let mut connection = redis.blocking_connection(BLOCK)?;
    let key = redis.keys.signals();
    let options = StreamReadOptions::default().block(500).count(1_000);
    loop {
        let from = match last {
            Some(id) => id.clone(),
            None => end(&mut connection, &key).await?,
        };
        let reply: Option<StreamReadReply> = connection.xread_options(&[&key], &[&from], &options).await?;
        signals.heard();
        *last = Some(from);
        for entry in reply
            .into_iter()
            .flat_map(|reply| reply.keys)
            .flat_map(|stream| stream.ids)
        {
            if let Some(signal) = parse(&entry) {
                signals.apply(&signal);
            }
            *last = Some(entry.id);
        }
    }
}

async fn end(connection: &mut ConnectionManager, key: &str) -> Result<String, RedisError> {
    let newest: StreamRangeReply = connection.xrevrange_count(key, "+", "-", 1).await?;
    Ok(newest
        .ids
        .into_iter()
        .next()
        .map_or_else(|| "0-0".to_owned(), |entry| entry.id))
}

fn parse(entry: &redis::streams::StreamId) -> Option<Signal> {
    let tenant = entry.get::<String>("tenant")?.parse().ok().map(TenantId)?;
    let kind = SignalKind::parse(&entry.get::<String>("kind")?)?;
    let subject = entry.get::<String>("subject")?.parse().ok()?;
    Some(Signal {
        tenant,
        kind,
        subject,
    })
}
