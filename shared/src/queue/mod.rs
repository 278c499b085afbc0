//! The job queue: Redis Streams behind apalis's own extension point, `BackendBuilder`.
//!
//! A job is an id and nothing else; `PostgreSQL` holds what the id stands for. Its way through Redis:
//!
//! 1. [`Producer`] appends it to its lane's stream (`XADD`, many to a pipeline);
//! 2. a worker's fetcher reads it for the one consumer group (`XREADGROUP`): it is now *pending*;
//! 3. the handler runs ([`run`]), and at its end the entry is acknowledged and deleted
//!    (`XACK` + `XDEL`, in batches);
//! 4. if that worker dies first, another takes the entry over (`XAUTOCLAIM`) once it has been
//!    pending for [`ConsumerOptions::min_idle`].
//!
//! So every job may run twice, and any job may be lost with Redis: handlers are idempotent, and a
//! sweep over `PostgreSQL` pushes again whatever is due.
//!
//! What must never happen: a request that waits for this queue; a Redis failure that ends a worker;
//! anything but an id in a stream.

mod ack;
mod backend;
mod depth;
mod entry;
mod fetch;
mod producer;
mod share;
mod sink;
mod takeover;
mod worker;

use std::time::Duration;

use crate::redis::keys;

pub use depth::{Depth, depth};
pub use producer::Producer;
pub use worker::{Consumer, consume, run};

/// The one consumer group of every stream: all workers share the work.
const GROUP: &str = "workers";

/// A stream of that length keeps every worker busy for a while. No burst makes it much longer.
pub const FULL_STREAM: usize = 1_000;

/// How long any single exchange with Redis may take, a read that waits for entries excepted.
const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(1);

/// A job: the id of the row to work on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Job(pub uuid::Uuid);

/// Kinds of jobs that must not wait for each other; each has its own stream and its own workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Lane {
    /// First attempts of webhook deliveries.
    Fresh,
    /// Later attempts: their endpoints are failing, and must not delay fresh events.
    Retry,
    /// Mail.
    Mail,
}

impl Lane {
    /// Every lane.
    pub const ALL: [Self; 3] = [Self::Fresh, Self::Retry, Self::Mail];

    /// The lane's name in keys, metrics and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fresh => "fresh",
            Self::Retry => "retry",
            Self::Mail => "mail",
        }
    }
}

/// The key of a lane's stream. The hash tag keeps all lanes in one slot of a Redis Cluster.
#[must_use]
pub fn stream_key(prefix: &str, lane: Lane) -> String {
    keys::queue(prefix, lane.as_str())
}

/// Where the queue lives.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The Redis server; connections are opened when first needed and again when lost.
    pub client: redis::Client,
    /// What every key begins with.
    pub prefix: String,
}

/// How a consumer reads its lane.
#[derive(Clone, Debug)]
pub struct ConsumerOptions {
    /// How many handlers run at a time.
    pub concurrency: usize,
    /// How long one read waits for entries; a graceful stop may take this long.
    pub block: Duration,
    /// How many entries one read takes at most. Entries that wait in this process for a free
    /// handler are never more than two batches, nor more than `concurrency`.
    pub batch: usize,
    /// How long an entry stays pending before another worker takes it over. Must be longer than
    /// the longest a job can wait and run, or jobs run twice at the same time.
    pub min_idle: Duration,
}

impl Default for ConsumerOptions {
    fn default() -> Self {
        Self {
            concurrency: 100,
            block: Duration::from_secs(1),
            batch: 256,
            min_idle: Duration::from_mins(2),
        }
    }
}

/// Why the queue could not be set up or had to end. Lost connections are not among the reasons:
/// they are waited out.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    /// Redis refused a command, or could not be reached.
    #[error("redis: {0}")]
    Redis(#[from] redis::RedisError),
    /// Redis did not answer in time.
    #[error("redis did not answer within {EXCHANGE_TIMEOUT:?}")]
    Timeout(#[from] tokio::time::error::Elapsed),
    /// apalis was given an incomplete backend.
    #[error("apalis backend: {0}")]
    Backend(#[from] apalis_core::backend::custom::BuildError),
    /// apalis could not run the worker.
    #[error("apalis worker: {0}")]
    Worker(#[from] apalis_core::error::WorkerError),
    /// The fetcher ended though nobody asked it to.
    #[error("the fetcher of lane {lane} ended", lane = .0.as_str())]
    FetcherEnded(Lane),
}
