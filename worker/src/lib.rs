//! The worker: delivers webhooks and mail, seals the audit trail, finds again what was lost on the way, and clears away
//! what has expired.
//!
//! It keeps nothing of its own. What is due stands in PostgreSQL; Redis says what to look at next; and any
//! number of workers share both. Killed at any point, it loses nothing: its leases end, and another worker calls
//! with the same id and the same bytes.
//!
//! What must never happen: two workers that send one delivery at the same time; a job whose failure takes the
//! worker along; a call to an address inside the operator's network.

mod deliver;
mod fan_out;
mod history;
pub mod listener;
mod mail;
mod readiness;
mod seal;
mod sweep;

use std::{sync::Arc, time::Duration};

use latchkey_shared::{
    context::Context,
    queue::{self, ConsumerOptions, Job, Lane, QueueError},
};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub use self::{
    deliver::{DeliverError, Lookup, SystemLookup},
    mail::TransportError,
};

/// How much longer than the call a lease lasts: for the batches before and after it, and for clocks that differ.
const LEASE_MARGIN: Duration = Duration::from_secs(10);

/// So long jobs whose time is up may take to be given back, before they are left to their leases.
const GIVING_BACK: Duration = Duration::from_secs(5);

/// Why the worker could not start, or had to stop.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// The queue could not be set up.
    #[error("queue: {0}")]
    Queue(#[from] QueueError),
    /// The HTTP client could not be set up.
    #[error("webhooks: {0}")]
    Deliver(#[from] DeliverError),
    /// The mail transport could not be set up.
    #[error("mail: {0}")]
    Mail(#[from] TransportError),
    /// A part of the worker ended, or panicked.
    #[error("a part of the worker ended: {0}")]
    Ended(#[from] tokio::task::JoinError),
}

/// Works until `shutdown` is cancelled; then takes no new job, and lets those that run come to their end for as long
/// as `worker.drain` allows. Calls and mails that take longer are broken off and given back, so that another worker goes on
/// with them at once; what cannot be given back, its lease's end brings back.
///
/// # Errors
/// When a part cannot be set up, or ends by itself. Neither PostgreSQL nor Redis being away makes it end.
pub async fn run(context: Context, shutdown: CancellationToken) -> Result<(), WorkerError> {
    run_with(context, SystemLookup::default(), shutdown).await
}

/// As [`run`], with another way to resolve names.
///
/// # Errors
/// As [`run`].
pub async fn run_with(
    context: Context,
    lookup: impl Lookup,
    shutdown: CancellationToken,
) -> Result<(), WorkerError> {
    // Whoever drops this future ends what it started.
    let stop = shutdown.child_token();
    let _ended = stop.clone().drop_guard();
    let (drain, many) = (context.config.worker.drain, context.config.worker.concurrency);
    let (few, fewer) = (many.div_ceil(4), many.div_ceil(8));
    let mut parts = JoinSet::new();

    let (call, mail) = (context.config.webhooks.timeout, context.config.mail.timeout);
    let lanes = [(Lane::Fresh, many), (Lane::Retry, few)];
    let time_up = CancellationToken::new();
    let deliverer = Arc::new(deliver::Deliverer::new(&context, lookup, lanes, &time_up)?);
    for (lane, concurrency) in lanes {
        let deliverer = Arc::clone(&deliverer);
        let handler = move |job| {
            let deliverer = Arc::clone(&deliverer);
            async move { deliverer.handle(lane, job).await }
        };
        spawn_lane(&mut parts, &context, (lane, concurrency, call), &stop, handler)?;
    }
    let mailer = mail::Mailer::new(&context, &time_up)?;
    let handler = move |job| {
        let mailer = mailer.clone();
        async move { mailer.handle(job).await }
    };
    spawn_lane(&mut parts, &context, (Lane::Mail, fewer, mail), &stop, handler)?;
    parts.spawn(seal::run(context.clone(), stop.clone()));
    parts.spawn(fan_out::run(context.clone(), stop.clone()));
    parts.spawn(history::run(context.clone(), stop.clone()));
    parts.spawn(sweep::recover(context.clone(), stop.clone()));
    parts.spawn(sweep::clean(context.clone(), stop.clone()));
    parts.spawn(sweep::run(context, stop.clone()));

    let finished = async {
        let mut outcome = Ok(());
        while let Some(part) = parts.join_next().await {
            // One part less is no worker: the others come to their end as well, and whoever supervises the process
            // starts it anew.
            stop.cancel();
            outcome = outcome.and(part.map_err(WorkerError::from).flatten());
        }
        outcome
    };
    tokio::select! {
        ended = finished => ended,
        () = overdue(&stop, drain, &time_up) => {
            tracing::warn!("not every job was given back; their leases end");
            Ok(())
        }
    }
}

/// Works on a lane: so many jobs at once, each of which takes so long at most.
fn spawn_lane<Handler, Handled>(
    parts: &mut JoinSet<Result<(), WorkerError>>,
    context: &Context,
    (lane, concurrency, longest): (Lane, usize, Duration),
    stop: &CancellationToken,
    handler: Handler,
) -> Result<(), WorkerError>
where
    Handler: Fn(Job) -> Handled + Clone + Send + Sync + 'static,
    Handled: Future<Output = ()> + Send + 'static,
{
    // A job that waits here behind a full set of slow calls must not be taken for a dead worker's.
    let min_idle = lease_for(longest) * 2 + context.config.worker.drain;
    let options = ConsumerOptions {
        concurrency,
        min_idle,
        ..ConsumerOptions::default()
    };
    let consumer = queue::consume(&context.redis.queue_settings(), lane, options)?;
    let stop = stop.clone();
    parts.spawn(async move { Ok(queue::run(lane.as_str(), consumer, stop, handler).await?) });
    Ok(())
}

/// For so long nobody else takes over what a worker has claimed for a call that takes at most `call`.
fn lease_for(call: Duration) -> Duration {
    call + LEASE_MARGIN
}

/// Once the drain is over, has what still runs broken off and given back; ends when that takes too long as well.
async fn overdue(stop: &CancellationToken, drain: Duration, time_up: &CancellationToken) {
    stop.cancelled().await;
    tokio::time::sleep(drain).await;
    tracing::warn!(?drain, "jobs did not end in time; they are given back");
    time_up.cancel();
    tokio::time::sleep(GIVING_BACK).await;
}
