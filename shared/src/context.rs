//! What every service works with, and the one way to change anything.
//!
//! A [`Change`] is a transaction together with what has to follow its commit: jobs to queue and signals to
//! send. Dropped without [`Change::commit`], nothing of it has happened.

use std::{collections::HashSet, sync::Arc, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use sea_orm::{ConnectionTrait, DbErr, FromQueryResult, raw_sql};
use uuid::Uuid;

use crate::{
    clock::Clock,
    config::Config,
    id::{TenantId, uuid_v7},
    limit::Limits,
    postgres::{CrossTenant, Postgres, Tx},
    principal::{Actor, Claim, Origin},
    queue::{Lane, Producer, QueueError},
    random::Random,
    redis::Redis,
    signal::{Signal, SignalKind, Signals},
    usage::{Counter, Counts, Usage},
};

/// The process's connections, settings, clock and source of randomness. Cheap to clone.
#[derive(Clone)]
pub struct Context {
    /// The settings.
    pub config: Arc<Config>,
    /// The truth.
    pub postgres: Postgres,
    /// What may be lost.
    pub redis: Redis,
    /// How often is too often.
    pub limits: Arc<Limits>,
    /// Puts ids of due work into Redis.
    pub queue: Producer,
    /// What other processes must know.
    pub signals: Arc<Signals>,
    /// What tenants do, counted.
    pub usage: Arc<Usage>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub random: Arc<dyn Random>,
}

/// Why the process has no [`Context`].
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// PostgreSQL does not answer.
    #[error("PostgreSQL: {0}")]
    Postgres(#[from] DbErr),
    /// The role could see every tenant's rows, whatever a query forgets.
    #[error(
        "postgres.url: row-level security does not hold this role; use one that is no superuser, has no \
         BYPASSRLS and owns no table"
    )]
    MightyRole,
    /// The URL of Redis cannot be used.
    #[error("Redis: {0}")]
    Redis(#[from] redis::RedisError),
    /// The queue cannot be set up.
    #[error("queue: {0}")]
    Queue(#[from] QueueError),
}

impl Context {
    /// Connects to PostgreSQL, which must be there, and to Redis, which may be away.
    ///
    /// # Errors
    /// When one of them cannot be used.
    pub async fn open(
        config: Config,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> Result<Self, OpenError> {
        let redis = Redis::open(&config.redis)?;
        let postgres = Postgres::connect(&config.postgres).await?;
        if !postgres.is_held_by_policies().await? {
            return Err(OpenError::MightyRole);
        }
        Ok(Self {
            postgres,
            queue: Producer::new(&redis.queue_settings())?,
            limits: Arc::new(Limits::new(&config, redis.clone())),
            redis,
            signals: Arc::default(),
            usage: Arc::default(),
            clock,
            random,
            config: Arc::new(config),
        })
    }

    /// Opens a transaction that changes something in one tenant.
    ///
    /// # Errors
    /// When no connection is to be had.
    pub async fn change<'a>(
        &'a self,
        tenant: TenantId,
        actor: Actor,
        origin: &'a Origin,
    ) -> Result<Change<'a>, DbErr> {
        let tx = self.postgres.tenant(tenant).await?;
        Ok(self.change_in(tx, tenant, actor, origin))
    }

    /// Opens a transaction that reaches beyond one tenant. What it writes by way of [`Change`] belongs to `tenant`.
    ///
    /// # Errors
    /// When no connection is to be had.
    pub async fn cross_tenant_change<'a>(
        &'a self,
        reason: CrossTenant,
        tenant: TenantId,
        actor: Actor,
        origin: &'a Origin,
    ) -> Result<Change<'a>, DbErr> {
        let tx = self.postgres.cross_tenant(reason).await?;
        Ok(self.change_in(tx, tenant, actor, origin))
    }

    fn change_in<'a>(&'a self, tx: Tx, tenant: TenantId, actor: Actor, origin: &'a Origin) -> Change<'a> {
        let now = self.clock.now();
        Change {
            context: self,
            tx,
            tenant,
            actor,
            origin,
            now,
            jobs: Vec::new(),
            signals: Vec::new(),
            counts: Counts::default(),
        }
    }

    /// A new UUIDv7 for `now`.
    #[must_use]
    pub fn uuid(&self, now: DateTime<Utc>) -> Uuid {
        uuid_v7(now, &*self.random)
    }
}

/// A transaction and what follows its commit.
pub struct Change<'a> {
    /// Where it runs.
    pub context: &'a Context,
    /// The transaction.
    pub tx: Tx,
    /// Whose rows are written.
    pub tenant: TenantId,
    /// Who changes them.
    pub actor: Actor,
    /// Where the request came from.
    pub origin: &'a Origin,
    /// The instant of the change.
    pub now: DateTime<Utc>,
    jobs: Vec<(Lane, Uuid)>,
    signals: Vec<(Uuid, Signal)>,
    counts: Counts,
}

/// Whoever reads signals from their rows looks back for longer than that, and not for long.
const FRESH: TimeDelta = TimeDelta::seconds(5);

