//! What the platform's administrators do with tenants.

use sea_orm::{DbErr, SqlErr};
use serde_json::{Value, json};

use super::{RateLimits, Settings, Slug, Tenant, TenantStatus, store};
use crate::{
    audit::{self, Record},
    context::{Change, Context},
    error::{Internal, internal_variant},
    id::TenantId,
    page::{Page, PageRequest},
    permission::{Authorized, TenantsRead, TenantsWrite},
    postgres::CrossTenant,
    principal::Origin,
    rbac,
    signal::SignalKind,
    user::{Email, invitation},
    version::Version,
};

/// Why nothing was done to a tenant.
#[derive(Debug, thiserror::Error)]
pub enum TenantError {
    /// There is no such tenant.
    #[error("there is no such tenant")]
    NotFound,
    /// Another tenant has that slug.
    #[error("the slug is taken")]
    SlugTaken,
    /// It is the platform's own.
    #[error("the platform's own tenant stays")]
    Platform,
    /// One of the address ranges is none, or is all there is; which.
    #[error("the address range at {0} is not one")]
    InvalidCidr(usize),
    /// It is to be deleted, or being removed.
    #[error("the tenant is deleted")]
    Deleted,
    /// A failure inside.
    #[error(transparent)]
    Internal(Internal),
}

internal_variant!(TenantError: Internal DbErr serde_json::Error);

/// A tenant to be.
#[derive(Debug)]
pub struct CreateTenant {
    /// Its name in hosts and headers.
    pub slug: Slug,
    /// Its name for people.
    pub name: String,
    /// Who is invited to own it.
    pub owner: Option<Email>,
}

/// Creates a tenant with its built-in roles, and invites its owner by mail.
///
/// # Errors
/// [`TenantError::SlugTaken`].
pub async fn create(
    context: &Context,
    caller: &Authorized<TenantsWrite>,
    origin: &Origin,
    request: CreateTenant,
) -> Result<Tenant, TenantError> {
    let id = TenantId::new(context.clock.now(), &*context.random);
    let mut change = context
        .cross_tenant_change(CrossTenant::Administration, id, caller.actor(), origin)
        .await?;
    let tenant = found(&change, &request.slug, request.name, json!({})).await?;
    let roles = rbac::create_builtin(&change).await?;
    let detail = json!({ "slug": tenant.slug, "name": tenant.name });
    audit::record(&change, Record::success("tenant.create", "tenant", id.0, detail)).await?;
    if let Some(owner) = request.owner {
        invitation::invite(&mut change, &tenant, &owner, vec![roles.owner]).await?;
    }
    change.signal(SignalKind::TenantChanged, id.0).await?;
    change.commit().await?;
    Ok(tenant)
}

/// Writes the row of a new tenant, the change's own, with the settings that somebody has chosen.
pub(crate) async fn found(
    change: &Change<'_>,
    slug: &Slug,
    name: String,
    chosen: Value,
) -> Result<Tenant, TenantError> {
    let tenant = Tenant {
        id: change.tenant,
        slug: slug.as_str().to_owned(),
        name,
        status: TenantStatus::Active,
        settings: serde_json::from_value::<Settings>(chosen.clone())?,
        rate_limits: RateLimits::default(),
        webhook_cidrs: Vec::new(),
        version: Version::FIRST,
        delete_at: None,
        created_at: change.now,
        updated_at: change.now,
    };
    match store::insert(&change.tx, &tenant, chosen).await {
        Ok(()) => Ok(tenant),
        Err(error) => Err(match error.sql_err() {
            Some(SqlErr::UniqueConstraintViolation(_)) => TenantError::SlugTaken,
            _ => error.into(),
        }),
    }
}

/// One tenant.
///
/// # Errors
/// [`TenantError::NotFound`].
pub async fn get(
    context: &Context,
    _: &Authorized<TenantsRead>,
    id: TenantId,
) -> Result<Tenant, TenantError> {
    let tx = context.postgres.cross_tenant(CrossTenant::Administration).await?;
    let row = store::find(&tx, id).await?.ok_or(TenantError::NotFound)?;
    Ok(Tenant::try_from(row)?)
}

/// Which tenants to list.
#[derive(Clone, Debug, Default)]
pub struct TenantFilter {
    /// Those in this state.
    pub status: Option<TenantStatus>,
    /// The one of this slug.
    pub slug: Option<Slug>,
}

/// A page of the tenants that pass the filter, newest first.
///
/// # Errors
/// Only failures inside.
pub async fn list(
    context: &Context,
    _: &Authorized<TenantsRead>,
    filter: &TenantFilter,
    page: PageRequest,
) -> Result<Page<Tenant>, TenantError> {
    let tx = context.postgres.cross_tenant(CrossTenant::Administration).await?;
    let rows = store::list(&tx, filter, page).await?;
    let tenants = rows
        .into_iter()
        .map(Tenant::try_from)
        .collect::<Result<Vec<_>, _>>()?;
    Ok(Page::cut(tenants, page, |tenant| tenant.id.0))
}
