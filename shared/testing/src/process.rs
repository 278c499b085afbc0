//! Real processes: the binaries, started as an operator would, killed as a machine would.

use std::{
    ffi::OsStr,
    fs::File,
    io::{BufRead, BufReader},
    net::TcpListener,
    path::{Path, PathBuf},
    process::Stdio,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use tokio::{
    process::{Child, Command},
    time::{Instant, sleep},
};

use crate::TestBed;

/// How long a process may take until it is ready.
const START: Duration = Duration::from_secs(30);

/// A running `latchkey-api` or `latchkey-worker`. Dropped, it is killed.
pub struct RealProcess {
    child: Child,
    /// Where the API answers; of a worker, where its metrics are.
    pub base_url: String,
    /// Where its metrics are.
    pub metrics_url: String,
    /// What it has printed.
    pub log: PathBuf,
    /// The same, also once the directory is gone.
    canary: File,
}

/// What a secret looks like, with the fewest characters that have to follow: shown hints and examples have fewer.
const SECRETS: &[(&str, &str, usize)] = &[
    ("an API key", "lk_live_", 40),
    ("an API key", "lk_test_", 40),
    ("a refresh token", "lkr_", 40),
    ("a mailed token", "lko_", 40),
    ("the token of a first factor", "lkm_", 40),
    ("the token of a device", "lkd_", 40),
    ("the secret of an endpoint", "whsec_", 40),
    ("an access token", "eyJ", 100),
    ("the hash of a password", "$argon2", 30),
    ("the hash of a password", "$2b$", 40),
];

/// The kind of secret that the line holds, if it does.
fn secret_in(line: &str) -> Option<&'static str> {
    let belongs = |c: &char| c.is_ascii_alphanumeric() || "-_.+/=$,".contains(*c);
    SECRETS.iter().find_map(|(kind, prefix, least)| {
        let follow = |(at, _): (usize, &str)| line[at + prefix.len()..].chars().take_while(belongs).count();
        line.match_indices(prefix)
            .any(|found| follow(found) >= *least)
            .then_some(*kind)
    })
}

impl Drop for RealProcess {
    /// Whatever a test does to a process, no secret may be in its log.
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        for (number, line) in BufReader::new(&self.canary).split(b'\n').enumerate() {
            let line = line.unwrap();
            if let Some(kind) = secret_in(&String::from_utf8_lossy(&line)) {
                panic!("s35: line {} of {} holds {kind}", number + 1, self.log.display());
            }
        }
    }
}

impl RealProcess {
    /// Starts an API server and waits until it is ready.
    pub async fn api(bed: &TestBed) -> Self {
        Self::api_with(bed, &[]).await
    }

    /// As [`Self::api`], with settings of its own, as `("server.trusted_proxies", "127.0.0.1")`.
    pub async fn api_with(bed: &TestBed, changes: &[(&str, &str)]) -> Self {
        let (listen, metrics) = (free_port(), free_port());
        let mut process = start(
            "latchkey-api",
            bed,
            changes,
            &[],
            &[("server.listen", listen), ("server.metrics_listen", metrics)],
        );
        process.base_url = url(listen);
        process.metrics_url = format!("{}/metrics", url(metrics));
        process.wait_for("/health/ready").await;
        process
    }

    /// Starts a worker and waits until it works.
    pub async fn worker(bed: &TestBed) -> Self {
        Self::worker_with(bed, &[]).await
    }

    /// As [`Self::worker`], with settings of its own.
    pub async fn worker_with(bed: &TestBed, changes: &[(&str, &str)]) -> Self {
        Self::start_worker(bed, changes, &[]).await
    }

    /// As [`Self::worker`], in a system whose only certificate authority is that of the file.
    pub async fn worker_trusting(bed: &TestBed, authority: &Path) -> Self {
        Self::start_worker(bed, &[], &[("SSL_CERT_FILE", authority.as_os_str())]).await
    }

    async fn start_worker(bed: &TestBed, changes: &[(&str, &str)], variables: &[(&str, &OsStr)]) -> Self {
        let metrics = free_port();
        let mut process = start(
            "latchkey-worker",
            bed,
            changes,
            variables,
            &[("worker.metrics_listen", metrics)],
        );
        process.base_url = url(metrics);
        process.metrics_url = format!("{}/metrics", url(metrics));
        process.wait_for("/metrics").await;
        process
    }

    /// As `kill -9`: nothing is finished, nothing is said.
    pub async fn kill(&mut self) {
        self.child.kill().await.unwrap();
    }

    /// As an orchestrator does: SIGTERM, then wait. True if the process ended by itself with 0.
    pub async fn terminate(&mut self) -> bool {
        self.signal("TERM").await;
        self.child.wait().await.unwrap().success()
    }

    /// Sends it the signal of that name, as `STOP` or `CONT`.
    pub async fn signal(&self, name: &str) {
        let pid = self.pid().to_string();
        let sent = Command::new("kill").args(["-s", name, &pid]).status().await;
        assert!(sent.unwrap().success(), "SIG{name}");
    }

