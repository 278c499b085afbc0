//! What a tenant's administrators do with its domains.

use sea_orm::{DbErr, SqlErr};
use serde_json::json;

use super::{Domain, DomainName, NotClaimable, TxtRecords, store};
use crate::{
    audit::{self, Record},
    clock::Timestamp,
    context::{Change, Context},
    entity::tenant_domain,
    error::{Internal, internal_variant},
    id::DomainId,
    page::{Page, PageRequest},
    permission::{Authorized, SettingsRead, SettingsWrite},
    principal::Origin,
    random,
    signal::SignalKind,
};

/// The most domains that a tenant may claim.
pub const MAX_DOMAINS: u32 = 20;

/// Why nothing was done to a domain.
#[derive(Debug, thiserror::Error)]
pub enum DomainError {
    /// Nobody can claim it.
    #[error(transparent)]
    NotClaimable(#[from] NotClaimable),
    /// The tenant claims it already.
    #[error("the tenant claims the domain already")]
    Exists,
    /// The tenant claims as many as it may.
    #[error("a tenant claims at most {0} domains")]
    LimitReached(u32),
    /// There is no such claim.
    #[error("there is no such domain")]
    NotFound,
    /// DNS does not show the record.
    #[error("DNS does not show the record")]
    RecordMissing,
    /// Another tenant has proven the domain; only who has proven it too is told.
    #[error("another tenant has proven the domain")]
    Taken,
    /// A failure inside, or a DNS that does not answer.
    #[error(transparent)]
    Internal(Internal),
}

internal_variant!(DomainError: Internal DbErr);

/// Claims a domain. It names nobody until it is proven.
///
/// # Errors
/// [`DomainError::NotClaimable`], [`DomainError::Exists`], [`DomainError::LimitReached`].
pub async fn create(
    context: &Context,
    caller: &Authorized<SettingsWrite>,
    origin: &Origin,
    domain: &str,
) -> Result<Domain, DomainError> {
    let config = &context.config;
    let name = DomainName::parse(
        domain,
        config.tenancy.base_domain.as_deref(),
        &config.server.public_url,
    )?;
    let tenant = caller.principal().tenant;
    let change = context.change(tenant, caller.actor(), origin).await?;
    if store::count_for_insert(tenant, &change.tx).await? >= u64::from(MAX_DOMAINS) {
        return Err(DomainError::LimitReached(MAX_DOMAINS));
    }
    let row = tenant_domain::Model {
        id: DomainId(context.uuid(change.now)),
        tenant_id: tenant,
        domain: name.as_str().to_owned(),
        verification: hex::encode(random::array::<32>(&*context.random)),
        verified_at: None,
        created_at: change.now,
    };
    let domain = Domain::from(row.clone());
    store::insert(&change.tx, row)
        .await
        .map_err(|error| match error.sql_err() {
            Some(SqlErr::UniqueConstraintViolation(_)) => DomainError::Exists,
            _ => error.into(),
        })?;
    record(&change, "tenant.domain.create", &domain).await?;
    change.commit().await?;
    Ok(domain)
}

/// The tenant's domains, newest first.
///
/// # Errors
/// Only failures inside.
pub async fn list(
    context: &Context,
    caller: &Authorized<SettingsRead>,
    page: PageRequest,
) -> Result<Page<Domain>, DomainError> {
    let tenant = caller.principal().tenant;
    let tx = context.postgres.tenant(tenant).await?;
    let rows = store::list(tenant, &tx, page).await?;
    Ok(Page::cut(rows, page, |row| row.id.0).map(Domain::from))
}

/// One domain.
///
/// # Errors
/// [`DomainError::NotFound`].
pub async fn get(
    context: &Context,
    caller: &Authorized<SettingsRead>,
    id: DomainId,
) -> Result<Domain, DomainError> {
    let tenant = caller.principal().tenant;
    let tx = context.postgres.tenant(tenant).await?;
    let row = store::find(tenant, &tx, id).await?;
    row.map(Domain::from).ok_or(DomainError::NotFound)
}

/// Looks for the record in DNS; from then on the domain names the tenant. To prove a proven one changes nothing.
///
/// # Errors
/// See [`DomainError`]; [`DomainError::Internal`] where DNS does not answer.
pub async fn verify(
    context: &Context,
    dns: &dyn TxtRecords,
    caller: &Authorized<SettingsWrite>,
    origin: &Origin,
    id: DomainId,
) -> Result<Domain, DomainError> {
    let tenant = caller.principal().tenant;
    let tx = context.postgres.tenant(tenant).await?;
    let row = store::find(tenant, &tx, id).await?;
    // No connection waits for DNS.
    drop(tx);
    let domain = Domain::from(row.ok_or(DomainError::NotFound)?);
    if domain.verified_at.is_some() {
        return Ok(domain);
    }
    let texts = dns.texts(&domain.record_name()).await;
    let texts = texts.map_err(Internal::unavailable)?;
    if !texts.contains(&domain.record_value()) {
        return Err(DomainError::RecordMissing);
    }

    let mut change = context.change(tenant, caller.actor(), origin).await?;
    let proven = store::prove(tenant, &change.tx, id, change.now).await;
    let proven = proven.map_err(|error| match error.sql_err() {
        // The one index that spans tenants.
        Some(SqlErr::UniqueConstraintViolation(_)) => DomainError::Taken,
        _ => error.into(),
    })?;
    // Deleted while DNS was asked, or proven by whoever asked at the same time.
    if !proven {
        let row = store::find(tenant, &change.tx, id).await?;
        return row.map(Domain::from).ok_or(DomainError::NotFound);
    }
    let domain = Domain {
        verified_at: Some(change.now),
        ..domain
    };
    record(&change, "tenant.domain.verify", &domain).await?;
    change.signal(SignalKind::TenantChanged, tenant.0).await?;
    change.commit().await?;
    Ok(domain)
}

/// Gives a domain up. It names the tenant no longer, on any process.
///
/// # Errors
/// [`DomainError::NotFound`].
pub async fn delete(
    context: &Context,
    caller: &Authorized<SettingsWrite>,
    origin: &Origin,
    id: DomainId,
) -> Result<(), DomainError> {
    let tenant = caller.principal().tenant;
    let mut change = context.change(tenant, caller.actor(), origin).await?;
    let row = store::delete(tenant, &change.tx, id).await?;
    let domain = Domain::from(row.ok_or(DomainError::NotFound)?);
    record(&change, "tenant.domain.delete", &domain).await?;
    change.signal(SignalKind::TenantChanged, tenant.0).await?;
    change.commit().await?;
    Ok(())
}

async fn record(change: &Change<'_>, action: &'static str, domain: &Domain) -> Result<(), DbErr> {
    let detail = json!({ "domain": domain.domain, "verified_at": domain.verified_at.map(Timestamp) });
    audit::record(change, Record::success(action, "domain", domain.id.0, detail)).await
}
