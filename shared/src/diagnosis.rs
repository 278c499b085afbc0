//! What an operator asks of an installation before it takes users, and when something is wrong with it.
//!
//! It looks at everything that a process depends on, changes nothing, and goes on after what it finds: a server that does
//! not answer hides nothing of the others.

use std::{
    fmt::{self, Display, Formatter},
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use sea_orm::{ConnectionTrait, DbBackend, DbErr, FromQueryResult, Statement, raw_sql};
use tokio::{net::TcpStream, time::timeout};
use uuid::Uuid;

use crate::{
    audit,
    clock::Clock,
    config::{Config, MailTransport, Passwords},
    context::{Context, OpenError},
    crypto::pool::HashPool,
    id::TenantId,
    mail,
    postgres::CrossTenant,
    random::Random,
    redis::Redis,
    reseal::COLUMNS,
    secret::Secret,
    tenant::Directory,
    webhook,
};

/// So long nothing that is due waits where workers keep up.
const KEPT_UP: Duration = Duration::from_mins(1);
/// Tokens and locks are told from one another by less.
const CLOCKS_APART: Duration = Duration::from_secs(2);
const PATIENCE: Duration = Duration::from_secs(5);

/// How good it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// As it should be.
    Good,
    /// It works, and may not for long.
    Doubtful,
    /// It does not work.
    Broken,
}

/// One thing that was looked at.
#[derive(Clone, Debug)]
pub struct Finding {
    /// How good it is.
    pub level: Level,
    /// What it is of.
    pub of: &'static str,
    /// In words, without a secret.
    pub words: String,
}

impl Display for Finding {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mark = match self.level {
            Level::Good => "ok",
            Level::Doubtful => "WARN",
            Level::Broken => "FAIL",
        };
        write!(f, "{mark:<5}{}: {}", self.of, self.words)
    }
}

/// Collects findings.
#[derive(Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn note(&mut self, of: &'static str, level: Level, words: impl Into<String>) {
        let words = words.into();
        self.0.push(Finding { level, of, words });
    }

    /// Good if it holds.
    fn judge(&mut self, of: &'static str, holds: bool, otherwise: Level, words: impl Into<String>) {
        let level = if holds { Level::Good } else { otherwise };
        self.note(of, level, words);
    }
}

/// Looks at everything. `schema` is the version of the database that this program was built for.
pub async fn diagnose(
    config: Config,
    schema: &str,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
) -> Vec<Finding> {
    let mut findings = Findings::default();
    passwords(&mut findings, &config.passwords, &*random).await;
    mail_server(&mut findings, &config.mail.transport).await;
    match Redis::open(&config.redis) {
        Ok(opened) => redis(&mut findings, &opened).await,
        Err(error) => findings.note("redis", Level::Broken, error.to_string()),
    }
    match Context::open(config, clock, random).await {
        Ok(context) => {
            if let Err(error) = postgres(&mut findings, &context, schema).await {
                findings.note("postgres", Level::Broken, error.to_string());
            }
            context.postgres.close().await;
        }
        // Said above.
        Err(OpenError::Redis(_)) => {}
        Err(OpenError::Queue(error)) => findings.note("queue", Level::Broken, error.to_string()),
        Err(error @ (OpenError::Postgres(_) | OpenError::MightyRole)) => {
            findings.note("postgres", Level::Broken, error.to_string());
        }
    }
    findings.0
}

async fn passwords(findings: &mut Findings, settings: &Passwords, random: &dyn Random) {
    let of = "passwords";
    let pool = match HashPool::start(settings) {
        Ok(pool) => pool,
        Err(error) => return findings.note(of, Level::Broken, error.to_string()),
    };
    let password = || Secret::new("a password to measure with".to_owned());
    // The first one also makes the memory that all others use.
    let mut took = Duration::ZERO;
    for _ in 0..2 {
        let begun = Instant::now();
        if let Err(error) = pool.hash(password(), random).await {
            return findings.note(of, Level::Broken, error.to_string());
        }
        took = begun.elapsed();
    }
    let rate = f64::from(u32::try_from(settings.threads).unwrap_or(u32::MAX)) / took.as_secs_f64();
    let words = format!(
        "a hash takes {} ms; {} threads, so {rate:.0} sign-ins a second at most",
        took.as_millis(),
        settings.threads
    );
    findings.judge(of, took < Duration::from_secs(1), Level::Doubtful, words);
}

