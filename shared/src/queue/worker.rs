//! Running handlers: the queue's backend under an apalis worker.
//!
//! What must never happen: a handler that panics takes the worker with it, or leaves its entry
//! pending. A panic counts as the handler's end; the sweep brings the job back if its row is still
//! due.

use std::{panic::AssertUnwindSafe, sync::Arc};

use apalis::layers::WorkerBuilderExt;
use apalis_core::{
    error::WorkerError,
    worker::{
        builder::WorkerBuilder,
        ext::{ack::AcknowledgementExt, parallelize::ParallelizeExt},
    },
};
use futures::FutureExt;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use uuid::Uuid;

use super::{
    ConsumerOptions, Job, Lane, QueueError, Settings,
    ack::{self, Acknowledger},
    backend::{Backend, Link, backend},
    fetch::Fetching,
    takeover,
};

/// One lane's consumer, ready to [`run`].
pub struct Consumer {
    backend: Backend,
    acknowledger: Acknowledger,
    link: Link,
    fetching: Fetching,
}

/// Sets up a consumer of `lane`. Needs a Tokio runtime; Redis need not be there yet.
///
/// # Errors
///
/// If the apalis backend cannot be set up.
#[expect(
    clippy::disallowed_methods,
    reason = "names a run of the process, which is no row with an id"
)]
pub fn consume(settings: &Settings, lane: Lane, options: ConsumerOptions) -> Result<Consumer, QueueError> {
    ack::count_failures(lane, 0);
    count_panics(lane, 0);
    let link = Link::new(settings, lane, Arc::default());
    let fetching = Fetching {
        options,
        consumer: Uuid::new_v4().to_string(),
        stop: CancellationToken::new(),
        tasks: TaskTracker::new(),
    };
    Ok(Consumer {
        backend: backend(link.clone(), Some(fetching.clone()))?,
        acknowledger: Acknowledger::new(link.clone()),
        link,
        fetching,
    })
}

/// Runs `handler` for every job of the consumer's lane until `shutdown` is cancelled.
///
/// Then no more is fetched, the handlers that run are waited for and acknowledged, jobs that were
/// fetched but not begun are handed back, and the consumer's name is removed from the group.
///
/// The handler owns its timeout. However it ends, its job is done as far as the queue is concerned.
///
/// # Errors
///
/// If apalis or the fetcher gave up, neither of which Redis can make them do.
pub async fn run<Handler, Handled>(
    name: &str,
    consumer: Consumer,
    shutdown: CancellationToken,
    handler: Handler,
) -> Result<(), QueueError>
where
    Handler: Fn(Job) -> Handled + Clone + Send + Sync + 'static,
    Handled: Future<Output = ()> + Send + 'static,
{
    let Consumer {
        backend,
        acknowledger,
        link,
        fetching,
    } = consumer;
    let Fetching {
        options,
        consumer,
        stop,
        tasks,
    } = fetching;
    let lane = link.lane;
    // From the outside in: a slot is held until the spawned task has run and acknowledged.
    let worker = WorkerBuilder::new(name)
        .backend(backend)
        .concurrency(options.concurrency.max(1))
        .parallelize(tokio::spawn)
        .ack_with(acknowledger)
        .build(move |job| guarded(handler.clone(), lane, job));

    let asked = shutdown.clone();
    let stopping = stop.clone();
    let ended = worker
        .run_until(async move {
            tokio::select! {
                () = asked.cancelled() => stopping.cancel(),
                () = stopping.cancelled() => {}
            }
            Ok::<(), WorkerError>(())
        })
        // Unboxed, the compiler cannot tell that this function's future is `Send`.
        .boxed()
        .await;

    stop.cancel();
    tasks.close();
    tasks.wait().await;
    if let Err(error) = takeover::leave(&link, &consumer).await {
        tracing::warn!(lane = lane.as_str(), %error, "could not leave in good order");
    }
    ended?;
    if shutdown.is_cancelled() {
        Ok(())
    } else {
        Err(QueueError::FetcherEnded(lane))
    }
}

async fn guarded<Handler, Handled>(handler: Handler, lane: Lane, job: Job)
where
    Handler: Fn(Job) -> Handled,
    Handled: Future<Output = ()>,
{
    // Safe to unwind: whatever the handler held is dropped with it.
    let outcome = AssertUnwindSafe(async { handler(job).await })
        .catch_unwind()
        .await;
    if outcome.is_err() {
        tracing::error!(lane = lane.as_str(), job = %job.0, "handler panicked");
        count_panics(lane, 1);
    }
}

/// Also of none, so that the first one is seen as a rise.
fn count_panics(lane: Lane, panics: u64) {
    metrics::counter!("latchkey_queue_handler_panics_total", "lane" => lane.as_str()).increment(panics);
}
