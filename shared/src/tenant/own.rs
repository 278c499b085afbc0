//! What a tenant's own administrators see and change of it.

use serde_json::{Value, json};

use super::{SettingFault, Settings, Tenant, merge::merged, store};
use crate::{
    audit::{self, Record},
    context::{Change, Context},
    error::{Internal, internal_variant},
    permission::{Authorized, SettingsRead, SettingsWrite},
    principal::Origin,
    rbac,
    signal::SignalKind,
    version::Expected,
};

/// Why settings were not changed.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// They are not what the caller has read.
    #[error("they have changed meanwhile")]
    Stale,
    /// They would not be valid.
    #[error("{} settings are not valid", .0.len())]
    Faulty(Vec<SettingFault>),
    /// The tenant is gone.
    #[error("the tenant is gone")]
    NotFound,
    /// A failure inside.
    #[error(transparent)]
    Internal(Internal),
}

internal_variant!(SettingsError: Internal sea_orm::DbErr serde_json::Error);

/// The caller's own tenant, as the database has it: its version can be relied upon.
///
/// # Errors
/// [`SettingsError::NotFound`].
pub async fn own(context: &Context, caller: &Authorized<SettingsRead>) -> Result<Tenant, SettingsError> {
    let tenant = caller.principal().tenant;
    let tx = context.postgres.tenant(tenant).await?;
    let row = store::find(&tx, tenant).await?.ok_or(SettingsError::NotFound)?;
    Ok(Tenant::try_from(row)?)
}

/// Changes the settings of the caller's tenant by a merge patch (RFC 7396) of [`Settings`]: what is absent stays, null
/// goes back to the default. They hold with the next request, on every process.
///
/// # Errors
/// See [`SettingsError`]; nothing was changed then.
pub async fn update_settings(
    context: &Context,
    caller: &Authorized<SettingsWrite>,
    origin: &Origin,
    expected: &Expected,
    patch: &Value,
) -> Result<Tenant, SettingsError> {
    let tenant = caller.principal().tenant;
    let mut change = context.change(tenant, caller.actor(), origin).await?;
    // The roles that they name are neither renamed nor deleted meanwhile.
    rbac::take_turns(&change.tx, tenant).await?;
    let row = store::hold(&change.tx, tenant).await?;
    let before = row.ok_or(SettingsError::NotFound)?;
    if !expected.allows(before.version) {
        return Err(SettingsError::Stale);
    }
    let mut settings = merged(before.settings.clone(), patch);
    if settings == before.settings {
        return Ok(Tenant::try_from(before)?);
    }
    let chosen = serde_json::from_value::<Settings>(settings.clone())?;
    let faults = chosen.faults();
    if !faults.is_empty() {
        return Err(SettingsError::Faulty(faults));
    }
    let asked = chosen.mfa.roles;
    if asked
        != serde_json::from_value::<Settings>(before.settings.clone())?
            .mfa
            .roles
    {
        settings["mfa"]["roles"] = there(&change, asked).await?.into();
    }
    let detail = json!({ "before": before.settings, "after": settings });
    let after = store::set_settings(&change.tx, tenant, before.version, settings, change.now).await?;
    let after = after.ok_or(SettingsError::Stale)?;
    let record = Record::success("tenant.settings.update", "tenant", tenant.0, detail);
    audit::record(&change, record).await?;
    change.signal(SignalKind::TenantChanged, tenant.0).await?;
    change.commit().await?;
    Ok(Tenant::try_from(after)?)
}

/// The roles as they are written, each of which there is: a name that nobody has would ask nobody for a second factor.
async fn there(change: &Change<'_>, asked: Vec<String>) -> Result<Vec<String>, SettingsError> {
    let (mut roles, mut faults) = (Vec::new(), Vec::new());
    for name in asked {
        match rbac::find_named(&change.tx, change.tenant, &name).await? {
            Some(written) if roles.contains(&written) => {}
            Some(written) => roles.push(written),
            None => faults.push(SettingFault {
                pointer: "/mfa/roles",
                code: "unknown",
                detail: format!("no role has the name {name:?}"),
            }),
        }
    }
    if faults.is_empty() {
        Ok(roles)
    } else {
        Err(SettingsError::Faulty(faults))
    }
}