async fn mail_server(findings: &mut Findings, transport: &MailTransport) {
    let of = "mail";
    let url = match transport {
        MailTransport::File(directory) => {
            let words = format!("goes into files in {}", directory.display());
            return findings.note(of, Level::Good, words);
        }
        MailTransport::Smtp(url) => url::Url::parse(url.expose()),
    };
    let Some((url, host)) = url
        .ok()
        .and_then(|url| Some((url.clone(), url.host_str()?.to_owned())))
    else {
        return findings.note(of, Level::Broken, "mail.smtp_url names no host");
    };
    let port = url.port().unwrap_or(match url.scheme() {
        "smtps" => 465,
        _ if url.query().is_some() => 587,
        _ => 25,
    });
    let reached = timeout(
        PATIENCE,
        TcpStream::connect((host.trim_matches(['[', ']']), port)),
    )
    .await;
    match reached {
        Ok(Ok(_)) => findings.note(of, Level::Good, format!("{host}:{port} lets us connect")),
        Ok(Err(error)) => findings.note(of, Level::Broken, format!("{host}:{port}: {error}")),
        Err(_) => findings.note(of, Level::Broken, format!("{host}:{port} does not answer")),
    }
}

async fn redis(findings: &mut Findings, opened: &Redis) {
    let of = "redis";
    if let Err(error) = opened.ping().await {
        let words = format!("{error}; the API serves on, webhooks and mail wait");
        return findings.note(of, Level::Broken, words);
    }
    findings.note(of, Level::Good, "answers");
    let mut connection = opened.connection();
    let policy: Result<Vec<String>, _> = redis::cmd("CONFIG")
        .arg(&["GET", "maxmemory-policy"])
        .query_async(&mut connection)
        .await;
    match policy.ok().and_then(|answer| answer.into_iter().nth(1)) {
        Some(policy) => findings.judge(
            of,
            policy == "noeviction",
            Level::Doubtful,
            format!("maxmemory-policy is {policy}; it should evict nothing"),
        ),
        None => findings.note(
            of,
            Level::Good,
            "whether it evicts cannot be told: CONFIG is not allowed",
        ),
    }
}

#[derive(FromQueryResult)]
struct Server {
    version: i32,
    locks: i32,
    connections: i32,
    now: DateTime<Utc>,
}

#[derive(FromQueryResult)]
struct DataKey {
    id: String,
    /// Whether something does not work without it; otherwise rows of the audit trail cannot be verified.
    needed: bool,
}

async fn postgres(findings: &mut Findings, context: &Context, schema: &str) -> Result<(), DbErr> {
    let of = "postgres";
    match context.postgres.schema_version().await {
        Ok(version) => {
            let version = version.unwrap_or_else(|| "nothing".to_owned());
            let fits = version.as_str() >= schema;
            let words = format!("the schema is at {version}, and {schema} is needed");
            findings.judge("schema", fits, Level::Broken, words);
            if !fits {
                return Ok(());
            }
        }
        Err(error) => {
            let words = format!("the database was never migrated, or this role may not look: {error}");
            findings.note("schema", Level::Broken, words);
            return Ok(());
        }
    }
    let tx = context.postgres.cross_tenant(CrossTenant::Verify).await?;
    let server = Server::find_by_statement(raw_sql!(
        Postgres,
        "SELECT current_setting('server_version_num')::integer AS version,
                current_setting('max_locks_per_transaction')::integer AS locks,
                current_setting('max_connections')::integer
                    - current_setting('superuser_reserved_connections')::integer AS connections,
                clock_timestamp() AS now"
    ))
    .one(&tx)
    .await?;
    let now = context.clock.now();
    if let Some(server) = server {
        let words = format!("version {}", server.version / 10_000);
        findings.judge(of, server.version >= 150_000, Level::Broken, words);
        let words = format!(
            "max_locks_per_transaction is {}, and 256 are needed",
            server.locks
        );
        findings.judge(of, server.locks >= 256, Level::Doubtful, words);
        let pool = context.config.postgres.max_connections;
        let enough = i64::from(server.connections) >= i64::from(pool);
        let words = format!(
            "{} connections for all processes, of which each takes up to {pool}",
            server.connections
        );
        findings.judge(of, enough, Level::Doubtful, words);
        let apart = (now - server.now).abs().to_std().unwrap_or_default();
        let words = format!("its clock and ours are {} ms apart", apart.as_millis());
        findings.judge("clock", apart <= CLOCKS_APART, Level::Doubtful, words);
    }
    drop(tx);
    data_keys(findings, context).await;
    default_tenant(findings, context).await;
    workers(findings, context).await
}

