//! Service accounts, remembered: what a key of theirs may do.
//!
//! A change of the account, of a role or of the tenant reaches this memory by a signal. What was being read while a
//! signal came in is used once and not remembered.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use moka::sync::Cache;

use super::{ServiceAccountStatus, store};
use crate::{
    context::Context,
    error::Internal,
    id::{ServiceAccountId, TenantId},
    postgres::Tx,
    principal::Permissions,
    signal::{SignalKind, Signals},
};

const CAPACITY: u64 = 50_000;
const LIFETIME: Duration = Duration::from_secs(30);

/// What counts of a service account.
#[derive(Clone, Debug)]
pub struct Machine {
    /// Whose it is.
    pub tenant: TenantId,
    /// Whether its keys work.
    pub status: ServiceAccountStatus,
    /// What its roles grant together.
    pub permissions: Permissions,
}

impl Machine {
    /// The account as PostgreSQL has it; nothing if it is gone.
    pub(crate) async fn read(
        tx: &Tx,
        tenant: TenantId,
        is_platform: bool,
        id: ServiceAccountId,
    ) -> Result<Option<Self>, Internal> {
        let loaded = store::load(tx, tenant, is_platform, id).await?;
        Ok(loaded.map(|(row, roles)| Self {
            tenant,
            status: row.status,
            permissions: roles.iter().flat_map(|role| role.permissions.iter()).collect(),
        }))
    }
}

/// The service accounts that were used lately.
pub struct Machines {
    known: Cache<ServiceAccountId, Arc<Machine>>,
    changes: Arc<AtomicU64>,
}

impl Machines {
    /// An empty memory that listens for changes.
    #[must_use]
    pub fn new(signals: &Signals) -> Self {
        let known: Cache<ServiceAccountId, Arc<Machine>> = Cache::builder()
            .max_capacity(CAPACITY)
            .time_to_live(LIFETIME)
            .support_invalidation_closures()
            .build();
        let changes = Arc::new(AtomicU64::new(0));
        let (of, count) = (known.clone(), Arc::clone(&changes));
        signals.listen(move |signal| match signal.kind {
            SignalKind::ServiceAccountChanged => {
                count.fetch_add(1, Ordering::AcqRel);
                of.invalidate(&ServiceAccountId(signal.subject));
            }
            // Who holds the role is not known here.
            SignalKind::RoleChanged | SignalKind::TenantChanged => {
                count.fetch_add(1, Ordering::AcqRel);
                let tenant = signal.tenant;
                if of
                    .invalidate_entries_if(move |_, machine| machine.tenant == tenant)
                    .is_err()
                {
                    of.invalidate_all();
                }
            }
            SignalKind::SessionRevoked | SignalKind::AccountChanged | SignalKind::ApiKeyChanged => {}
        });
        Self { known, changes }
    }

    /// The account; nothing if it is gone. What is remembered counts as long as this process hears of changes.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn get(
        &self,
        context: &Context,
        tenant: TenantId,
        is_platform: bool,
        id: ServiceAccountId,
    ) -> Result<Option<Arc<Machine>>, Internal> {
        let remembered = self.known.get(&id).filter(|machine| machine.tenant == tenant);
        if let Some(machine) = remembered.filter(|_| context.signals.is_fresh()) {
            return Ok(Some(machine));
        }
        let changes = self.changes.load(Ordering::Acquire);
        let tx = context.postgres.tenant(tenant).await?;
        let Some(machine) = Machine::read(&tx, tenant, is_platform, id).await? else {
            return Ok(None);
        };
        let machine = Arc::new(machine);
        self.known.insert(id, Arc::clone(&machine));
        // A change that came in before the insertion has not removed what came after it.
        if self.changes.load(Ordering::Acquire) != changes {
            self.known.invalidate(&id);
        }
        Ok(Some(machine))
    }
}
