//! The one decision about who may enter, for every way in. Pure.

use crate::{
    entity::user,
    tenant::{EmailVerification, Tenant, TenantStatus},
    user::UserStatus,
};

/// What somebody has proven so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proven {
    /// The first factor, on a device that may be trusted not to be asked for the second.
    Password {
        /// Whether the account has a second factor.
        enrolled: bool,
        /// Whether this device was told to be remembered.
        trusted_device: bool,
    },
    /// Both factors.
    BothFactors,
    /// A session that was let in before.
    Session,
}

/// What follows for someone who is not turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// The door is open.
    Enter,
    /// The second factor.
    ProveSecondFactor,
}

/// Why someone with the right credential may not enter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denied {
    /// The account or its tenant is barred. Nobody is told: to them the credential was wrong.
    Barred,
    /// The address is yet to be proven.
    EmailNotVerified,
}

/// Whether a user who has proven so much may enter the tenant.
///
/// # Errors
/// The first rule that bars the way.
pub fn may_enter(user: &user::Model, tenant: &Tenant, proven: Proven) -> Result<Next, Denied> {
    let active = user.status == UserStatus::Active && tenant.status == TenantStatus::Active;
    if !active || user.tenant_id != tenant.id {
        return Err(Denied::Barred);
    }
    let must_verify = tenant.settings.email_verification == EmailVerification::Required;
    if must_verify && user.email_verified_at.is_none() {
        return Err(Denied::EmailNotVerified);
    }
    Ok(match proven {
        Proven::Password {
            enrolled: true,
            trusted_device: false,
        } => Next::ProveSecondFactor,
        Proven::Password { .. } | Proven::BothFactors | Proven::Session => Next::Enter,
    })
}
