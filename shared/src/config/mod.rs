//! The settings of both processes, read once at start.
//!
//! One TOML file serves the API and the worker. Every key can be overridden by `LATCHKEY__SECTION__KEY`, every
//! secret also by `LATCHKEY__SECTION__KEY_FILE`, which names a file that holds it. All faults are reported at
//! once, unknown keys among them, and a configuration that would be unsafe in production refuses to start.

mod keys;
mod limits;
mod rules;
mod setting;
mod source;
mod web_origin;

use std::{net::SocketAddr, path::Path, path::PathBuf, time::Duration};

use ipnet::IpNet;
use redis::IntoConnectionInfo;
use url::Url;

pub use self::{
    keys::{Key, KeyRing},
    limits::{ClassLimits, Limits, Rate, WithoutRedis},
    source::{ConfigFaults, Source},
    web_origin::WebOrigin,
};
use crate::{crypto::signing::SigningRing, secret::Secret};

/// Everything that can be set.
#[derive(Clone, Debug)]
pub struct Config {
    /// `[server]`
    pub server: Server,
    /// `[tenancy]`
    pub tenancy: Tenancy,
    /// `[postgres]`
    pub postgres: Postgres,
    /// `[redis]`
    pub redis: Redis,
    /// `[limits]`
    pub limits: Limits,
    /// `[passwords]`
    pub passwords: Passwords,
    /// `[tokens]`
    pub tokens: Tokens,
    /// `[api_keys]`
    pub api_keys: ApiKeys,
    /// `[secrets]`
    pub secrets: Secrets,
    /// `[mail]`
    pub mail: Mail,
    /// `[webhooks]`
    pub webhooks: Webhooks,
    /// `[worker]`
    pub worker: Worker,
    /// `[log]`
    pub log: Log,
}

/// Which process reads the settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Process {
    /// The API server.
    Api,
    /// The worker: it holds no key that could sign an access token, even where the file has one.
    Worker,
}

/// How strict the start-up checks are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Environment {
    /// Anything unsafe refuses to start.
    Production,
    /// One developer's machine.
    Development,
}

/// The HTTP server.
#[derive(Clone, Debug)]
pub struct Server {
    /// `environment`: `production` (the default) or `development`.
    pub environment: Environment,
    /// `listen`: where the API is served.
    pub listen: SocketAddr,
    /// `metrics_listen`: where the API's metrics are served, apart from the public listener.
    pub metrics_listen: SocketAddr,
    /// `public_url`: how clients reach the API; links in mails start with it.
    pub public_url: Url,
    /// `trusted_proxies`: whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// `allowed_origins`: pages of these may call the API from a browser; of no other where there are none.
    pub allowed_origins: Vec<WebOrigin>,
    /// `max_body_bytes`: larger requests are refused with 413.
    pub max_body_bytes: usize,
    /// `max_import_bytes`: an import of users that is larger ends there.
    pub max_import_bytes: u64,
    /// `body_timeout`: a body that takes longer to come is refused; an import may, line by line.
    pub body_timeout: Duration,
    /// `keep_alive`: a connection on which no request's head has come for so long is closed.
    pub keep_alive: Duration,
    /// `drain_notice`: for so long after SIGTERM it still serves while it says that it is not ready.
    pub drain_notice: Duration,
    /// `drain`: how long running requests may take after that.
    pub drain: Duration,
}

/// How a tenant is found before sign-in.
#[derive(Clone, Debug)]
pub struct Tenancy {
    /// `base_domain`: `<slug>.<base_domain>` names a tenant.
    pub base_domain: Option<String>,
    /// `default_tenant`: the slug used where a request names none.
    pub default_tenant: Option<String>,
    /// `deletion_grace`: for so long a deleted tenant can be activated again.
    pub deletion_grace: Duration,
    /// `dns_servers`: asked for the records that prove domains; the system's where there are none.
    pub dns_servers: Vec<SocketAddr>,
}

/// The database.
#[derive(Clone, Debug)]
pub struct Postgres {
    /// `url`: as the application's role, which owns no table.
    pub url: Secret<String>,
    /// `migrate_url`: as the owner of the tables; only `migrate` uses it.
    pub migrate_url: Option<Secret<String>>,
    /// `max_connections` of each process.
    pub max_connections: u32,
}

