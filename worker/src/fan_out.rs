//! Spreads events over very many endpoints, a chunk at a time, and hardly faster than deliveries are worked off: what
//! one tenant's event brings does not stand before everybody else's. Nor is it kept waiting for ever by them.

use std::time::{Duration, Instant};

use latchkey_shared::{
    context::Context,
    outbox::fan_out,
    queue::{self, FULL_STREAM, Lane},
};
use metrics::counter;
use tokio_util::sync::CancellationToken;

use crate::WorkerError;

/// So soon a full stream is looked at again.
const ROOM_INTERVAL: Duration = Duration::from_millis(50);

/// Spreads until the shutdown. No failure ends it.
pub(crate) async fn run(context: Context, shutdown: CancellationToken) -> Result<(), WorkerError> {
    let mut last = None;
    loop {
        let pause = spread(&context, &shutdown, &mut last).await;
        if shutdown
            .run_until_cancelled(tokio::time::sleep(pause))
            .await
            .is_none()
        {
            return Ok(());
        }
    }
}

/// Spreads what there is while there is room; how long to wait then.
async fn spread(context: &Context, shutdown: &CancellationToken, last: &mut Option<Instant>) -> Duration {
    let sweep_interval = context.config.worker.sweep_interval;
    while !shutdown.is_cancelled() {
        let prefix = &context.config.redis.key_prefix;
        match queue::depth(&mut context.redis.connection(), prefix, Lane::Fresh).await {
            Ok(depth)
                // No more than a chunk is added to a full stream for each sweep.
                if depth.length >= FULL_STREAM && last.is_some_and(|at| at.elapsed() < sweep_interval) =>
            {
                return ROOM_INTERVAL;
            }
            Ok(_) => {}
            // Said by the sweep. What waits, waits in PostgreSQL.
            Err(_) => break,
        }
        match fan_out::step(context).await {
            Ok(Some(deliveries)) => {
                *last = Some(Instant::now());
                counter!("latchkey_fan_out_deliveries_total").increment(deliveries as u64);
                // What was pushed shows in the stream's length from here on.
                context.queue.flush().await;
            }
            Ok(None) => break,
            Err(error) => {
                tracing::warn!(%error, "an event was not spread; it is tried again");
                break;
            }
        }
    }
    sweep_interval
}
