//! The history of webhooks: its days are made ahead, and dropped when they are old.
//!
//! Every worker does this, one at a time. It is apart from the sweep, because a day waits for the locks of whole tables
//! and comes again when it does not get them.

use std::time::Duration;

use latchkey_shared::{context::Context, partition, retention};
use metrics::gauge;
use sea_orm::DbErr;
use tokio_util::sync::CancellationToken;

use crate::WorkerError;

const INTERVAL: Duration = Duration::from_mins(10);
/// What could not be done is tried again so soon.
const RETRY: Duration = Duration::from_mins(1);
/// Rows deleted by one statement.
const BATCH: u32 = 1000;

/// Keeps the history until the shutdown. No failure ends it.
pub(crate) async fn run(context: Context, shutdown: CancellationToken) -> Result<(), WorkerError> {
    loop {
        let kept = shutdown.run_until_cancelled(keep(&context)).await;
        let pause = match kept {
            None => return Ok(()),
            Some(Ok(())) => INTERVAL,
            Some(Err(error)) => {
                tracing::warn!(%error, "the days of the history are made or dropped with the next run");
                RETRY
            }
        };
        if shutdown
            .run_until_cancelled(tokio::time::sleep(pause))
            .await
            .is_none()
        {
            return Ok(());
        }
    }
}

async fn keep(context: &Context) -> Result<(), DbErr> {
    partition::make_ahead(context).await?;
    while retention::end_history(context, BATCH).await? >= u64::from(BATCH) {}
    let outside = partition::rows_outside(context).await?;
    #[expect(clippy::cast_precision_loss, reason = "a few thousand at most")]
    gauge!("latchkey_rows_outside_partitions").set(outside as f64);
    if outside > 0 {
        tracing::warn!(
            rows = outside,
            "webhooks' rows lie in no day's partition: no worker made one in time, or a clock is far off"
        );
    }
    Ok(())
}
