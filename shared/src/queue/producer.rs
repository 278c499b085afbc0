//! The producer: takes ids from requests and writes them to Redis behind their back.
//!
//! What must never happen: a caller that waits for Redis, or fails with it. A full channel and a
//! failed write are counted and logged, nothing more: the sweep pushes again what was lost.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use apalis_core::backend::TaskSink;
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use super::{
    Job, Lane, QueueError, Settings,
    backend::{Backend, Link, backend},
    share::Shares,
    sink::PIPELINE,
};
use crate::id::TenantId;

/// How many ids may wait to be written; a quarter of a second's worth.
const CAPACITY: usize = 65_536;

enum Message {
    Push(Lane, Uuid),
    Flush(oneshot::Sender<()>),
}

/// Pushes jobs. Cheap to clone; all clones share one writing task.
#[derive(Clone, Debug)]
pub struct Producer {
    messages: mpsc::Sender<Message>,
    /// Ids refused since the writing task last looked; it logs them, so that a flood of refusals
    /// is not a flood of log lines.
    refused: Arc<AtomicUsize>,
    shares: Arc<Shares>,
}

impl Producer {
    /// Starts the writing task, which ends when the last clone of the producer is gone. Needs a
    /// Tokio runtime; Redis need not be there yet.
    ///
    /// # Errors
    ///
    /// If the apalis backend cannot be set up.
    pub fn new(settings: &Settings) -> Result<Self, QueueError> {
        let (messages, receiver) = mpsc::channel(CAPACITY);
        let refused = Arc::new(AtomicUsize::new(0));
        let shares = Arc::new(Shares::default());
        let lanes = Lane::ALL
            .into_iter()
            .map(|lane| {
                // Only first attempts are shared out.
                let shares = if lane == Lane::Fresh {
                    Arc::clone(&shares)
                } else {
                    Arc::default()
                };
                LaneWriter::new(settings, lane, shares)
            })
            .collect::<Result<_, _>>()?;
        tokio::spawn(write(receiver, lanes, Arc::clone(&refused)));
        Ok(Self {
            messages,
            refused,
            shares,
        })
    }

    /// Hands ids over to be pushed, and returns at once. Call it after the commit that made the
    /// rows visible.
    pub fn push(&self, lane: Lane, ids: impl IntoIterator<Item = Uuid>) {
        let refused = ids
            .into_iter()
            .filter(|id| self.messages.try_send(Message::Push(lane, *id)).is_err())
            .count();
        if refused > 0 {
            count_failures(lane, refused);
            self.refused.fetch_add(refused, Ordering::Relaxed);
        }
    }

    /// Whether first attempts of the tenant may be pushed now. Where they may not, the sweep pushes them when there is room.
    #[must_use]
    pub fn admits(&self, tenant: TenantId) -> bool {
        self.shares.admit(tenant, Instant::now())
    }

    /// Counts what is about to be pushed as the tenant's.
    pub fn charge(&self, tenant: TenantId, jobs: usize) {
        self.shares.charge(tenant, jobs, Instant::now());
    }

    /// Waits until every id pushed before this call has been written, or lost. For shutdown.
    pub async fn flush(&self) {
        let (done, flushed) = oneshot::channel();
        if self.messages.send(Message::Flush(done)).await.is_ok() {
            // Without a writing task there is nothing left to wait for.
            let _ = flushed.await;
        }
    }
}

/// Writes whatever has gathered, lane by lane, until all producers are gone. While one write is
/// under way the next one gathers.
async fn write(mut messages: mpsc::Receiver<Message>, mut lanes: Vec<LaneWriter>, refused: Arc<AtomicUsize>) {
    let mut gathered = Vec::new();
    while messages.recv_many(&mut gathered, PIPELINE).await > 0 {
        let mut flushes = Vec::new();
        for message in gathered.drain(..) {
            match message {
                Message::Push(lane, id) => {
                    lanes
                        .iter_mut()
                        .filter(|l| l.lane == lane)
                        .for_each(|l| l.jobs.push(Job(id)));
                }
                Message::Flush(done) => flushes.push(done),
            }
        }
        for lane in &mut lanes {
            lane.write().await;
        }
        for done in flushes {
            // Whoever asked may have stopped waiting.
            let _ = done.send(());
        }
        let refused = refused.swap(0, Ordering::Relaxed);
        if refused > 0 {
            tracing::warn!(
                jobs = refused,
                "push refused, too many jobs are waiting to be written"
            );
        }
    }
}

struct LaneWriter {
    lane: Lane,
    backend: Backend,
    jobs: Vec<Job>,
}

impl LaneWriter {
    fn new(settings: &Settings, lane: Lane, shares: Arc<Shares>) -> Result<Self, QueueError> {
        count_failures(lane, 0);
        Ok(Self {
            lane,
            backend: backend(Link::new(settings, lane, shares), None)?,
            jobs: Vec::new(),
        })
    }

    async fn write(&mut self) {
        if self.jobs.is_empty() {
            return;
        }
        let jobs = std::mem::take(&mut self.jobs);
        let count = jobs.len();
        if let Err(error) = self.backend.push_bulk(jobs).await {
            tracing::warn!(lane = self.lane.as_str(), jobs = count, %error, "push failed");
            count_failures(self.lane, count);
        }
    }
}

/// Also of none, so that the first one is seen as a rise.
fn count_failures(lane: Lane, jobs: usize) {
    metrics::counter!("latchkey_queue_push_failures_total", "lane" => lane.as_str()).increment(jobs as u64);
}
