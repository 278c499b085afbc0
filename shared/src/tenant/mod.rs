//! Tenants: isolated populations.
//!
//! A tenant is `active`, `suspended` or `deleting`. Nobody gets into one that is not active, and no credential of it
//! counts; its events are delivered all the same. One that is to be deleted can be activated again until its grace
//! period is over; then it is `purging`, what it holds is removed step by step, and its slug is free once nothing is
//! left. Users, roles, endpoints, events and audit rows belong to exactly one tenant; the same e-mail address in two
//! tenants is two unrelated users. The platform is itself a tenant, the one whose slug is [`PLATFORM_SLUG`]: platform
//! permissions exist only there, and it can be neither suspended nor deleted.
//!
//! What must never happen: a request that is served in a tenant it did not name; two ways of naming that
//! disagree and one of them silently wins; a tenant that comes back with a part of it gone.

mod change;
mod directory;
pub mod domain;
mod lifecycle;
mod limits;
mod merge;
mod naming;
mod own;
mod service;
mod settings;
mod slug;
pub(crate) mod store;
pub mod usage;

use chrono::{DateTime, Utc};

pub(crate) use self::service::found;
pub use self::{
    change::{UpdateTenant, update},
    directory::{Directory, ResolveError},
    lifecycle::{activate, delete, suspend},
    limits::RateLimits,
    own::{SettingsError, own, update_settings},
    service::{CreateTenant, TenantError, TenantFilter, create, get, list},
    settings::{
        EmailVerification, LockoutPolicy, MfaPolicy, MfaRequirement, PasswordPolicy, Registration,
        SessionPolicy, SettingFault, Settings, WebhookPolicy,
    },
    slug::{InvalidSlug, Slug},
};
pub use crate::entity::TenantStatus;
use crate::{entity::tenant, id::TenantId, mail::Brand, version::Version};

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
    /// Its own share of the limits, which the platform sets.
    pub rate_limits: RateLimits,
    /// Address ranges that are not public and that its endpoints may be called in all the same; the platform sets them.
    pub webhook_cidrs: Vec<String>,
    /// Counts its changes.
    pub version: Version,
    /// When what it holds is removed, if it is to be.
    pub delete_at: Option<DateTime<Utc>>,
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

impl TryFrom<tenant::Model> for Tenant {
    type Error = serde_json::Error;

    fn try_from(row: tenant::Model) -> Result<Self, Self::Error> {
        let tenant::Model {
            id,
            slug,
            name,
            status,
            settings,
            version,
            rate_limits,
            webhook_cidrs,
            delete_at,
            created_at,
            updated_at,
        } = row;
        Ok(Self {
            id,
            slug,
            name,
            status,
            settings: serde_json::from_value(settings)?,
            rate_limits: serde_json::from_value(rate_limits)?,
            webhook_cidrs,
            version,
            delete_at,
            created_at,
            updated_at,
        })
    }
}
