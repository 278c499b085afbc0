//! The keys that sign and verify access tokens, and their change while the process runs.
//!
//! Where the keys come from a file, it is read every second, and at once when a token names a key that is not
//! known: another process may have read a new one already and signed with it. A file with a fault changes
//! nothing; the keys that were read before stay in use.

use std::{path::PathBuf, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use chrono::{DateTime, Utc};
use tokio::{sync::Mutex, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::{
    config,
    crypto::{
        jwt::{Claims, Grant, JwtRing, TokenFault},
        signing::{PublicKey, SigningRing},
    },
    error::Internal,
    secret::Secret,
};

const POLL: Duration = Duration::from_secs(1);
/// However many unknown keys tokens name, the file is not read more often than this.
const PAUSE: Duration = Duration::from_millis(100);

/// The token is not one of ours, or its time is over.
#[derive(Debug, thiserror::Error)]
#[error("the access token is not valid")]
pub(super) struct InvalidToken;

/// The ring in use. Reading it takes no lock.
pub(super) struct Keys {
    ring: ArcSwap<JwtRing>,
    settings: config::Tokens,
    file: Option<Mutex<KeyFile>>,
}

struct KeyFile {
    path: PathBuf,
    read_at: Option<Instant>,
    /// What it held when it was last read; or that it could not be read.
    text: Option<Secret<String>>,
}

impl Keys {
    pub(super) fn new(settings: &config::Tokens, ring: &SigningRing) -> Self {
        let file = settings.keys_file.clone().map(|path| KeyFile {
            path,
            read_at: None,
            text: Some(ring.text()),
        });
        Self {
            ring: ArcSwap::from_pointee(JwtRing::new(settings, ring)),
            settings: settings.clone(),
            file: file.map(Mutex::new),
        }
    }

    pub(super) fn sign(&self, grant: &Grant) -> Result<Secret<String>, Internal> {
        Ok(self.ring.load().sign(grant)?)
    }

    /// What a token says, once it is proven to be ours and of its time.
    pub(super) async fn verify(&self, token: &str, now: DateTime<Utc>) -> Result<Claims, InvalidToken> {
        let verified = self.ring.load().verify(token, now);
        if verified == Err(TokenFault::UnknownKey) && self.file.is_some() {
            self.read_again(Instant::now()).await;
            return self.ring.load().verify(token, now).map_err(|_| InvalidToken);
        }
        verified.map_err(|_| InvalidToken)
    }

    /// What may be published, by `kid`.
    pub(super) fn public(&self) -> Vec<(String, PublicKey)> {
        self.ring.load().public_keys().to_vec()
    }

    /// Follows the file until `stop`.
    pub(super) async fn watch(&self, stop: &CancellationToken) {
        if self.file.is_none() {
            return;
        }
        while stop.run_until_cancelled(tokio::time::sleep(POLL)).await.is_some() {
            self.read_again(Instant::now()).await;
        }
    }

    /// Reads the file, unless that was done since `asked_at`: who asks while it is being read waits for it.
    async fn read_again(&self, asked_at: Instant) {
        let Some(file) = &self.file else { return };
        let mut file = file.lock().await;
        if let Some(read_at) = file.read_at {
            if read_at > asked_at {
                return;
            }
            tokio::time::sleep_until(read_at + PAUSE).await;
        }
        file.read_at = Some(Instant::now());
        let text = match tokio::fs::read_to_string(&file.path).await {
            Ok(text) => text,
            Err(error) => {
                if file.text.take().is_some() {
                    tracing::error!(%error, path = %file.path.display(), "the signing keys cannot be read again");
                }
                return;
            }
        };
        if file.text.as_ref().is_some_and(|known| *known.expose() == text) {
            return;
        }
        match SigningRing::parse(&text) {
            Ok(ring) => {
                tracing::info!(
                    kid = ring.current().id,
                    keys = ring.iter().count(),
                    "signing keys were read"
                );
                self.ring.store(Arc::new(JwtRing::new(&self.settings, &ring)));
            }
            Err(faults) => {
                tracing::error!(?faults, path = %file.path.display(), "the new signing keys are not used");
            }
        }
        file.text = Some(Secret::new(text));
    }
}
