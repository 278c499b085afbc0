//! The threads that hash passwords: a fixed number of them, a bounded queue before them.
//!
//! Hashing is made to be slow and to take memory. A flood of sign-ins must cost neither more memory than
//! `threads × memory_kib` nor the time of requests that hash nothing: the threads run at the lowest priority,
//! keep their memory, and whoever finds the queue full is told to come back.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::Instant,
};

use tokio::sync::oneshot;

use super::password::{HashError, Hasher, Memory, SALT_BYTES, Verdict};
use crate::{config, random, random::Random, secret::Secret};

/// Why no answer came from the pool.
#[derive(Debug, thiserror::Error)]
pub enum PoolError {
    /// As many passwords wait as may wait. Try again in a second.
    #[error("too many passwords are being hashed")]
    Busy,
    /// The hash failed.
    #[error(transparent)]
    Hash(#[from] HashError),
    /// The threads are gone: the process is shutting down.
    #[error("the hashing threads have stopped")]
    Stopped,
}

type Work = Box<dyn FnOnce(&mut Memory) + Send>;

/// A handle on the threads.
#[derive(Clone)]
pub struct HashPool {
    work: mpsc::Sender<Work>,
    waiting: Arc<AtomicUsize>,
    capacity: usize,
    hasher: Arc<Hasher>,
    dummy: Arc<str>,
}

impl HashPool {
    /// Starts the threads.
    ///
    /// # Errors
    /// When the settings are out of Argon2's range or a thread cannot start.
    pub fn start(settings: &config::Passwords) -> Result<Self, StartError> {
        count_refusals(0);
        let hasher = Hasher::new(settings)?;
        let (work, inbox) = mpsc::channel::<Work>();
        let inbox = Arc::new(std::sync::Mutex::new(inbox));
        for number in 0..settings.threads {
            let inbox = Arc::clone(&inbox);
            thread::Builder::new()
                .name(format!("hash-{number}"))
                .spawn(move || run(&inbox))?;
        }
        Ok(Self {
            work,
            waiting: Arc::default(),
            capacity: settings.threads + settings.queue,
            dummy: hasher.dummy()?.into(),
            hasher: Arc::new(hasher),
        })
    }

    /// The PHC string of a new password.
    ///
    /// # Errors
    /// [`PoolError::Busy`] at once when the queue is full.
    pub async fn hash(&self, password: Secret<String>, random: &dyn Random) -> Result<String, PoolError> {
        let salt: [u8; SALT_BYTES] = random::array(random);
        let hasher = Arc::clone(&self.hasher);
        self.run(move |memory| hasher.hash(&password, &salt, memory))
            .await
    }

    /// A PHC string that no password matches.
    ///
    /// # Errors
    /// When the parameters cannot be written.
    pub fn unusable(&self, random: &dyn Random) -> Result<String, HashError> {
        self.hasher.unusable(random)
    }

    /// The PHC string of a password, made like another one.
    ///
    /// # Errors
    /// [`PoolError::Busy`] at once when the queue is full.
    pub async fn hash_like(&self, password: Secret<String>, other: String) -> Result<String, PoolError> {
        let hasher = Arc::clone(&self.hasher);
        self.run(move |memory| hasher.hash_like(&password, &other, memory))
            .await
    }

    /// Compares the password with the PHC string. Without one it is compared with a dummy: the same work, and never
    /// a match.
    ///
    /// # Errors
    /// [`PoolError::Busy`] at once when the queue is full.
    pub async fn verify(&self, password: Secret<String>, phc: Option<String>) -> Result<Verdict, PoolError> {
        self.verify_beside(password, phc, None).await
    }

    /// As [`Self::verify`], with the decoy that the account may have: the only one that says [`Verdict::Decoy`].
    ///
    /// # Errors
    /// [`PoolError::Busy`] at once when the queue is full.
    pub async fn verify_beside(
        &self,
        password: Secret<String>,
        phc: Option<String>,
        decoy: Option<String>,
    ) -> Result<Verdict, PoolError> {
        let hasher = Arc::clone(&self.hasher);
        let exists = phc.is_some();
        let phc = phc.unwrap_or_else(|| self.dummy.to_string());
        let verdict = self
            .run(move |memory| hasher.verify(&password, &phc, decoy.as_deref(), memory))
            .await?;
        Ok(if exists { verdict } else { Verdict::Wrong })
    }

    async fn run<T: Send + 'static>(
        &self,
        hash: impl FnOnce(&mut Memory) -> Result<T, HashError> + Send + 'static,
    ) -> Result<T, PoolError> {
        let place = Place::take(&self.waiting, self.capacity)?;
        let (answer, answered) = oneshot::channel();
        let queued = Instant::now();
        let work = move |memory: &mut Memory| {
            let started = Instant::now();
            metrics::histogram!("latchkey_password_queue_seconds").record(started - queued);
            // A client that hung up is owed no hash.
            if !answer.is_closed() {
                let result = hash(memory);
                metrics::histogram!("latchkey_password_hash_seconds").record(started.elapsed());
                drop(answer.send(result));
            }
            drop(place);
        };
        self.work.send(Box::new(work)).map_err(|_| PoolError::Stopped)?;
        Ok(answered.await.map_err(|_| PoolError::Stopped)??)
    }
}

/// Why the pool did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Unusable settings.
    #[error(transparent)]
    Hash(#[from] HashError),
    /// The system gave no thread.
    #[error("a hashing thread did not start: {0}")]
    Thread(#[from] std::io::Error),
}

/// Also of none, so that the first one is seen as a rise.
fn count_refusals(refusals: u64) {
    metrics::counter!("latchkey_password_refusals_total").increment(refusals);
}

/// One of the places in the queue, given back when dropped.
struct Place(Arc<AtomicUsize>);

impl Place {
    fn take(waiting: &Arc<AtomicUsize>, capacity: usize) -> Result<Self, PoolError> {
        waiting
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |taken| {
                (taken < capacity).then_some(taken + 1)
            })
            .map_err(|_| {
                count_refusals(1);
                PoolError::Busy
            })?;
        Ok(Self(Arc::clone(waiting)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

fn run(inbox: &std::sync::Mutex<mpsc::Receiver<Work>>) {
    yield_to_requests();
    let mut memory = Memory::default();
    loop {
        let next = match inbox.lock() {
            Ok(inbox) => inbox.recv(),
            Err(_) => return,
        };
        let Ok(work) = next else { return };
        work(&mut memory);
    }
}

/// On Linux a niceness belongs to the thread. Elsewhere it would slow the whole process, so it is left alone.
fn yield_to_requests() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::setpriority_process(None, 19) {
        tracing::warn!(%error, "hashing threads keep the priority of request threads");
    }
}
