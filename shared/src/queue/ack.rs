//! Acknowledgement: when a handler has ended, its entry is taken off the stream, together with
//! those of all handlers that ended meanwhile.
//!
//! A handler's slot is held until its entry is off, so acknowledgements never pile up, and once all
//! handlers have ended everything is acknowledged. If Redis fails, the entry stays pending, is taken
//! over later and the job runs again.

use std::convert::Infallible;

use apalis_core::{error::BoxDynError, task::ExecutionContext, worker::ext::ack::Acknowledge};
use futures::{FutureExt, future::BoxFuture};

use super::{Lane, backend::Link, entry};
use crate::batch::Batcher;

/// The most entries in one exchange, and how many exchanges may be under way.
const BATCH: usize = 1000;
const PARALLELISM: usize = 2;

/// Takes finished jobs off a lane's stream.
#[derive(Clone, Debug)]
pub(super) struct Acknowledger {
    entries: Batcher<String, ()>,
}

impl Acknowledger {
    /// Must be called within a Tokio runtime.
    pub(super) fn new(link: Link) -> Self {
        let finish = move |ids: Vec<String>| finish(link.clone(), ids);
        Self {
            entries: Batcher::new(BATCH, PARALLELISM, finish),
        }
    }
}

impl Acknowledge<()> for Acknowledger {
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<(), Infallible>>;

    fn ack(&mut self, _: &Result<(), BoxDynError>, context: &ExecutionContext) -> Self::Future {
        let entries = self.entries.clone();
        let entry = context.task_id().map(ToString::to_string);
        async move {
            if let Some(entry) = entry {
                entries.submit(entry).await;
            }
            Ok(())
        }
        .boxed()
    }
}

async fn finish(link: Link, ids: Vec<String>) -> Vec<()> {
    let finished = link.send(&entry::finish(&link.key, &ids)).await;
    if let Err(error) = finished {
        let (lane, jobs) = (link.lane.as_str(), ids.len());
        tracing::warn!(lane, jobs, %error, "acknowledging failed, the jobs will run again");
        count_failures(link.lane, jobs);
    }
    vec![(); ids.len()]
}

/// Also of none, so that the first one is seen as a rise.
pub(super) fn count_failures(lane: Lane, jobs: usize) {
    metrics::counter!("latchkey_queue_ack_failures_total", "lane" => lane.as_str()).increment(jobs as u64);
}