/// The cache and the queue.
#[derive(Clone, Debug)]
pub struct Redis {
    /// `url`
    pub url: Secret<String>,
    /// `key_prefix`: lets several installations share one server.
    pub key_prefix: String,
}

/// Argon2id (RFC 9106) and the pool of threads that computes it.
#[derive(Clone, Debug)]
pub struct Passwords {
    /// `memory_kib` of one hash.
    pub memory_kib: u32,
    /// `iterations` over it.
    pub iterations: u32,
    /// `parallelism`: lanes of one hash.
    pub parallelism: u32,
    /// `threads` that hash; one a core by default.
    pub threads: usize,
    /// `queue`: how many passwords may wait; one more is answered 503.
    pub queue: usize,
    /// `peppers`: keys as `id:base64` that go into every hash; the first, or the one that `current_pepper` names, into
    /// new ones. The worker has none.
    pub peppers: Option<KeyRing>,
    /// `breach_file`: sorted SHA-1 hashes of passwords that are known to have leaked, one a line.
    pub breach_file: Option<PathBuf>,
    /// `breach_range_url`: asked for the hashes that begin like a new password's.
    pub breach_range_url: Option<Url>,
}

/// Tokens and their lifetimes, in seconds.
#[derive(Clone, Debug)]
pub struct Tokens {
    /// `keys` that sign access tokens (see [`signing`](crate::crypto::signing)); the first signs, all verify. The
    /// worker has none.
    pub keys: Option<SigningRing>,
    /// The file that holds them, where `keys_file` names one: it is read again when it changes.
    pub keys_file: Option<PathBuf>,
    /// `issuer`: the `iss` claim; the public URL by default.
    pub issuer: String,
    /// `audience`: the `aud` claim.
    pub audience: String,
    /// `access_ttl`
    pub access_ttl: Duration,
    /// `refresh_ttl`: a session ends when it was not refreshed for so long.
    pub refresh_ttl: Duration,
    /// `session_ttl`: a session ends then in any case.
    pub session_ttl: Duration,
    /// `refresh_grace`: for so long a used refresh token still returns its own successor.
    pub refresh_grace: Duration,
    /// `verify_ttl` of an e-mail verification link.
    pub verify_ttl: Duration,
    /// `invitation_ttl`
    pub invitation_ttl: Duration,
    /// `reset_ttl` of a link to a new password.
    pub reset_ttl: Duration,
    /// `change_email_ttl` of a link that proves another address.
    pub change_email_ttl: Duration,
    /// `unlock_ttl` of a link that lifts a lock.
    pub unlock_ttl: Duration,
    /// `mfa_ttl`: how long the second step of a sign-in may take.
    pub mfa_ttl: Duration,
    /// `device_ttl`: a device that did not sign in for so long is forgotten.
    pub device_ttl: Duration,
    /// `reauthentication_ttl`: how recent the proof of a credential must be for what is sensitive.
    pub reauthentication_ttl: Duration,
}

/// Keys for machines.
#[derive(Clone, Copy, Debug)]
pub struct ApiKeys {
    /// `expiry_notice`: so long before a key expires its tenant is told.
    pub expiry_notice: Duration,
    /// `revoke_leaked`: whether a key that is reported as leaked ends, or its owner is only told.
    pub revoke_leaked: bool,
}

/// Keys for what is sealed at rest.
#[derive(Clone, Debug)]
pub struct Secrets {
    /// `data_keys`: AES-256 keys as `id:base64`; the first, or the one that `current_data_key` names, seals, all open.
    pub data_keys: KeyRing,
}

/// Outgoing mail.
#[derive(Clone, Debug)]
pub struct Mail {
    /// `from`: the sender.
    pub from: String,
    /// `transport` and what it needs.
    pub transport: MailTransport,
    /// `timeout` of one attempt, from the connection to the server's last word.
    pub timeout: Duration,
    /// `schedule`: seconds from each failed attempt to the next; after the last the mail has failed.
    pub schedule: Vec<Duration>,
}

/// How mail leaves.
#[derive(Clone, Debug)]
pub enum MailTransport {
    /// `transport = "smtp"`, with `smtp_url` (`smtps://user:password@host:465`, `smtp://host:587?tls=required`).
    Smtp(Secret<String>),
    /// `transport = "file"`, with `directory`: each mail becomes an `.eml` file.
    File(PathBuf),
}

