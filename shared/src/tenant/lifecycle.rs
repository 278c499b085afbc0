//! A tenant's way from active to gone, as the platform's administrators lead it.
//!
//! What follows a tenant's change of state is told to every process: its users' tokens and its keys are refused with
//! the next request. Its events are delivered all the same, the one that tells of the suspension among them.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;

use super::{Tenant, TenantError, TenantStatus, store};
use crate::{
    audit::{self, Record},
    clock::Timestamp,
    context::{Change, Context},
    id::TenantId,
    outbox::{self, event},
    permission::{Authorized, TenantsWrite},
    postgres::CrossTenant,
    principal::Origin,
    signal::SignalKind,
};

/// What somebody wants of a tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    Suspend,
    Activate,
    Delete,
}

impl Wish {
    const fn action(self) -> &'static str {
        match self {
            Self::Suspend => "tenant.suspend",
            Self::Activate => "tenant.activate",
            Self::Delete => "tenant.delete",
        }
    }

    /// Where a tenant goes from where it is; nothing where it is there already.
    fn leads(self, from: TenantStatus) -> Result<Option<TenantStatus>, TenantError> {
        use TenantStatus::{Active, Deleting, Purging, Suspended};
        match (self, from) {
            (Self::Suspend, Active) => Ok(Some(Suspended)),
            (Self::Activate, Suspended | Deleting) => Ok(Some(Active)),
            (Self::Delete, Active | Suspended) => Ok(Some(Deleting)),
            (Self::Suspend, Suspended) | (Self::Activate, Active) | (Self::Delete, Deleting | Purging) => {
                Ok(None)
            }
            (Self::Suspend, Deleting | Purging) | (Self::Activate, Purging) => Err(TenantError::Deleted),
        }
    }
}

/// Bars everyone from the tenant, until it is activated. To suspend a suspended one changes nothing.
///
/// # Errors
/// [`TenantError::NotFound`], [`TenantError::Platform`], or [`TenantError::Deleted`] for one that is to be deleted.
pub async fn suspend(
    context: &Context,
    caller: &Authorized<TenantsWrite>,
    origin: &Origin,
    id: TenantId,
) -> Result<(), TenantError> {
    lead(context, caller, origin, id, Wish::Suspend).await
}

/// Lets everyone back in, also into a tenant that was to be deleted.
///
/// # Errors
/// [`TenantError::NotFound`], or [`TenantError::Deleted`] once the grace period is over.
pub async fn activate(
    context: &Context,
    caller: &Authorized<TenantsWrite>,
    origin: &Origin,
    id: TenantId,
) -> Result<(), TenantError> {
    lead(context, caller, origin, id, Wish::Activate).await
}

/// Bars everyone from the tenant, and has the worker remove what it holds once the grace period is over. To delete one
/// again does not prolong the period.
///
/// # Errors
/// [`TenantError::NotFound`], [`TenantError::Platform`].
pub async fn delete(
    context: &Context,
    caller: &Authorized<TenantsWrite>,
    origin: &Origin,
    id: TenantId,
) -> Result<(), TenantError> {
    lead(context, caller, origin, id, Wish::Delete).await
}

async fn lead(
    context: &Context,
    caller: &Authorized<TenantsWrite>,
    origin: &Origin,
    id: TenantId,
    wish: Wish,
) -> Result<(), TenantError> {
    let mut change = context
        .cross_tenant_change(CrossTenant::Administration, id, caller.actor(), origin)
        .await?;
    let row = store::hold(&change.tx, id).await?.ok_or(TenantError::NotFound)?;
    let before = Tenant::try_from(row)?;
    if before.is_platform() && wish != Wish::Activate {
        return Err(TenantError::Platform);
    }
    let Some(status) = wish.leads(before.status)? else {
        return Ok(());
    };
    let grace = TimeDelta::from_std(context.config.tenancy.deletion_grace).unwrap_or(TimeDelta::MAX);
    let delete_at = (status == TenantStatus::Deleting).then(|| after(change.now, grace));
    store::set_status(&change.tx, id, status, delete_at, change.now).await?;
    let delete_at = delete_at.map(Timestamp);
    let detail = json!({ "before": before.status, "after": status, "delete_at": delete_at });
    audit::record(&change, Record::success(wish.action(), "tenant", id.0, detail)).await?;
    tell(&mut change, &before, status, delete_at).await?;
    change.signal(SignalKind::TenantChanged, id.0).await?;
    change.commit().await?;
    Ok(())
}

/// A grace beyond the calendar's end lasts for ever.
fn after(now: DateTime<Utc>, grace: TimeDelta) -> DateTime<Utc> {
    now.checked_add_signed(grace).unwrap_or(DateTime::<Utc>::MAX_UTC)
}

/// Tells the tenant's own endpoints whether it works.
async fn tell(
    change: &mut Change<'_>,
    tenant: &Tenant,
    status: TenantStatus,
    delete_at: Option<Timestamp>,
) -> Result<(), TenantError> {
    let from = tenant.status;
    let tenant = event::NamedTenant {
        id: tenant.id,
        slug: tenant.slug.clone(),
        name: tenant.name.clone(),
    };
    match (from, status) {
        (_, TenantStatus::Active) => {
            outbox::emit(change, None, &event::TenantActivated { tenant, delete_at }).await?;
        }
        (TenantStatus::Active, _) => {
            outbox::emit(change, None, &event::TenantSuspended { tenant, delete_at }).await?;
        }
        // It did not work before either.
        _ => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_comes_back_until_its_removal_has_begun() {
        use TenantStatus::{Active, Deleting, Purging, Suspended};
        let leads = |wish: Wish, from| wish.leads(from).map_err(|error| error.to_string());
        let gone = Err(TenantError::Deleted.to_string());
        for (from, suspend, activate, delete) in [
            (Active, Ok(Some(Suspended)), Ok(None), Ok(Some(Deleting))),
            (Suspended, Ok(None), Ok(Some(Active)), Ok(Some(Deleting))),
            (Deleting, gone.clone(), Ok(Some(Active)), Ok(None)),
            (Purging, gone.clone(), gone, Ok(None)),
        ] {
            assert_eq!(leads(Wish::Suspend, from), suspend, "{from:?}");
            assert_eq!(leads(Wish::Activate, from), activate, "{from:?}");
            assert_eq!(leads(Wish::Delete, from), delete, "{from:?}");
        }
    }
}
