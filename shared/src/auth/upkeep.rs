//! What an API process does beside its requests.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::Auth;

const FLUSH: Duration = Duration::from_secs(30);

/// Follows the file of signing keys and writes down when sessions were seen, until `stop`; what was seen by then is
/// written before it returns.
pub async fn upkeep(auth: Auth, stop: CancellationToken) {
    tokio::join!(auth.keys.watch(&stop), keep_seen(&auth, &stop));
}

async fn keep_seen(auth: &Auth, stop: &CancellationToken) {
    loop {
        let ended = stop
            .run_until_cancelled(tokio::time::sleep(FLUSH))
            .await
            .is_none();
        if let Err(error) = auth.seen.flush(&auth.context.postgres).await {
            tracing::warn!(%error, "when sessions were last seen could not be written");
        }
        if ended {
            return;
        }
    }
}
