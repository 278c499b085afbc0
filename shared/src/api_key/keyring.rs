//! Keys, remembered: what every use of one is judged by, without asking anybody.
//!
//! A text leads to an id, and an id to what counts of the key. A change of a key removes it by its id; what was being
//! read while the signal came in does not stay. A text that is no key is remembered for a moment, in a bounded memory
//! of its own, so that made-up keys drive out no real one. While this process does not hear of changes, what it
//! remembers counts for five seconds, and then PostgreSQL is asked each time.

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use ipnet::IpNet;
use moka::sync::Cache;
use serde_json::{Map, Value};

use super::{KeyEnvironment, KeyHash, KeyText, field, model, store};
use crate::{
    config::Rate,
    context::Context,
    entity::api_key,
    error::Internal,
    id::{ApiKeyId, TenantId},
    postgres::{CrossTenant, Tx},
    principal::{Permissions, Subject},
    signal::{SignalKind, Signals},
};

const CAPACITY: u64 = 100_000;
const LIFETIME: Duration = Duration::from_secs(30);
const UNKNOWN_CAPACITY: u64 = 10_000;
const UNKNOWN_LIFETIME: Duration = Duration::from_secs(5);
/// What is remembered counts for so long while changes are not heard of.
const UNHEARD: Duration = Duration::from_secs(5);

/// Why a key does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Somebody has ended it.
    Revoked,
    /// Its time is over.
    Expired,
    /// It may not be used from there.
    Elsewhere,
}

/// What counts of a key.
#[derive(Debug)]
pub struct Known {
    /// Which.
    pub id: ApiKeyId,
    /// Whose it is.
    pub tenant: TenantId,
    /// In whose name it acts.
    pub owner: Subject,
    /// What it is meant for.
    pub environment: KeyEnvironment,
    /// How often it may be used.
    pub rate: Option<Rate>,
    /// What the tenant keeps with it.
    pub metadata: Map<String, Value>,
    /// It ends then in any case.
    pub expires_at: Option<DateTime<Utc>>,
    scopes: Permissions,
    allowed_cidrs: Vec<IpNet>,
    retires_at: Option<DateTime<Utc>>,
    revoked: bool,
    /// Whether a use was ever written down.
    stamped: AtomicBool,
    read_at: Instant,
}

impl Known {
    /// The key as PostgreSQL has it; nothing if it is gone.
    pub(crate) async fn read(tx: &Tx, tenant: TenantId, id: ApiKeyId) -> Result<Option<Self>, Internal> {
        store::find(tx, tenant, id).await?.map(Self::of).transpose()
    }

    fn of(row: api_key::Model) -> Result<Self, Internal> {
        // A range that cannot be read must not come to mean anywhere.
        let ranges = row.allowed_cidrs.iter().map(|range| range.parse());
        Ok(Self {
            owner: model::owner(&row),
            rate: model::rate(&row),
            allowed_cidrs: ranges.collect::<Result<_, _>>().map_err(Internal::fault)?,
            id: row.id,
            tenant: row.tenant_id,
            environment: row.environment,
            metadata: model::object(row.metadata),
            expires_at: row.expires_at,
            scopes: row.scopes.into_iter().collect(),
            retires_at: row.retires_at,
            revoked: row.revoked_at.is_some(),
            stamped: AtomicBool::new(row.last_used_at.is_some()),
            read_at: Instant::now(),
        })
    }

    /// Whether it counts now and from there.
    ///
    /// # Errors
    /// With the first reason against it.
    pub fn usable(&self, now: DateTime<Utc>, address: Option<IpAddr>) -> Result<(), Refusal> {
        self.live(now)?;
        if !model::allows(&self.allowed_cidrs, address) {
            return Err(Refusal::Elsewhere);
        }
        Ok(())
    }