/// The webhook engine.
#[derive(Clone, Debug)]
pub struct Webhooks {
    /// `allowed_cidrs`: private ranges that endpoints may resolve to all the same.
    pub allowed_cidrs: Vec<IpNet>,
    /// `schedule`: seconds from each failed attempt to the next; after the last the delivery has failed.
    pub schedule: Vec<Duration>,
    /// `jitter`: each wait varies by this share of itself.
    pub jitter: f64,
    /// `timeout` of one call.
    pub timeout: Duration,
    /// `disable_after`: an endpoint of which every call has failed for so long is turned off.
    pub disable_after: Duration,
    /// `max_endpoints` of a tenant.
    pub max_endpoints: u32,
    /// `history`: for so long events, deliveries and attempts are kept. Where a delivery still waits, its day stays.
    pub history: Duration,
}

/// The worker process.
#[derive(Clone, Debug)]
pub struct Worker {
    /// `metrics_listen`
    pub metrics_listen: SocketAddr,
    /// `concurrency`: first attempts in flight at once; retries have a quarter of that, and mails an eighth.
    pub concurrency: usize,
    /// `keep_alive`: how long a connection to an endpoint is kept after a call.
    pub keep_alive: Duration,
    /// `sweep_interval`: how often due work that is not queued is looked for.
    pub sweep_interval: Duration,
    /// `queue_grace`: how long a job may wait in Redis before the sweep queues it again.
    pub queue_grace: Duration,
    /// `drain`: how long running jobs may take after SIGTERM.
    pub drain: Duration,
}

/// What is logged, and how.
#[derive(Clone, Debug)]
pub struct Log {
    /// `level`: a filter as `info` or `info,latchkey_shared=debug`.
    pub level: String,
    /// `format`: `json` (the default) or `text`.
    pub json: bool,
}

impl Config {
    /// Reads the file, when one is given, and the process's environment.
    ///
    /// # Errors
    /// With every fault at once.
    pub fn load(process: Process, file: Option<&Path>) -> Result<Self, ConfigFaults> {
        Self::read(process, Source::new(file, std::env::vars_os()))
    }

    /// Reads the settings from the source.
    ///
    /// # Errors
    /// With every fault at once.
    pub fn read(process: Process, mut source: Source) -> Result<Self, ConfigFaults> {
        let server = Server::read(&mut source);
        let config = Self {
            tenancy: Tenancy::read(&mut source),
            postgres: Postgres::read(&mut source),
            redis: Redis::read(&mut source),
            limits: Limits::read(&mut source, server.environment),
            passwords: Passwords::read(process, &mut source),
            tokens: Tokens::read(process, &mut source, &server.public_url),
            api_keys: ApiKeys::read(&mut source),
            secrets: Secrets::read(&mut source),
            mail: Mail::read(&mut source),
            webhooks: Webhooks::read(&mut source),
            worker: Worker::read(&mut source),
            log: Log::read(&mut source),
            server,
        };
        rules::check(&config, &mut source);
        source.finish().map(|()| config)
    }
}

const fn local(port: u16) -> SocketAddr {
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), port)
}

/// Stands in for the public URL that is missing, and breaks no rule: one fault is enough.
fn stand_in_url() -> Url {
    #[expect(clippy::expect_used, reason = "a literal that a test reads")]
    Url::parse("https://127.0.0.1:8080").expect("a valid URL")
}

const DAY: u64 = 24 * 60 * 60;
const POSTGRES_SCHEMES: &[&str] = &["postgres", "postgresql"];
const REDIS_SCHEMES: &[&str] = &["redis", "rediss", "redis+unix", "unix"];

impl Server {
    fn read(source: &mut Source) -> Self {
        let environment = match source.or("server.environment", "production".to_owned()).as_str() {
            "production" => Environment::Production,
            "development" => Environment::Development,
            _ => {
                source.fault("server.environment: expects production or development");
                Environment::Production
            }
        };
        // Nothing balances load between the processes of one developer.
        let notice = if environment == Environment::Development {
            0
        } else {
            5
        };
        Self {
            environment,
            listen: source.or("server.listen", local(8080)),
            metrics_listen: source.or("server.metrics_listen", local(9464)),
            public_url: source.required("server.public_url", stand_in_url()),
            trusted_proxies: source.or("server.trusted_proxies", Vec::new()),
            allowed_origins: source.or("server.allowed_origins", Vec::new()),
            max_body_bytes: source.or("server.max_body_bytes", 512 * 1024),
            max_import_bytes: source.or("server.max_import_bytes", 1024 * 1024 * 1024),
            body_timeout: source.or("server.body_timeout", Duration::from_secs(30)),
            keep_alive: source.or("server.keep_alive", Duration::from_secs(90)),
            drain_notice: source.or("server.drain_notice", Duration::from_secs(notice)),
            drain: source.or("server.drain", Duration::from_secs(20)),
        }
    }
}

