//! Finding the tenant of a request, from memory where possible.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use moka::sync::Cache;

use super::{
    Slug, Tenant, TenantStatus,
    naming::{self, Name, Named},
    store,
};
use crate::{
    context::Context,
    error::{Internal, internal_variant},
    id::TenantId,
    postgres::CrossTenant,
    signal::{SignalKind, Signals},
};

/// Names that were looked up, found or not. Bounded, so that made-up names cost little.
const CAPACITY: u64 = 50_000;
const LIFETIME: Duration = Duration::from_secs(30);

/// Why the tenant of a request is not known.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// The request names none, and there is no default.
    #[error("the request names no tenant")]
    Required,
    /// What it names does not exist.
    #[error("there is no such tenant")]
    Unknown,
    /// The header and the host name two different ones.
    #[error("the request names two tenants")]
    Conflict,
    /// The tenant is suspended, or to be deleted.
    #[error("the tenant is suspended")]
    Suspended,
    /// A failure inside.
    #[error(transparent)]
    Internal(Internal),
}

internal_variant!(ResolveError: Internal sea_orm::DbErr serde_json::Error);

/// Tenants by name. A change of a tenant removes it and every name that was nobody's.
pub struct Directory {
    context: Context,
    known: Cache<Name, Option<Arc<Tenant>>>,
    changes: Arc<AtomicU64>,
}

impl Directory {
    /// An empty directory that listens for changes.
    #[must_use]
    pub fn new(context: Context) -> Self {
        let known = Cache::builder()
            .max_capacity(CAPACITY)
            .time_to_live(LIFETIME)
            .support_invalidation_closures()
            .build();
        let changes = Arc::new(AtomicU64::new(0));
        forget_on_change(&known, &changes, &context.signals);
        Self {
            context,
            known,
            changes,
        }
    }

    /// The tenant that the header and the host name, or else the default one.
    ///
    /// # Errors
    /// When it is not clear which, does not exist or is suspended.
    pub async fn resolve(
        &self,
        header: Option<&str>,
        host: Option<&str>,
    ) -> Result<Arc<Tenant>, ResolveError> {
        let named = self.named(header, host).await?;
        let tenant = match (named, &self.context.config.tenancy.default_tenant) {
            (Some(tenant), _) => tenant,
            (None, Some(slug)) => self
                .find(Name::Slug(slug.clone()))
                .await?
                .ok_or(ResolveError::Unknown)?,
            (None, None) => return Err(ResolveError::Required),
        };
        if tenant.status == TenantStatus::Active {
            Ok(tenant)
        } else {
            Err(ResolveError::Suspended)
        }
    }

    /// The tenant that the request names by itself: a credential of another tenant is refused in it.
    ///
    /// # Errors
    /// When it names one that does not exist, or two.
    pub async fn named(
        &self,
        header: Option<&str>,
        host: Option<&str>,
    ) -> Result<Option<Arc<Tenant>>, ResolveError> {
        let Named { header, host } = naming::read(header, host, self.own());
        let by_header = match header {
            Some(name) => Some(self.find(name).await?.ok_or(ResolveError::Unknown)?),
            None => None,
        };
        let by_host = match host {
            // Nobody is surprised by a host that is no tenant's domain: the API's own name is one.
            Some(name @ Name::Domain(_)) => self.find(name).await?,
            Some(name) => Some(self.find(name).await?.ok_or(ResolveError::Unknown)?),
            None => None,
        };
        match (by_header, by_host) {
            (Some(header), Some(host)) if header.id != host.id => Err(ResolveError::Conflict),
            (header, host) => Ok(header.or(host)),
        }
    }

    /// The tenant that [`Self::resolve`] would find, as far as memory tells: for what must cost nothing. One that is
    /// not remembered has not been asked for in a while.
    #[must_use]
    pub fn remembered(&self, header: Option<&str>, host: Option<&str>) -> Option<Arc<Tenant>> {
        let Named { header, host } = naming::read(header, host, self.own());
        let default = self.context.config.tenancy.default_tenant.clone().map(Name::Slug);
        let mut names = [header, host, default].into_iter().flatten();
        names.find_map(|name| self.known.get(&name)?)
    }

    fn own(&self) -> naming::Own<'_> {
        let config = &self.context.config;
        naming::Own {
            host: config.server.public_url.host_str(),
            base_domain: config.tenancy.base_domain.as_deref(),
        }
    }

    /// The tenant of that id.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn get(&self, id: TenantId) -> Result<Option<Arc<Tenant>>, ResolveError> {
        self.find(Name::Id(id)).await
    }

    async fn find(&self, name: Name) -> Result<Option<Arc<Tenant>>, ResolveError> {
        // What cannot be a slug is nobody's, and is neither looked up nor remembered.
        if matches!(&name, Name::Slug(slug) if Slug::parse(slug).is_err()) {
            return Ok(None);
        }
        if let Some(known) = self.known.get(&name) {
            return Ok(known);
        }
        let changes = self.changes.load(Ordering::Acquire);
        let tx = self
            .context
            .postgres
            .cross_tenant(CrossTenant::ResolveTenant)
            .await?;
        let row = match &name {
            Name::Id(id) => store::find(&tx, *id).await?,
            Name::Slug(slug) => store::find_by_slug(&tx, slug).await?,
            Name::Domain(domain) => store::find_by_domain(&tx, domain).await?,
        };
        let tenant = row.map(Tenant::try_from).transpose()?.map(Arc::new);
        self.known.insert(name.clone(), tenant.clone());
        // A change that came in before the insertion has not removed what came after it.
        if self.changes.load(Ordering::Acquire) != changes {
            self.known.invalidate(&name);
        }
        Ok(tenant)
    }
}

fn forget_on_change(known: &Cache<Name, Option<Arc<Tenant>>>, counter: &Arc<AtomicU64>, signals: &Signals) {
    let (known, counter) = (known.clone(), Arc::clone(counter));
    signals.listen(move |signal| {
        if signal.kind == SignalKind::TenantChanged {
            counter.fetch_add(1, Ordering::AcqRel);
            let changed = signal.tenant;
            let concerned = move |_: &Name, tenant: &Option<Arc<Tenant>>| {
                // A name that was nobody's may be this tenant's now.
                tenant.as_ref().is_none_or(|tenant| tenant.id == changed)
            };
            if known.invalidate_entries_if(concerned).is_err() {
                known.invalidate_all();
            }
        }
    });
}
