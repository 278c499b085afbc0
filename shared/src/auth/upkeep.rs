//! What an API process does beside its requests.

use std::{ops::ControlFlow, time::Duration};

use tokio_util::sync::CancellationToken;

use super::Auth;

const FLUSH: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(500);

/// Follows the file of signing keys and writes down when sessions were seen, what tenants did and how keys were used,
/// until `stop`; what was by then is written before it returns.
pub async fn upkeep(auth: Auth, stop: CancellationToken) {
    tokio::join!(
        auth.keys.watch(&stop),
        write_down(&auth, &stop),
        keep_key_usage(&auth, &stop)
    );
}

/// Writes down how keys were used; the first use of one at once.
async fn keep_key_usage(auth: &Auth, stop: &CancellationToken) {
    loop {
        let next = tokio::select! {
            () = stop.cancelled() => ControlFlow::Break(()),
            () = tokio::time::sleep(FLUSH) => ControlFlow::Continue(()),
            () = auth.key_usage.first_use() => ControlFlow::Continue(()),
        };
        if let Err(error) = auth.key_usage.flush(&auth.context.postgres).await {
            tracing::warn!(%error, "how keys were used could not be written");
        }
        if next.is_break() {
            return;
        }
        // However many keys are used for the first time, they are written together.
        stop.run_until_cancelled(tokio::time::sleep(PAUSE)).await;
    }
}

async fn write_down(auth: &Auth, stop: &CancellationToken) {
    loop {
        let ended = stop
            .run_until_cancelled(tokio::time::sleep(FLUSH))
            .await
            .is_none();
        if let Err(error) = auth.seen.flush(&auth.context.postgres).await {
            tracing::warn!(%error, "when sessions were last seen could not be written");
        }
        if let Err(error) = auth.context.usage.flush(&auth.context.postgres).await {
            tracing::warn!(%error, "what tenants did is written with the next batch");
        }
        if ended {
            return;
        }
    }
}