impl Tenancy {
    fn read(source: &mut Source) -> Self {
        Self {
            base_domain: source
                .optional::<String>("tenancy.base_domain")
                .map(|domain| domain.to_lowercase()),
            default_tenant: source.optional("tenancy.default_tenant"),
            deletion_grace: source.or("tenancy.deletion_grace", Duration::from_secs(30 * DAY)),
            dns_servers: source.or("tenancy.dns_servers", Vec::new()),
        }
    }
}

impl Postgres {
    fn read(source: &mut Source) -> Self {
        Self {
            url: source.required_secret_url("postgres.url", POSTGRES_SCHEMES),
            migrate_url: source.optional_secret_url("postgres.migrate_url", POSTGRES_SCHEMES),
            max_connections: source.or("postgres.max_connections", 20),
        }
    }
}

impl Redis {
    fn read(source: &mut Source) -> Self {
        let url = source.required_secret_url("redis.url", REDIS_SCHEMES);
        let is_ours = Url::parse(url.expose()).is_ok_and(|url| REDIS_SCHEMES.contains(&url.scheme()));
        if is_ours && url.expose().as_str().into_connection_info().is_err() {
            source.fault("redis.url: has another host, port or number of a database than Redis can have");
        }
        Self {
            url,
            key_prefix: source.or("redis.key_prefix", "lk".to_owned()),
        }
    }
}

impl Passwords {
    fn read(process: Process, source: &mut Source) -> Self {
        let peppers = match process {
            Process::Api => KeyRing::read_optional(source, "passwords.peppers", "passwords.current_pepper"),
            Process::Worker => {
                source.ignore("passwords.peppers");
                source.ignore("passwords.current_pepper");
                None
            }
        };
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = source.or("passwords.threads", cores);
        Self {
            memory_kib: source.or("passwords.memory_kib", 19_456),
            iterations: source.or("passwords.iterations", 2),
            parallelism: source.or("passwords.parallelism", 1),
            threads,
            queue: source.or("passwords.queue", threads * 8),
            peppers,
            breach_file: source
                .optional::<String>("passwords.breach_file")
                .map(PathBuf::from),
            breach_range_url: source.optional("passwords.breach_range_url"),
        }
    }
}

impl Tokens {
    fn read(process: Process, source: &mut Source, public_url: &Url) -> Self {
        let (keys_file, keys) = match process {
            Process::Api => (source.file_of("tokens.keys"), read_signing_keys(source)),
            Process::Worker => {
                source.ignore("tokens.keys");
                (None, None)
            }
        };
        let issuer = public_url.as_str().trim_end_matches('/').to_owned();
        Self {
            keys,
            keys_file,
            issuer: source.or("tokens.issuer", issuer),
            audience: source.or("tokens.audience", "latchkey".to_owned()),
            access_ttl: source.or("tokens.access_ttl", Duration::from_mins(15)),
            refresh_ttl: source.or("tokens.refresh_ttl", Duration::from_secs(14 * DAY)),
            session_ttl: source.or("tokens.session_ttl", Duration::from_secs(90 * DAY)),
            refresh_grace: source.or("tokens.refresh_grace", Duration::from_secs(10)),
            verify_ttl: source.or("tokens.verify_ttl", Duration::from_secs(DAY)),
            invitation_ttl: source.or("tokens.invitation_ttl", Duration::from_secs(7 * DAY)),
            reset_ttl: source.or("tokens.reset_ttl", Duration::from_hours(1)),
            change_email_ttl: source.or("tokens.change_email_ttl", Duration::from_secs(DAY)),
            unlock_ttl: source.or("tokens.unlock_ttl", Duration::from_secs(DAY)),
            mfa_ttl: source.or("tokens.mfa_ttl", Duration::from_mins(5)),
            device_ttl: source.or("tokens.device_ttl", Duration::from_secs(180 * DAY)),
            reauthentication_ttl: source.or("tokens.reauthentication_ttl", Duration::from_mins(15)),
        }
    }
}