impl Change<'_> {
    /// Queues the job after the commit. The row it names must be able to be found by the sweep.
    pub fn enqueue(&mut self, lane: Lane, id: Uuid) {
        self.jobs.push((lane, id));
    }

    /// Counts what the tenant has done by this change, once it is committed. Costs no statement.
    pub fn count(&mut self, counter: Counter, times: usize) {
        self.counts.add(counter, times);
    }

    /// Tells every process of the change, once it is committed.
    ///
    /// # Errors
    /// When the row cannot be written.
    pub async fn signal(&mut self, kind: SignalKind, subject: Uuid) -> Result<(), DbErr> {
        self.signal_each(kind, &[subject]).await
    }

    /// As [`Change::signal`], of many subjects in one statement.
    ///
    /// # Errors
    /// When the rows cannot be written.
    pub async fn signal_each(&mut self, kind: SignalKind, subjects: &[Uuid]) -> Result<(), DbErr> {
        let expires_at = self.signals_expire(self.now);
        let (tenant, now, word) = (self.tenant, self.now, kind.as_str());
        let ids: Vec<Uuid> = subjects.iter().map(|_| self.context.uuid(now)).collect();
        let (rows, of) = (ids.clone(), subjects.to_vec());
        self.tx
            .execute_raw(raw_sql!(
                Postgres,
                "INSERT INTO signals (id, tenant_id, kind, subject_id, created_at, expires_at)
                 SELECT id, {tenant}, {word}, subject, {now}, {expires_at}
                 FROM unnest({rows}::uuid[], {of}::uuid[]) AS s (id, subject)"
            ))
            .await?;
        let signal = |subject: &Uuid| Signal {
            tenant,
            kind,
            subject: *subject,
        };
        self.signals
            .extend(ids.into_iter().zip(subjects.iter().map(signal)));
        Ok(())
    }

    /// A process that starts later has nothing older in memory, and older access tokens have expired.
    fn signals_expire(&self, at: DateTime<Utc>) -> DateTime<Utc> {
        at + self.context.config.tokens.access_ttl + Duration::from_mins(1)
    }

    /// A transaction that took long has stamped its signals with a time at which nobody looks for them any more.
    async fn restamp_signals(&self) -> Result<(), DbErr> {
        let late = self.context.clock.now() - self.now;
        if self.signals.is_empty() || late < FRESH {
            return Ok(());
        }
        let ids: Vec<Uuid> = self.signals.iter().map(|(id, _)| *id).collect();
        let (tenant, now) = (self.tenant, self.now + late);
        let expires_at = self.signals_expire(now);
        self.tx
            .execute_raw(raw_sql!(
                Postgres,
                "UPDATE signals SET created_at = {now}, expires_at = {expires_at}
                 WHERE tenant_id = {tenant} AND id = ANY({ids})"
            ))
            .await
            .map(drop)
    }

    /// Commits, then queues the jobs and sends the signals. Should the process die in between, the sweep finds the
    /// jobs and the others read the signals' rows.
    ///
    /// # Errors
    /// When the commit fails; then nothing has happened.
    pub async fn commit(self) -> Result<(), DbErr> {
        if let Some(claim) = &self.origin.claim {
            let used = use_claims(&self.tx, &[claim]).await?;
            if !used.contains(&claim.id) {
                return Err(DbErr::RecordNotUpdated);
            }
        }
        self.restamp_signals().await?;
        self.tx.commit().await?;
        self.context
            .usage
            .add(self.tenant, self.now.date_naive(), &self.counts);
        for lane in Lane::ALL {
            let ids = self.jobs.iter().filter(|(of, _)| *of == lane).map(|(_, id)| *id);
            self.context.queue.push(lane, ids);
        }
        let signals: Vec<Signal> = self.signals.into_iter().map(|(_, signal)| signal).collect();
        self.context.signals.publish(&self.context.redis, &signals).await;
        Ok(())
    }
}

/// Notes in the very transaction that requests are carried out, and says under which of the claims they may be: where
/// another attempt has taken over, this one must not be.
pub(crate) async fn use_claims(tx: &Tx, claims: &[&Claim]) -> Result<HashSet<Uuid>, DbErr> {
    #[derive(FromQueryResult)]
    struct Used {
        claim: Uuid,
    }
    if claims.is_empty() {
        return Ok(HashSet::new());
    }
    let tenants: Vec<Uuid> = claims.iter().map(|claim| claim.tenant.0).collect();
    let keys: Vec<Vec<u8>> = claims.iter().map(|claim| claim.key.to_vec()).collect();
    let ids: Vec<Uuid> = claims.iter().map(|claim| claim.id).collect();
    let used = Used::find_by_statement(raw_sql!(
        Postgres,
        "UPDATE idempotency_keys k SET committed = true
         FROM unnest({tenants}::uuid[], {keys}::bytea[], {ids}::uuid[]) AS c (tenant_id, key, claim)
         WHERE k.tenant_id = c.tenant_id AND k.key = c.key AND k.claim = c.claim
         RETURNING k.claim"
    ))
    .all(tx)
    .await?;
    Ok(used.into_iter().map(|used| used.claim).collect())
}
