//! The fetching half of the backend: a task that reads a lane's stream, and the stream of tasks
//! that apalis polls.
//!
//! What must never happen: the stream ends or yields an error, for either ends the worker. The
//! fetcher instead logs, waits and begins a new session: a fresh connection, the consumer group
//! created if it is gone. It also never reads more than handlers are about to take.

use std::time::Duration;

use apalis_core::task::{Task, builder::TaskBuilder, task_id::TaskId};
use futures::{
    StreamExt,
    stream::{self, BoxStream},
};
use redis::aio::MultiplexedConnection;
use tokio::sync::mpsc;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    ConsumerOptions, GROUP, Job, QueueError, backend::Link, entry, entry::Entry, takeover::Takeover,
};

/// What apalis polls. The items are `Ok(Some(task))` without exception.
pub(super) type Deliveries = BoxStream<'static, Result<Option<Task<Job>>, QueueError>>;

const FIRST_BACKOFF: Duration = Duration::from_millis(100);
const LAST_BACKOFF: Duration = Duration::from_secs(2);

/// What a fetcher needs to know.
#[derive(Clone, Debug)]
pub(super) struct Fetching {
    pub(super) options: ConsumerOptions,
    /// This consumer's name within the group, unique to this run of the process.
    pub(super) consumer: String,
    /// Ends the fetcher after the read under way; cancelled by the fetcher should it ever end.
    pub(super) stop: CancellationToken,
    /// Where the fetcher runs, so that a graceful stop can wait for it.
    pub(super) tasks: TaskTracker,
}

/// Starts the fetcher and returns what it delivers.
pub(super) fn deliveries(link: &Link, fetching: &Fetching) -> Deliveries {
    let concurrency = fetching.options.concurrency.max(1);
    let batch = fetching.options.batch.clamp(1, concurrency.div_ceil(2));
    let (sender, receiver) = mpsc::channel(concurrency.min(2 * batch));
    let fetcher = Fetcher {
        takeover: Takeover::new(fetching),
        link: link.clone(),
        fetching: fetching.clone(),
        sender,
        batch,
        backoff: FIRST_BACKOFF,
    };
    fetching.tasks.spawn(fetcher.run());
    stream::unfold(receiver, async |mut receiver| {
        Some((receiver.recv().await?, receiver))
    })
    .map(|task| Ok(Some(task)))
    .chain(stream::pending())
    .boxed()
}

struct Fetcher {
    link: Link,
    fetching: Fetching,
    sender: mpsc::Sender<Task<Job>>,
    batch: usize,
    takeover: Takeover,
    backoff: Duration,
}

impl Fetcher {
    async fn run(mut self) {
        let stop = self.fetching.stop.clone();
        // Even a panic must not leave a worker behind that waits for a fetcher that is gone.
        let _ended = stop.clone().drop_guard();
        while let Err(error) = self.session().await {
            let (lane, wait) = (self.link.lane.as_str(), self.backoff);
            tracing::warn!(lane, %error, ?wait, "fetching jobs failed, trying again");
            self.backoff = LAST_BACKOFF.min(self.backoff * 2);
            if stop.run_until_cancelled(tokio::time::sleep(wait)).await.is_none() {
                return;
            }
        }
    }

    /// Reads until told to stop. Any error ends the session, `NOGROUP` after the stream was
    /// deleted among them: the next one begins by creating the group.
    async fn session(&mut self) -> Result<(), QueueError> {
        let block = self.fetching.options.block;
        let mut connection = self.link.connect(block).await?;
        create_group(&mut connection, &self.link.key).await?;
        while let Some(room) = self.room().await {
            let entries = if self.takeover.is_due() {
                self.takeover.entries(&self.link, room).await?
            } else {
                self.read(&mut connection, room).await?
            };
            self.backoff = FIRST_BACKOFF;
            self.hand_over(entries).await?;
        }
        Ok(())
    }

    /// Waits until a batch more may be read; `None` when it is time to end.
    async fn room(&self) -> Option<usize> {
        let room = self.sender.reserve_many(self.batch);
        self.fetching
            .stop
            .run_until_cancelled(room)
            .await?
            .ok()
            .map(|permits| permits.len())
    }

    async fn read(
        &self,
        connection: &mut MultiplexedConnection,
        count: usize,
    ) -> Result<Vec<Entry>, QueueError> {
        let reply: entry::Read = redis::cmd("XREADGROUP")
            .arg("GROUP")
            .arg(GROUP)
            .arg(&self.fetching.consumer)
            .arg("COUNT")
            .arg(count)
            .arg("BLOCK")
            // Zero would mean to wait for ever.
            .arg(self.fetching.options.block.as_millis().max(1))
            .arg("STREAMS")
            .arg(&self.link.key)
            .arg(">")
            .query_async(connection)
            .await?;
        Ok(entry::parse_read(reply))
    }

    /// Passes entries to apalis, and does away with those that are no jobs.
    async fn hand_over(&self, entries: Vec<Entry>) -> Result<(), QueueError> {
        let mut foreign = Vec::new();
        for Entry { id, job } in entries {
            match job {
                // There is room for it, see `room`; and if the worker is gone, the entry stays
                // pending for another.
                Some(job) => drop(self.sender.try_send(task(id, job))),
                None => foreign.push(id),
            }
        }
        if foreign.is_empty() {
            return Ok(());
        }
        tracing::warn!(lane = self.link.lane.as_str(), entries = ?foreign, "dropped: not a job");
        self.link.send(&entry::finish(&self.link.key, &foreign)).await
    }
}

/// The task's id is the entry's, which is what will be acknowledged.
fn task(entry: String, job: Job) -> Task<Job> {
    TaskBuilder::new(job).task_id(TaskId::from_string(entry)).build()
}

/// From the stream's beginning: what was pushed before the group came to be is work as well.
async fn create_group(connection: &mut MultiplexedConnection, key: &str) -> Result<(), QueueError> {
    let mut create = redis::cmd("XGROUP");
    create.arg("CREATE").arg(key).arg(GROUP).arg("0").arg("MKSTREAM");
    match create.query_async(connection).await {
        Err(error) if error.code() != Some("BUSYGROUP") => Err(error.into()),
        Ok(()) | Err(_) => Ok(()),
    }
}