/// The trail may be long, and every link of it is read: that this takes too long breaks nothing.
async fn data_keys(findings: &mut Findings, context: &Context) {
    let of = "data keys";
    let mut missing = match keys_in_use(context).await {
        Ok(keys) => keys,
        Err(error) => {
            let words = format!("which of them are in use cannot be told: {error}");
            return findings.note(of, Level::Doubtful, words);
        }
    };
    missing.retain(|key| context.config.secrets.data_keys.get(&key.id).is_none());
    let (needed, signed): (Vec<DataKey>, Vec<DataKey>) = missing.into_iter().partition(|key| key.needed);
    let words = if needed.is_empty() {
        "those that are in use are there".to_owned()
    } else {
        format!("in use, and not in secrets.data_keys: {}", ids(&needed))
    };
    findings.judge(of, needed.is_empty(), Level::Broken, words);
    let words = if signed.is_empty() {
        "the keys that signed it are there".to_owned()
    } else {
        format!(
            "cannot be verified as a whole: signed with keys that secrets.data_keys does not have: {}",
            ids(&signed)
        )
    };
    findings.judge("audit trail", signed.is_empty(), Level::Doubtful, words);
}

fn ids(keys: &[DataKey]) -> String {
    let ids: Vec<&str> = keys.iter().map(|key| key.id.as_str()).collect();
    ids.join(", ")
}

/// Of the audit trail, and of everything that is sealed: that begins with the length of its key's id, and the id.
async fn keys_in_use(context: &Context) -> Result<Vec<DataKey>, DbErr> {
    let tx = context.postgres.cross_tenant(CrossTenant::Verify).await?;
    tx.execute_unprepared("SET LOCAL statement_timeout = '2min'")
        .await?;
    let columns = COLUMNS.map(|column| format!("SELECT {} AS sealed FROM {}", column.name, column.table));
    let question = format!(
        "SELECT id, bool_or(needed) AS needed FROM (
             SELECT key_id AS id, true AS needed FROM audit_chains
             UNION SELECT key_id, false FROM audit_seals
             UNION SELECT mac_key, false FROM audit_events WHERE mac_key IS NOT NULL
             UNION SELECT convert_from(substring(sealed FROM 2 FOR get_byte(sealed, 0)), 'UTF8'), true
             FROM ({}) AS everything WHERE sealed <> ''
         ) AS keys GROUP BY id ORDER BY id",
        columns.join(" UNION ALL ")
    );
    DataKey::find_by_statement(Statement::from_string(DbBackend::Postgres, question))
        .all(&tx)
        .await
}

async fn default_tenant(findings: &mut Findings, context: &Context) {
    let Some(slug) = &context.config.tenancy.default_tenant else {
        return;
    };
    let found = Directory::new(context.clone()).named(Some(slug), None).await;
    let is_there = matches!(found, Ok(Some(_)));
    let words = format!(
        "tenancy.default_tenant is {slug:?}, which is {}",
        if is_there { "there" } else { "no tenant" }
    );
    findings.judge("tenant", is_there, Level::Broken, words);
}

/// A worker that runs leaves nothing that is due.
async fn workers(findings: &mut Findings, context: &Context) -> Result<(), DbErr> {
    let unsealed = audit::waiting(context, TenantId(Uuid::nil()), 1000).await?;
    let unsealed = unsealed.iter().map(|waiting| waiting.since).min();
    let unsealed = unsealed.and_then(|since| (context.clock.now() - since).to_std().ok());
    let waits = [
        ("webhooks", webhook::work::overdue(context).await?),
        ("mails", mail::work::overdue(context).await?),
        ("audit rows", unsealed),
    ];
    let late: Vec<String> = waits
        .into_iter()
        .filter_map(|(what, wait)| Some((what, wait.filter(|wait| *wait > KEPT_UP)?)))
        .map(|(what, wait)| format!("{what} wait for {} s", wait.as_secs()))
        .collect();
    let words = if late.is_empty() {
        "nothing waits".to_owned()
    } else {
        format!("{}: no worker runs, or none keeps up", late.join(", "))
    };
    findings.judge("workers", late.is_empty(), Level::Doubtful, words);
    Ok(())
}
