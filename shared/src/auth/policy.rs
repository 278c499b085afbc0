//! The one decision about who may enter, for every way in. Pure.

use crate::{
    entity::user,
    tenant::{EmailVerification, Tenant, TenantStatus},
    user::UserStatus,
};

/// Why someone with the right credential may not enter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denied {
    /// The account or its tenant is barred. Nobody is told: to them the credential was wrong.
    Barred,
    /// The address is yet to be proven.
    EmailNotVerified,
}

/// Whether a user whose first factor was right may enter the tenant.
///
/// # Errors
/// The first rule that bars the way.
pub fn may_enter(user: &user::Model, tenant: &Tenant) -> Result<(), Denied> {
    let active = user.status == UserStatus::Active && tenant.status == TenantStatus::Active;
    if !active || user.tenant_id != tenant.id {
        return Err(Denied::Barred);
    }
    let must_verify = tenant.settings.email_verification == EmailVerification::Required;
    if must_verify && user.email_verified_at.is_none() {
        return Err(Denied::EmailNotVerified);
    }
    Ok(())
}
