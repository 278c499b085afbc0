//! Tenants: isolated populations.
//!
//! A tenant is `active` or `suspended`. Users, roles, endpoints, events and audit rows belong to exactly one; the
//! same e-mail address in two tenants is two unrelated users. The platform is itself a tenant, the one whose slug
//! is [`PLATFORM_SLUG`], and platform permissions exist only there.
//!
//! What must never happen: a request that is served in a tenant it did not name; two ways of naming that
//! disagree and one of them silently wins.

mod directory;
mod naming;
mod service;
mod slug;
pub(crate) mod store;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

pub(crate) use self::service::found;
pub use self::{
    directory::{Directory, ResolveError},
    service::{CreateTenant, TenantError, create, get, list},
    slug::{InvalidSlug, Slug},
};
pub use crate::entity::TenantStatus;
use crate::{
    entity::tenant,
    id::TenantId,
    mail::{Brand, Branding},
};

/// Names the tenant of the platform's own administrators.
pub const PLATFORM_SLUG: &str = "platform";

/// A tenant as the rest of the code sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tenant {
    /// Its id.
    pub id: TenantId,
    /// Its name in hosts and headers.
    pub slug: String,
    /// Its name for people.
    pub name: String,
    /// Whether its users can sign in.
    pub status: TenantStatus,
    /// What its administrators have chosen.
    pub settings: Settings,
    /// When it was created.
    pub created_at: DateTime<Utc>,
    /// When it last changed.
    pub updated_at: DateTime<Utc>,
}

impl Tenant {
    /// In whose name its mails go out.
    #[must_use]
    pub fn brand(&self) -> Brand<'_> {
        Brand {
            name: &self.name,
            branding: Some(&self.settings.branding),
        }
    }

    /// Whether this is the platform's own tenant.
    #[must_use]
    pub fn is_platform(&self) -> bool {
        self.slug == PLATFORM_SLUG
    }
}

/// What a tenant's administrators choose. What they have not chosen has the safe value.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// Who may register.
    pub registration: Registration,
    /// Whether an address must be proven before it can sign in.
    pub email_verification: EmailVerification,
    /// What passwords must be.
    pub passwords: PasswordPolicy,
    /// Who needs a second factor.
    pub mfa: MfaPolicy,
    /// How long sessions last, and how many a user may have.
    pub sessions: SessionPolicy,
    /// What happens to who fails too often.
    pub lockout: LockoutPolicy,
    /// How mails look.
    pub branding: Branding,
}

/// What passwords must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PasswordPolicy {
    /// Characters, 8 to 64.
    pub min_length: u16,
    /// So many former passwords may not be used again, 24 at most.
    pub history: u8,
}

impl Default for PasswordPolicy {
    fn default() -> Self {
        Self {
            min_length: 8,
            history: 0,
        }
    }
}

/// Who needs a second factor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MfaPolicy {
    /// Who.
    pub requirement: MfaRequirement,
    /// The names of the roles that need one, where it depends on roles.
    pub roles: Vec<String>,
    /// For so many days a device may be remembered; 0 for not at all.
    pub remember_device_days: u16,
}

impl Default for MfaPolicy {
    fn default() -> Self {
        Self {
            requirement: MfaRequirement::Optional,
            roles: Vec::new(),
            remember_device_days: 30,
        }
    }
}

/// Who needs a second factor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MfaRequirement {
    /// Nobody can set one up; who has one is still asked for it.
    Off,
    /// Who has set one up.
    #[default]
    Optional,
    /// Everyone.
    Required,
    /// Who holds one of the roles named, and who has set one up.
    RequiredForRoles,
}

/// How long sessions last, and how many a user may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SessionPolicy {
    /// Seconds without a refresh until one ends; the installation's own limit holds in any case.
    pub idle_seconds: Option<u32>,
    /// Seconds until one ends; the installation's own limit holds in any case.
    pub absolute_seconds: Option<u32>,
    /// Beyond so many the oldest of a user ends.
    pub max_per_user: u16,
}

impl Default for SessionPolicy {
    fn default() -> Self {
        Self {
            idle_seconds: None,
            absolute_seconds: None,
            max_per_user: 100,
        }
    }
}

/// What happens to who fails too often.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LockoutPolicy {
    /// The failure that begins to lock.
    pub threshold: u16,
    /// After so many within a day nothing but an unlock or the day's end helps.
    pub daily_limit: u16,
}

impl Default for LockoutPolicy {
    fn default() -> Self {
        Self {
            threshold: 5,
            daily_limit: 100,
        }
    }
}

/// Who may register.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Registration {
    /// Anyone.
    #[default]
    Open,
    /// Only who was invited.
    Closed,
}

/// Whether an address must be proven before it can sign in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EmailVerification {
    /// It must.
    #[default]
    Required,
    /// It need not.
    Optional,
}

impl TryFrom<tenant::Model> for Tenant {
    type Error = serde_json::Error;

    fn try_from(row: tenant::Model) -> Result<Self, Self::Error> {
        let tenant::Model {
            id,
            slug,
            name,
            status,
            settings,
            created_at,
            updated_at,
        } = row;
        Ok(Self {
            id,
            slug,
            name,
            status,
            settings: serde_json::from_value(settings)?,
            created_at,
            updated_at,
        })
    }
}
