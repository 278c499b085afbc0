//! Everything a test needs of the world.

use std::{path::Path, sync::Arc};

use latchkey_shared::{
    config::{Config, Process, Source},
    context::Context,
    random::OsRandom,
};
use tempfile::TempDir;
use uuid::Uuid;

use crate::{clock::TestClock, template};

/// A database, a corner of Redis and a directory for mails, of one test alone.
pub struct TestBed {
    /// What the services under test work with.
    pub context: Context,
    /// Moves the context's time.
    pub clock: Arc<TestClock>,
    /// The database as the owner of its tables.
    pub owner_url: String,
    /// Where mails land as `.eml` files.
    pub mails: TempDir,
    settings: Vec<(String, String)>,
}

impl TestBed {
    /// A fresh bed with the default settings of a test: cheap hashes, quick schedules.
    pub async fn new() -> Self {
        Self::with(&[]).await
    }

    /// A fresh bed with some settings changed, as `("tokens.access_ttl", "2")`.
    pub async fn with(changes: &[(&str, &str)]) -> Self {
        let database = template::clone().await;
        let mails = tempfile::tempdir().unwrap();
        let settings = settings(&database.app_url, mails.path(), changes);
        let clock = Arc::new(TestClock::default());
        let context = open(read(&settings), &clock).await;
        Self {
            context,
            clock,
            owner_url: database.owner_url,
            mails,
            settings,
        }
    }

    /// Another process on the same database and Redis: same settings and clock, connections and memory of its own.
    pub async fn another_process(&self) -> Context {
        open(read(&self.settings), &self.clock).await
    }

    /// The settings as environment variables, for a process that is started for real.
    #[must_use]
    pub fn environment(&self) -> Vec<(String, String)> {
        let name = |key: &str| format!("LATCHKEY__{}", key.to_uppercase().replace('.', "__"));
        self.settings
            .iter()
            .map(|(key, value)| (name(key), value.clone()))
            .collect()
    }

    /// Has all that was written so far on disk, so that nothing of it is written later.
    pub async fn checkpoint(&self) {
        template::checkpoint().await;
    }

    /// The test database's address for the application's role.
    #[must_use]
    pub fn app_url(&self) -> String {
        self.context.config.postgres.url.expose().clone()
    }
}

/// How large a proof is: short in every run, full under `./dev prove`.
pub struct Prove;

impl Prove {
    /// The size that fits the run.
    #[must_use]
    pub fn size<T>(short: T, full: T) -> T {
        if Self::is_full() { full } else { short }
    }

    /// Whether this is `./dev prove`.
    #[must_use]
    pub fn is_full() -> bool {
        std::env::var("LATCHKEY_PROVE").is_ok_and(|size| size == "full")
    }
}

/// The settings of a test that needs no database.
#[must_use]
pub fn config(changes: &[(&str, &str)]) -> Config {
    read(&settings(
        "postgres://nobody@127.0.0.1:1/none",
        Path::new("/nonexistent"),
        changes,
    ))
}

fn settings(app_url: &str, mails: &Path, changes: &[(&str, &str)]) -> Vec<(String, String)> {
    let redis = std::env::var("LATCHKEY_TEST_REDIS_URL")
        .expect("LATCHKEY_TEST_REDIS_URL names a Redis server; `./dev test` sets it");
    let mut settings = vec![
        ("server.environment", "development".to_owned()),
        ("server.public_url", "https://id.example.test".to_owned()),
        ("server.listen", "127.0.0.1:0".to_owned()),
        ("server.metrics_listen", "127.0.0.1:0".to_owned()),
        ("tenancy.base_domain", "example.test".to_owned()),
        ("postgres.url", app_url.to_owned()),
        ("postgres.max_connections", "8".to_owned()),
        ("redis.url", redis),
        ("redis.key_prefix", format!("test-{}", Uuid::new_v4().simple())),
        ("passwords.memory_kib", "64".to_owned()),
        ("passwords.iterations", "1".to_owned()),
        ("passwords.queue", "1000".to_owned()),
        (
            "tokens.keys",
            "k1:MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=".to_owned(),
        ),
        (
            "secrets.data_keys",
            "1:ZmVkY2JhOTg3NjU0MzIxMGZlZGNiYTk4NzY1NDMyMTA=".to_owned(),
        ),
        ("mail.transport", "file".to_owned()),
        ("mail.directory", mails.display().to_string()),
        ("mail.from", "Latchkey <no-reply@example.test>".to_owned()),
        ("webhooks.allowed_cidrs", "127.0.0.0/8".to_owned()),
        ("worker.metrics_listen", "127.0.0.1:0".to_owned()),
        ("worker.sweep_interval", "0.1".to_owned()),
        ("log.format", "text".to_owned()),
    ];
    for (key, value) in changes {
        // A secret and the file that holds it are one setting.
        let name = key.strip_suffix("_file").unwrap_or(key);
        settings.retain(|(known, _)| *known != name && known != key);
        settings.push((key, (*value).to_owned()));
    }
    settings
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value))
        .collect()
}

fn read(settings: &[(String, String)]) -> Config {
    let name = |key: &str| format!("LATCHKEY__{}", key.replace('.', "__"));
    let env = settings.iter().map(|(key, value)| (name(key), value.clone()));
    Config::read(Process::Api, Source::new(None, env)).unwrap()
}

async fn open(config: Config, clock: &Arc<TestClock>) -> Context {
    Context::open(config, Arc::clone(clock) as _, Arc::new(OsRandom::new()))
        .await
        .unwrap()
}
