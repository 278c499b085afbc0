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
use crate::{entity::tenant, id::TenantId};

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