    /// Whether it counts now, from somewhere.
    ///
    /// # Errors
    /// With the first reason against it.
    pub fn live(&self, now: DateTime<Utc>) -> Result<(), Refusal> {
        let is_over = |end: Option<DateTime<Utc>>| end.is_some_and(|end| end <= now);
        if self.revoked {
            return Err(Refusal::Revoked);
        }
        if is_over(self.expires_at) || is_over(self.retires_at) {
            return Err(Refusal::Expired);
        }
        Ok(())
    }

    /// What it may do, when its owner may do so much.
    #[must_use]
    pub fn permissions_within(&self, owners: &Permissions) -> Permissions {
        self.scopes_that(|scope| owners.contains(scope))
    }

    /// What a tenant's own key may do: what it was made for, as far as that exists there.
    #[must_use]
    pub fn permissions_of_tenant(&self, is_platform: bool) -> Permissions {
        self.scopes_that(|scope| field::exists(scope, is_platform).unwrap_or(true))
    }

    fn scopes_that(&self, count: impl Fn(&str) -> bool) -> Permissions {
        // All of them, mostly: then there is nothing to make anew.
        if self.scopes.iter().all(&count) {
            return self.scopes.clone();
        }
        self.scopes.iter().filter(|scope| count(scope)).collect()
    }

    /// Whether no use was written down before this one.
    pub(super) fn is_first_use(&self) -> bool {
        !self.stamped.swap(true, Ordering::AcqRel)
    }
}

/// The keys that were used lately.
pub struct Keyring {
    ids: Cache<KeyHash, ApiKeyId>,
    known: Cache<ApiKeyId, Arc<Known>>,
    unknown: Cache<KeyHash, Instant>,
    changes: Arc<AtomicU64>,
}

impl Keyring {
    /// An empty keyring that listens for changes.
    #[must_use]
    pub fn new(signals: &Signals) -> Self {
        let known: Cache<ApiKeyId, Arc<Known>> = Cache::builder()
            .max_capacity(CAPACITY)
            .time_to_live(LIFETIME)
            .build();
        let changes = Arc::new(AtomicU64::new(0));
        let (of, count) = (known.clone(), Arc::clone(&changes));
        signals.listen(move |signal| {
            if signal.kind == SignalKind::ApiKeyChanged {
                count.fetch_add(1, Ordering::AcqRel);
                of.invalidate(&ApiKeyId(signal.subject));
            }
        });
        Self {
            // Which id a text has never changes.
            ids: Cache::new(CAPACITY),
            known,
            unknown: Cache::builder()
                .max_capacity(UNKNOWN_CAPACITY)
                .time_to_live(UNKNOWN_LIFETIME)
                .build(),
            changes,
        }
    }

    /// What counts of the key; nothing if there is none of that text, in any tenant.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn find(&self, context: &Context, text: &KeyText) -> Result<Option<Arc<Known>>, Internal> {
        let hash = text.hash();
        let counts = |read_at: Instant| context.signals.is_fresh() || read_at.elapsed() < UNHEARD;
        let remembered = self.ids.get(&hash).and_then(|id| self.known.get(&id));
        if let Some(known) = remembered.filter(|known| counts(known.read_at)) {
            return Ok(Some(known));
        }
        if self.unknown.get(&hash).is_some_and(counts) {
            return Ok(None);
        }
        let changes = self.changes.load(Ordering::Acquire);
        let tx = context.postgres.cross_tenant(CrossTenant::ResolveKey).await?;
        let Some(row) = store::find_by_hash(&tx, &hash).await? else {
            self.unknown.insert(hash, Instant::now());
            return Ok(None);
        };
        let known = Arc::new(Known::of(row)?);
        self.ids.insert(hash, known.id);
        self.known.insert(known.id, Arc::clone(&known));
        // A change that came in before the insertion has not removed what came after it.
        if self.changes.load(Ordering::Acquire) != changes {
            self.known.invalidate(&known.id);
        }
        Ok(Some(known))
    }

    /// How much is remembered: of keys, and of what is none.
    #[must_use]
    pub fn sizes(&self) -> (u64, u64) {
        self.known.run_pending_tasks();
        self.unknown.run_pending_tasks();
        (self.known.entry_count(), self.unknown.entry_count())
    }
}
