//! The one decision about who may enter, for every way in, and what a tenant asks of second factors. Pure.

use chrono::{DateTime, TimeDelta, Utc};

use super::Account;
use crate::{
    entity::user,
    id::TenantId,
    tenant::{EmailVerification, MfaPolicy, MfaRequirement, Tenant, TenantStatus},
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
    /// A key that the user made.
    Key,
}

/// What the rules ask of a user.
#[derive(Clone, Copy, Debug)]
pub struct Standing {
    tenant: TenantId,
    status: UserStatus,
    is_verified: bool,
}

impl From<&user::Model> for Standing {
    fn from(user: &user::Model) -> Self {
        Self {
            tenant: user.tenant_id,
            status: user.status,
            is_verified: user.email_verified_at.is_some(),
        }
    }
}

impl From<&Account> for Standing {
    fn from(account: &Account) -> Self {
        Self {
            tenant: account.tenant.id,
            status: account.user.status,
            is_verified: account.user.email_verified_at.is_some(),
        }
    }
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
/// An unproven address is said before a barred account: anyone may register the address anew and ask, and whether there
/// was a barred account must not be seen in the answer.
///
/// # Errors
/// The first rule that bars the way.
pub fn may_enter(user: impl Into<Standing>, tenant: &Tenant, proven: Proven) -> Result<Next, Denied> {
    let user: Standing = user.into();
    if tenant.status != TenantStatus::Active || user.tenant != tenant.id {
        return Err(Denied::Barred);
    }
    let must_verify = tenant.settings.email_verification == EmailVerification::Required;
    if must_verify && !user.is_verified {
        return Err(Denied::EmailNotVerified);
    }
    if user.status != UserStatus::Active {
        return Err(Denied::Barred);
    }
    Ok(match proven {
        Proven::Password {
            enrolled: true,
            trusted_device: false,
        } => Next::ProveSecondFactor,
        Proven::Password { .. } | Proven::BothFactors | Proven::Session | Proven::Key => Next::Enter,
    })
}

/// Whether the tenant wants a second factor of a user who holds those roles. Whoever has none may enter, and do nothing
/// but set one up.
#[must_use]
pub fn requires_factor(policy: &MfaPolicy, roles: &[String]) -> bool {
    match policy.requirement {
        MfaRequirement::Off | MfaRequirement::Optional => false,
        MfaRequirement::Required => true,
        MfaRequirement::RequiredForRoles => roles.iter().any(|role| policy.roles.contains(role)),
    }
}

/// Until when a device that has proven both factors at `now` is trusted with the second.
#[must_use]
pub fn trust(policy: &MfaPolicy, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let days = policy.remember_device_days;
    (days > 0).then(|| now + TimeDelta::days(i64::from(days)))
}

/// Whether a device that was trusted until then still is: the policy is asked again each time, and a trust that
/// reaches further than it would grant today is none.
#[must_use]
pub fn is_trusted(policy: &MfaPolicy, until: Option<DateTime<Utc>>, now: DateTime<Utc>) -> bool {
    until
        .zip(trust(policy, now))
        .is_some_and(|(until, at_most)| now < until && until <= at_most)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::{
        id::{TenantId, UserId},
        tenant::{RateLimits, Settings},
        version::Version,
    };

    fn policy(requirement: MfaRequirement, remember_device_days: u16) -> MfaPolicy {
        MfaPolicy {
            requirement,
            roles: vec!["owner".to_owned()],
            remember_device_days,
        }
    }

    #[test]
    fn s16_a_factor_is_required_of_everyone_or_of_roles() {
        let (owner, member) = (["owner".to_owned()], ["member".to_owned()]);
        for (requirement, of_owner, of_member) in [
            (MfaRequirement::Off, false, false),
            (MfaRequirement::Optional, false, false),
            (MfaRequirement::Required, true, true),
            (MfaRequirement::RequiredForRoles, true, false),
        ] {
            let policy = policy(requirement, 0);
            assert_eq!(requires_factor(&policy, &owner), of_owner, "{requirement:?}");
            assert_eq!(requires_factor(&policy, &member), of_member, "{requirement:?}");
        }
    }

    #[test]
    fn a_trust_ends_by_time_and_by_a_stricter_policy() {
        let now = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        let of = |days| policy(MfaRequirement::Optional, days);
        let until = trust(&of(30), now);
        assert!(is_trusted(&of(30), until, now));
        assert!(is_trusted(&of(60), until, now));
        assert!(!is_trusted(&of(7), until, now), "a shorter policy");
        assert!(!is_trusted(&of(0), until, now), "no policy");
        assert!(!is_trusted(&of(30), until, now + TimeDelta::days(30)));
        assert!(!is_trusted(&of(30), None, now));
        assert_eq!(trust(&of(0), now), None);
    }

    #[test]
    fn s16_one_function_decides_for_every_way_in() {
        let now = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        let tenant = Tenant {
            id: TenantId(Uuid::from_u128(1)),
            slug: "acme".to_owned(),
            name: "Acme".to_owned(),
            status: TenantStatus::Active,
            settings: Settings::default(),
            rate_limits: RateLimits::default(),
            webhook_cidrs: Vec::new(),
            version: Version::FIRST,
            delete_at: None,
            created_at: now,
            updated_at: now,
        };
        let user = user::Model {
            id: UserId(Uuid::from_u128(2)),
            tenant_id: tenant.id,
            email: "ada@example.com".to_owned(),
            email_canonical: "ada@example.com".to_owned(),
            name: None,
            password_hash: String::new(),
            status: UserStatus::Active,
            email_verified_at: Some(now),
            email_proven: true,
            decoy_hash: None,
            pending_email: None,
            pending_email_by: None,
            pending_email_key: None,
            password_changed_at: None,
            password_ended: false,
            external_id: None,
            import_mac: None,
            created_at: now,
            updated_at: now,
        };
        let password = |enrolled, trusted_device| Proven::Password {
            enrolled,
            trusted_device,
        };
        let enter = |proven| may_enter(&user, &tenant, proven);
        assert_eq!(enter(password(false, false)), Ok(Next::Enter));
        assert_eq!(enter(password(true, false)), Ok(Next::ProveSecondFactor));
        assert_eq!(enter(password(true, true)), Ok(Next::Enter));

        let mut disabled = user.clone();
        disabled.status = UserStatus::Disabled;
        let mut unproven = user.clone();
        unproven.email_verified_at = None;
        let mut foreign = user.clone();
        foreign.tenant_id = TenantId(Uuid::from_u128(3));
        let mut suspended = tenant.clone();
        suspended.status = TenantStatus::Suspended;
        for proven in [
            password(false, false),
            Proven::BothFactors,
            Proven::Session,
            Proven::Key,
        ] {
            assert_eq!(enter(proven), Ok(Next::Enter));
            assert_eq!(may_enter(&disabled, &tenant, proven), Err(Denied::Barred));
            assert_eq!(may_enter(&foreign, &tenant, proven), Err(Denied::Barred));
            assert_eq!(may_enter(&user, &suspended, proven), Err(Denied::Barred));
            assert_eq!(
                may_enter(&unproven, &tenant, proven),
                Err(Denied::EmailNotVerified)
            );
        }
    }
}
