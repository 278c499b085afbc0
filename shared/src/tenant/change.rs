//! What the platform's administrators change of a tenant.

use serde_json::{Value, json};

use super::{RateLimits, Tenant, TenantError, merge::merged, store};
use crate::{
    audit::{self, Record},
    context::Context,
    id::TenantId,
    permission::{Authorized, TenantsWrite},
    postgres::CrossTenant,
    principal::Origin,
    signal::SignalKind,
};

/// What to change of a tenant; what is absent stays.
#[derive(Clone, Debug, Default)]
pub struct UpdateTenant {
    /// Its name for people.
    pub name: Option<String>,
    /// A merge patch (RFC 7396) of [`RateLimits`]: null goes back to the configured limit.
    pub rate_limits: Option<Value>,
}

/// Changes a tenant's name and its share of the limits.
///
/// # Errors
/// [`TenantError::NotFound`].
pub async fn update(
    context: &Context,
    caller: &Authorized<TenantsWrite>,
    origin: &Origin,
    id: TenantId,
    request: UpdateTenant,
) -> Result<Tenant, TenantError> {
    let mut change = context
        .cross_tenant_change(CrossTenant::Administration, id, caller.actor(), origin)
        .await?;
    let before = store::hold(&change.tx, id).await?.ok_or(TenantError::NotFound)?;
    let name = request.name.unwrap_or_else(|| before.name.clone());
    let rate_limits = match request.rate_limits {
        None => before.rate_limits.clone(),
        Some(Value::Null) => json!({}),
        Some(patch) => merged(before.rate_limits.clone(), &patch),
    };
    if name == before.name && rate_limits == before.rate_limits {
        return Ok(Tenant::try_from(before)?);
    }
    // What cannot be read again is not kept.
    serde_json::from_value::<RateLimits>(rate_limits.clone())?;
    let detail = json!({
        "before": { "name": before.name, "rate_limits": before.rate_limits },
        "after": { "name": name, "rate_limits": rate_limits },
    });
    let after = store::update(&change.tx, id, name, rate_limits, change.now).await?;
    audit::record(&change, Record::success("tenant.update", "tenant", id.0, detail)).await?;
    change.signal(SignalKind::TenantChanged, id.0).await?;
    change.commit().await?;
    Ok(Tenant::try_from(after.ok_or(TenantError::NotFound)?)?)
}