    /// The process's id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id().unwrap()
    }

    /// Resident memory in bytes, as the kernel counts it.
    #[must_use]
    pub fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
    }

    /// What it has printed so far.
    #[must_use]
    pub fn printed(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    /// Nothing that it has printed so far is an error.
    pub fn assert_no_error(&self) {
        let printed = self.printed();
        let error = printed.lines().find(|line| line.contains("ERROR"));
        assert!(error.is_none(), "{error:?}");
    }

    async fn wait_for(&mut self, path: &str) {
        let deadline = Instant::now() + START;
        let client = reqwest::Client::builder()
            .timeout(Duration::from_secs(2))
            .build()
            .unwrap();
        let url = format!("{}{path}", self.base_url);
        loop {
            if let Ok(response) = client.get(&url).send().await
                && response.status().is_success()
            {
                return;
            }
            let ended = self.child.try_wait().unwrap();
            assert!(
                ended.is_none() && Instant::now() < deadline,
                "{path} never answered:\n{}",
                self.printed()
            );
            sleep(Duration::from_millis(20)).await;
        }
    }
}

fn start(
    binary: &str,
    bed: &TestBed,
    changes: &[(&str, &str)],
    variables: &[(&str, &OsStr)],
    ports: &[(&str, u16)],
) -> RealProcess {
    let log = bed.mails.path().join(format!("{binary}-{}.log", ports[0].1));
    let output = File::create(&log).unwrap();
    let canary = File::open(&log).unwrap();
    let mut command = Command::new(path_of(binary));
    let variable = |key: &str| format!("LATCHKEY__{}", key.to_uppercase().replace('.', "__"));
    command
        .env_clear()
        .envs(variables.iter().copied())
        .envs(bed.environment())
        .envs(
            changes
                .iter()
                .map(|(key, value)| (variable(key), (*value).to_owned())),
        )
        .envs(
            ports
                .iter()
                .map(|(key, port)| (variable(key), format!("127.0.0.1:{port}"))),
        )
        .stdin(Stdio::null())
        .stdout(output.try_clone().unwrap())
        .stderr(output)
        .kill_on_drop(true);
    let child = command
        .spawn()
        .unwrap_or_else(|error| panic!("{binary} does not start: {error}"));
    RealProcess {
        child,
        base_url: String::new(),
        metrics_url: String::new(),
        log,
        canary,
    }
}

/// Test binaries lie in `deps/` below the directory of the others.
fn path_of(binary: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let path = test
        .ancestors()
        .nth(2)
        .map(|directory| directory.join(binary))
        .unwrap();
    assert!(
        Path::new(&path).exists(),
        "{} is missing: `cargo build --workspace --bins` makes it",
        path.display()
    );
    path
}

/// A port that was free a moment ago, and that the system gives to nobody who asks for any: such ports are above these.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let number = (std::process::id() * 100 + NEXT.fetch_add(1, Ordering::Relaxed)) % 10_000;
        let port = 10_000 + u16::try_from(number).unwrap();
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

fn url(port: u16) -> String {
    format!("http://127.0.0.1:{port}")
}

#[cfg(test)]
mod tests {
    use latchkey_shared::{
        api_key::{KeyEnvironment, KeyText},
        crypto::{
            jwt::{Grant, JwtRing},
            password::{Hasher, Memory},
            token::{Kind, Token},
        },
        id::{SessionId, TenantId, UserId},
        random::OsRandom,
        secret::Secret,
    };
    use uuid::Uuid;

    use super::*;
    use crate::config;

    /// One of each, as they are made.
    fn secrets() -> Vec<String> {
        let (config, random) = (config(&[]), OsRandom::new());
        let (tenant, session) = (TenantId(Uuid::from_u128(1)), SessionId(Uuid::from_u128(2)));
        let now = chrono::DateTime::UNIX_EPOCH;
        let grant = Grant {
            id: Uuid::from_u128(3),
            tenant,
            user: UserId(Uuid::from_u128(4)),
            session,
            issued_at: now,
            expires_at: now,
            auth_time: now,
            amr: Vec::new(),
            acr: "aal1",
        };
        let ring = JwtRing::new(&config.tokens, config.tokens.keys.as_ref().unwrap());
        let password = Secret::new("correct horse".to_owned());
        let hasher = Hasher::new(&config.passwords).unwrap();
        let mut made = vec![
            ring.sign(&grant).unwrap(),
            Secret::new(hasher.hash(&password, &[7; 16], &mut Memory::default()).unwrap()),
            Secret::new("whsec_BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=".to_owned()),
            Token::of_session(tenant, session, config.secrets.data_keys.current(), &random).into_text(),
        ];
        for kind in [Kind::OneTime, Kind::Mfa, Kind::Device] {
            made.push(Token::new(kind, tenant, &random).into_text());
        }
        for environment in [KeyEnvironment::Live, KeyEnvironment::Test] {
            made.push(KeyText::new(environment, &random).into_text());
        }
        made.into_iter().map(|secret| secret.expose().clone()).collect()
    }

    #[test]
    fn s35_a_secret_in_a_line_is_seen_and_what_may_be_shown_is_none() {
        for secret in secrets() {
            for line in [
                secret.clone(),
                format!("POST /v1?token={secret}&x"),
                format!("lko_… {{\"a\":\"{secret}\"}}"),
            ] {
                assert!(secret_in(&line).is_some(), "{line}");
            }
        }
        for shown in [
            "lk_live_…x7Qz",
            "lkr_garbage",
            "eyJhbGciOiJIUzI1NiJ9",
            "a hash begins with $argon2id$, $argon2i$, $2b$",
        ] {
            assert_eq!(secret_in(shown), None);
        }
    }
}
