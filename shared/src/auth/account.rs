//! Accounts, remembered: who a token's user is and may do.
//!
//! A change of the user, the roles or the tenant reaches this memory by a signal. What was being read while a
//! signal came in is used once and not remembered.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use moka::sync::Cache;

use super::policy;
use crate::{
    context::Context,
    error::Internal,
    id::{TenantId, UserId},
    mfa,
    postgres::Tx,
    principal::Permissions,
    rbac,
    signal::{SignalKind, Signals},
    tenant::{self, Tenant, TenantStatus},
    user::{self, User, UserStatus},
};

const CAPACITY: u64 = 100_000;
const LIFETIME: Duration = Duration::from_secs(30);

/// A user in a tenant, and what the user may do there.
#[derive(Clone, Debug)]
pub struct Account {
    /// Who.
    pub user: User,
    /// Where.
    pub tenant: Tenant,
    /// The names of the roles held.
    pub roles: Vec<String>,
    /// What they grant together.
    pub permissions: Permissions,
    /// Whether the user has a second factor.
    pub enrolled: bool,
    /// What whoever shows the account has made of it: it stays the same for as long as the account is remembered.
    pub shown: OnceLock<String>,
}

impl Account {
    /// Whether the account's credentials count.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.user.status == UserStatus::Active && self.tenant.status == TenantStatus::Active
    }

    /// Whether the tenant's policy wants a second factor of this user, who may do nothing but set one up until then.
    #[must_use]
    pub fn must_enrol(&self) -> bool {
        !self.enrolled && policy::requires_factor(&self.tenant.settings.mfa, &self.roles)
    }
}

/// The accounts that were used lately.
pub struct Accounts {
    known: Cache<UserId, Arc<Account>>,
    changes: Arc<AtomicU64>,
}

impl Accounts {
    pub(super) fn new(signals: &Signals) -> Self {
        let known: Cache<UserId, Arc<Account>> = Cache::builder()
            .max_capacity(CAPACITY)
            .time_to_live(LIFETIME)
            .support_invalidation_closures()
            .build();
        let changes = Arc::new(AtomicU64::new(0));
        let (of, count) = (known.clone(), Arc::clone(&changes));
        signals.listen(move |signal| match signal.kind {
            SignalKind::SessionRevoked | SignalKind::ServiceAccountChanged | SignalKind::ApiKeyChanged => {}
            SignalKind::AccountChanged => {
                count.fetch_add(1, Ordering::AcqRel);
                of.invalidate(&UserId(signal.subject));
            }
            // Who holds the role is not known here.
            SignalKind::TenantChanged | SignalKind::RoleChanged => {
                count.fetch_add(1, Ordering::AcqRel);
                let tenant = signal.tenant;
                if of
                    .invalidate_entries_if(move |_, account| account.tenant.id == tenant)
                    .is_err()
                {
                    of.invalidate_all();
                }
            }
        });
        Self { known, changes }
    }

    /// As [`Self::get`], but what is remembered counts only as long as this process hears of changes.
    pub(super) async fn get_heard(
        &self,
        context: &Context,
        tenant: TenantId,
        user: UserId,
    ) -> Result<Option<Arc<Account>>, Internal> {
        if context.signals.is_fresh() {
            return self.get(context, tenant, user).await;
        }
        Ok(load(context, tenant, user).await?.map(Arc::new))
    }

    /// The account of a user; nothing if it is gone.
    pub(super) async fn get(
        &self,
        context: &Context,
        tenant: TenantId,
        user: UserId,
    ) -> Result<Option<Arc<Account>>, Internal> {
        if let Some(known) = self
            .known
            .get(&user)
            .filter(|account| account.tenant.id == tenant)
        {
            return Ok(Some(known));
        }
        let changes = self.changes.load(Ordering::Acquire);
        let account = load(context, tenant, user).await?.map(Arc::new);
        if let Some(account) = &account {
            self.known.insert(user, Arc::clone(account));
            // A change that came in before the insertion has not removed what came after it.
            if self.changes.load(Ordering::Acquire) != changes {
                self.known.invalidate(&user);
            }
        }
        Ok(account)
    }
}

async fn load(context: &Context, tenant: TenantId, user: UserId) -> Result<Option<Account>, Internal> {
    let tx = context.postgres.tenant(tenant).await?;
    read(&tx, tenant, user).await
}

/// The account as PostgreSQL has it; nothing if it is gone.
pub(super) async fn read(tx: &Tx, tenant: TenantId, user: UserId) -> Result<Option<Account>, Internal> {
    let Some(row) = user::store::find(tx, tenant, user).await? else {
        return Ok(None);
    };
    let Some(tenant) = tenant::store::find(tx, tenant).await? else {
        return Ok(None);
    };
    let tenant = Tenant::try_from(tenant)?;
    let held = rbac::held(tx, tenant.id, tenant.is_platform(), user).await?;
    let enrolled = mfa::is_enrolled(tx, tenant.id, user).await?;
    Ok(Some(Account {
        user: row.into(),
        tenant,
        roles: held.roles,
        permissions: held.permissions,
        enrolled,
        shown: OnceLock::new(),
    }))
}
