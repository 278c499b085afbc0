//! Signals: what every API process must know at once.
//!
//! A session that ends, an account or a tenant that changes: such a change writes a row into `signals` in its own
//! transaction. After the commit the signal is applied in this process, then appended to a stream in Redis
//! that the others follow. Each process also reads the newest rows twice a second, so that a crash between
//! commit and append, a flushed Redis or a lost connection delay a signal by half a second, and lose none.
//!
//! What must never happen: a process that has heard neither for two seconds and still trusts what it knows.

mod tail;

use std::{
    sync::{
        RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use redis::streams::StreamMaxlen;
use uuid::Uuid;

pub use self::tail::tail;
use crate::{id::TenantId, redis::Redis};

/// A process that has not heard for so long does not know what has been revoked.
const STALE_AFTER: Duration = Duration::from_secs(2);
/// A commit waits no longer than this for Redis: the rows reach everyone in any case.
const APPEND_TIMEOUT: Duration = Duration::from_millis(50);
const STREAM_LENGTH: usize = 100_000;

/// What a signal says of its subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SignalKind {
    /// The session has ended, and with it every access token that names it.
    SessionRevoked,
    /// The user's state, roles or permissions are others than before.
    AccountChanged,
    /// The tenant's state, domains or settings are others than before.
    TenantChanged,
    /// The role grants something else than before, or is gone.
    RoleChanged,
    /// The service account's state or roles are others than before, or it is gone.
    ServiceAccountChanged,
    /// The API key is revoked, replaced or changed.
    ApiKeyChanged,
}

impl SignalKind {
    const ALL: [Self; 6] = [
        Self::SessionRevoked,
        Self::AccountChanged,
        Self::TenantChanged,
        Self::RoleChanged,
        Self::ServiceAccountChanged,
        Self::ApiKeyChanged,
    ];

    /// The word in the database and in the stream.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SessionRevoked => "session_revoked",
            Self::AccountChanged => "account_changed",
            Self::TenantChanged => "tenant_changed",
            Self::RoleChanged => "role_changed",
            Self::ServiceAccountChanged => "service_account_changed",
            Self::ApiKeyChanged => "api_key_changed",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}

/// One signal. To apply it twice does no harm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signal {
    /// Whose it is.
    pub tenant: TenantId,
    /// What it says.
    pub kind: SignalKind,
    /// Of which session, user, tenant, role, service account or key.
    pub subject: Uuid,
}

type Listener = Box<dyn Fn(&Signal) + Send + Sync>;

/// Hands signals to whatever in this process must know of them, and tells how fresh that knowledge is.
pub struct Signals {
    listeners: RwLock<Vec<Listener>>,
    started: Instant,
    heard_millis: AtomicU64,
}

impl Default for Signals {
    fn default() -> Self {
        Self {
            listeners: RwLock::default(),
            started: Instant::now(),
            heard_millis: AtomicU64::new(0),
        }
    }
}

impl Signals {
    /// Calls `listener` with every signal from now on. It must be quick.
    pub fn listen(&self, listener: impl Fn(&Signal) + Send + Sync + 'static) {
        if let Ok(mut listeners) = self.listeners.write() {
            listeners.push(Box::new(listener));
        }
    }

    /// Whether this process knows what has been revoked up to two seconds ago.
    #[must_use]
    pub fn is_fresh(&self) -> bool {
        self.heard_millis.load(Ordering::Acquire) != 0 && self.unheard() < STALE_AFTER
    }

    /// For how long this process has heard nothing; since its start, where it never has.
    #[must_use]
    pub fn unheard(&self) -> Duration {
        let heard = Duration::from_millis(self.heard_millis.load(Ordering::Acquire));
        self.started.elapsed().saturating_sub(heard)
    }

    fn heard(&self) {
        let millis = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.heard_millis.store(millis.max(1), Ordering::Release);
    }

    fn apply(&self, signal: &Signal) {
        if let Ok(listeners) = self.listeners.read() {
            for listener in listeners.iter() {
                listener(signal);
            }
        }
    }

    /// Applies committed signals here, then tells the other processes.
    pub async fn publish(&self, redis: &Redis, signals: &[Signal]) {
        if signals.is_empty() {
            return;
        }
        for signal in signals {
            self.apply(signal);
        }
        let mut pipeline = redis::pipe();
        for Signal {
            tenant,
            kind,
            subject,
        } in signals
        {
            pipeline.xadd_maxlen(
                redis.keys.signals(),
                StreamMaxlen::Approx(STREAM_LENGTH),
                "*",
                &[
                    ("tenant", tenant.0.to_string()),
                    ("kind", kind.as_str().to_owned()),
                    ("subject", subject.to_string()),
                ],
            );
        }
        let appended =
            tokio::time::timeout(APPEND_TIMEOUT, pipeline.exec_async(&mut redis.connection())).await;
        if !matches!(appended, Ok(Ok(()))) {
            tracing::warn!(
                ?appended,
                "signals were not appended to the stream; others read them from PostgreSQL"
            );
        }
    }
}
