//! What the platform's administrators change of a tenant.

use serde_json::{Value, json};

use super::{RateLimits, Tenant, TenantError, merge::merged, store};
use crate::{
    audit::{self, Record},
    cidr,
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
    /// Replaces the address ranges that are not public and that its endpoints may be called in all the same.
    pub webhook_cidrs: Option<Vec<String>>,
}

/// Changes a tenant's name, its share of the limits and where its endpoints may be.
///
/// # Errors
/// [`TenantError::NotFound`], [`TenantError::InvalidCidr`].
pub async fn update(
    context: &Context,
    caller: &Authorized<TenantsWrite>,
    origin: &Origin,
    id: TenantId,
    request: UpdateTenant,
) -> Result<Tenant, TenantError> {
    let webhook_cidrs = request.webhook_cidrs.as_deref().map(checked_cidrs).transpose()?;
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
    let webhook_cidrs = webhook_cidrs.unwrap_or_else(|| before.webhook_cidrs.clone());
    let unchanged =
        (&name, &rate_limits, &webhook_cidrs) == (&before.name, &before.rate_limits, &before.webhook_cidrs);
    if unchanged {
        return Ok(Tenant::try_from(before)?);
    }
    // What cannot be read again is not kept.
    serde_json::from_value::<RateLimits>(rate_limits.clone())?;
    let detail = json!({
        "before": {
            "name": before.name, "rate_limits": before.rate_limits, "webhook_cidrs": before.webhook_cidrs,
        },
        "after": { "name": name, "rate_limits": rate_limits, "webhook_cidrs": webhook_cidrs },
    });
    let after = store::update(&change.tx, id, name, rate_limits, webhook_cidrs, change.now).await?;
    audit::record(&change, Record::success("tenant.update", "tenant", id.0, detail)).await?;
    change.signal(SignalKind::TenantChanged, id.0).await?;
    change.commit().await?;
    Ok(Tenant::try_from(after.ok_or(TenantError::NotFound)?)?)
}

/// The ranges as they are kept. All there is, is no range: the guard would be off.
fn checked_cidrs(cidrs: &[String]) -> Result<Vec<String>, TenantError> {
    let is_all = |text: &String| cidr::read(text).is_some_and(|range| range.prefix_len() == 0);
    if let Some(at) = cidrs.iter().position(is_all) {
        return Err(TenantError::InvalidCidr(at));
    }
    let ranges = cidr::read_all(cidrs).map_err(TenantError::InvalidCidr)?;
    Ok(ranges.iter().map(ToString::to_string).collect())
}