fn read_signing_keys(source: &mut Source) -> Option<SigningRing> {
    let entries = source.required_secret::<Vec<String>>("tokens.keys", Vec::new());
    let faults = match SigningRing::parse(&entries.expose().join(",")) {
        Ok(ring) => return Some(ring),
        Err(faults) => faults,
    };
    for fault in faults {
        source.fault(format!("tokens.keys: {fault}"));
    }
    None
}

impl ApiKeys {
    fn read(source: &mut Source) -> Self {
        Self {
            expiry_notice: source.or("api_keys.expiry_notice", Duration::from_secs(7 * DAY)),
            revoke_leaked: source.or("api_keys.revoke_leaked", true),
        }
    }
}

impl Secrets {
    fn read(source: &mut Source) -> Self {
        Self {
            data_keys: KeyRing::read(source, "secrets.data_keys", "secrets.current_data_key"),
        }
    }
}

impl Mail {
    fn read(source: &mut Source) -> Self {
        let from = source.required("mail.from", "nobody@localhost.invalid".to_owned());
        let smtp_url = source.optional_secret_url("mail.smtp_url", &["smtp", "smtps"]);
        let directory: Option<String> = source.optional("mail.directory");
        let nowhere = MailTransport::Smtp(Secret::new(String::new()));
        let transport = match (
            source.or("mail.transport", "smtp".to_owned()).as_str(),
            smtp_url,
            directory,
        ) {
            ("smtp", Some(url), _) => MailTransport::Smtp(url),
            ("file", _, Some(directory)) => MailTransport::File(directory.into()),
            (transport, _, _) => {
                let (fault, stand_in) = match transport {
                    "file" => ("mail.directory: is missing", MailTransport::File(PathBuf::new())),
                    "smtp" => ("mail.smtp_url: is missing", nowhere),
                    _ => ("mail.transport: expects smtp or file", nowhere),
                };
                source.fault(fault);
                stand_in
            }
        };
        // Close together at first: what most mails carry is good for an hour.
        let schedule = [5, 30, 120, 300, 600, 1_200, 2_400, 3_600, 7_200, 14_400, 28_800];
        Self {
            from,
            transport,
            // Some servers look a mail through before they take it: who gave up on one meanwhile would send it again.
            timeout: source.or("mail.timeout", Duration::from_mins(1)),
            schedule: source.or("mail.schedule", schedule.map(Duration::from_secs).to_vec()),
        }
    }
}

impl Webhooks {
    fn read(source: &mut Source) -> Self {
        const MINUTE: u64 = 60;
        const HOUR: u64 = 60 * MINUTE;
        let schedule = [
            5,
            5 * MINUTE,
            30 * MINUTE,
            2 * HOUR,
            5 * HOUR,
            10 * HOUR,
            14 * HOUR,
            20 * HOUR,
            DAY,
        ];
        Self {
            allowed_cidrs: source.or("webhooks.allowed_cidrs", Vec::new()),
            schedule: source.or("webhooks.schedule", schedule.map(Duration::from_secs).to_vec()),
            jitter: source.or("webhooks.jitter", 0.2),
            timeout: source.or("webhooks.timeout", Duration::from_secs(15)),
            disable_after: source.or("webhooks.disable_after", Duration::from_hours(5 * 24)),
            max_endpoints: source.or("webhooks.max_endpoints", 10_000),
            history: source.or("webhooks.history", Duration::from_secs(30 * DAY)),
        }
    }
}

impl Worker {
    fn read(source: &mut Source) -> Self {
        Self {
            metrics_listen: source.or("worker.metrics_listen", local(9465)),
            concurrency: source.or("worker.concurrency", 384),
            keep_alive: source.or("worker.keep_alive", Duration::from_secs(30)),
            sweep_interval: source.or("worker.sweep_interval", Duration::from_secs(1)),
            queue_grace: source.or("worker.queue_grace", Duration::from_secs(15)),
            drain: source.or("worker.drain", Duration::from_secs(20)),
        }
    }
}

impl Log {
    fn read(source: &mut Source) -> Self {
        let level = source.or("log.level", "info".to_owned());
        let json = match source.or("log.format", "json".to_owned()).as_str() {
            "json" => true,
            "text" => false,
            _ => {
                source.fault("log.format: expects json or text");
                true
            }
        };
        Self { level, json }
    }
}
