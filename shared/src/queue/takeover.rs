//! What consumers leave behind: entries of dead ones are taken over, forgotten names are removed,
//! and a consumer that stops in good order hands back what it has not run.
//!
//! What must never happen: a consumer removed while entries are pending under its name. Redis would
//! forget them with it, though the sweep would push their jobs once more.

use redis::{
    Value,
    streams::{StreamInfoConsumer, StreamInfoConsumersReply},
};
use tokio::time::{Duration, Instant};

use super::{
    GROUP, QueueError,
    backend::Link,
    entry::{self, Entry},
    fetch::Fetching,
};

/// Where `XAUTOCLAIM` begins, and what it returns when it has seen everything.
const BEGINNING: &str = "0-0";

/// The least time between two rounds, during which reading goes on.
const PAUSE: Duration = Duration::from_millis(100);

/// How many entries are handed back at a time.
const HAND_BACK: usize = 1000;

/// The round through the group's pending entries that every fetcher makes now and then.
pub(super) struct Takeover {
    consumer: String,
    min_idle: Duration,
    cursor: String,
    next: Instant,
}

impl Takeover {
    pub(super) fn new(fetching: &Fetching) -> Self {
        Self {
            consumer: fetching.consumer.clone(),
            min_idle: fetching.options.min_idle,
            cursor: BEGINNING.to_owned(),
            next: Instant::now(),
        }
    }

    /// Whether it is time for a round, or one is under way.
    pub(super) fn is_due(&self) -> bool {
        Instant::now() >= self.next
    }

    /// Takes over at most `count` entries that have been pending for too long.
    pub(super) async fn entries(&mut self, link: &Link, count: usize) -> Result<Vec<Entry>, QueueError> {
        if self.cursor == BEGINNING {
            self.remove_forgotten(link).await?;
        }
        let mut claim = redis::pipe();
        claim
            .cmd("XAUTOCLAIM")
            .arg(&link.key)
            .arg(GROUP)
            .arg(&self.consumer)
            .arg(self.min_idle.as_millis())
            .arg(&self.cursor)
            .arg("COUNT")
            .arg(count);
        // Newer servers add a third element, the ids of entries that no longer exist.
        let (mut reply,): (Vec<Value>,) = link.exchange(&claim).await?;
        reply.truncate(2);
        let (cursor, entries): (String, Vec<Value>) =
            redis::from_redis_value(Value::Array(reply)).map_err(redis::RedisError::from)?;
        if cursor == BEGINNING {
            self.next = Instant::now() + PAUSE.max(self.min_idle / 4);
        }
        self.cursor = cursor;
        let entries = entry::parse(entries);
        if !entries.is_empty() {
            let (lane, jobs) = (link.lane.as_str(), entries.len());
            tracing::info!(lane, jobs, "took over jobs of a worker that did not finish them");
        }
        Ok(entries)
    }

    /// A consumer at work has something pending or has read within the block time; one with
    /// neither is the name of a process that is gone.
    async fn remove_forgotten(&self, link: &Link) -> Result<(), QueueError> {
        let mut names = Vec::new();
        for StreamInfoConsumer { name, pending, idle } in consumers(link).await? {
            let idle = Duration::from_millis(idle as u64);
            if name != self.consumer && pending == 0 && idle > self.min_idle {
                names.push(name);
            }
        }
        remove(link, &names).await
    }
}

/// Pushes what is still pending for `consumer` again, for others to take at once instead of after
/// `min_idle`, and removes the consumer. Only for one that reads no more.
pub(super) async fn leave(link: &Link, consumer: &str) -> Result<(), QueueError> {
    loop {
        let entries = own_pending(link, consumer).await?;
        if entries.is_empty() {
            break;
        }
        tracing::info!(
            lane = link.lane.as_str(),
            jobs = entries.len(),
            "handing back jobs"
        );
        let jobs = entries.iter().filter_map(|entry| entry.job);
        // Appended first: a job may be there twice for a moment, but not missing.
        link.send(&entry::append(&link.key, jobs)).await?;
        let ids: Vec<_> = entries.into_iter().map(|entry| entry.id).collect();
        link.send(&entry::finish(&link.key, &ids)).await?;
    }
    let done = |own: &StreamInfoConsumer| own.name == consumer && own.pending == 0;
    if consumers(link).await?.iter().any(done) {
        remove(link, &[consumer.to_owned()]).await?;
    }
    Ok(())
}

async fn remove(link: &Link, consumers: &[String]) -> Result<(), QueueError> {
    let mut remove = redis::pipe();
    for consumer in consumers {
        remove
            .cmd("XGROUP")
            .arg("DELCONSUMER")
            .arg(&link.key)
            .arg(GROUP)
            .arg(consumer)
            .ignore();
    }
    link.send(&remove).await
}

/// Reading from a definite id instead of `>` gives a consumer's own pending entries.
async fn own_pending(link: &Link, consumer: &str) -> Result<Vec<Entry>, QueueError> {
    let mut read = redis::pipe();
    read.cmd("XREADGROUP")
        .arg("GROUP")
        .arg(GROUP)
        .arg(consumer)
        .arg("COUNT")
        .arg(HAND_BACK)
        .arg("STREAMS")
        .arg(&link.key)
        .arg("0");
    let (reply,): (entry::Read,) = link.exchange(&read).await?;
    Ok(entry::parse_read(reply))
}

async fn consumers(link: &Link) -> Result<Vec<StreamInfoConsumer>, QueueError> {
    let mut info = redis::pipe();
    info.cmd("XINFO").arg("CONSUMERS").arg(&link.key).arg(GROUP);
    let (reply,): (StreamInfoConsumersReply,) = link.exchange(&info).await?;
    Ok(reply.consumers)
}
