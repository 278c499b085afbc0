//! Domains of a tenant's own, which name it to whoever asks by them.
//!
//! A tenant claims a domain and is given a TXT record to publish. Once the record is seen there, the domain is proven
//! and names the tenant on every process, until it is deleted. Several tenants may claim one domain; one at most has
//! proven it.
//!
//! What must never happen: a domain that names a tenant without proof; a name of the operator's that anyone can
//! claim; a tenant that learns of another's claims without having proven the same domain.

mod name;
mod service;
mod store;

use chrono::{DateTime, Utc};
use futures::future::BoxFuture;

pub use self::{
    name::{DomainName, NotClaimable},
    service::{DomainError, MAX_DOMAINS, create, delete, get, list, verify},
};
use crate::{entity::tenant_domain, id::DomainId};

/// The label below the domain where the record stands, apart from those that are for others.
const LABEL: &str = "_latchkey";
/// What the record's value begins with.
const PREFIX: &str = "latchkey-verification=";

/// A claim to a domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Domain {
    /// Its id.
    pub id: DomainId,
    /// The domain, as DNS spells it.
    pub domain: String,
    /// What the record says of this claim and no other.
    verification: String,
    /// When it was proven.
    pub verified_at: Option<DateTime<Utc>>,
    /// When it was claimed.
    pub created_at: DateTime<Utc>,
}

impl Domain {
    /// Where the TXT record stands.
    #[must_use]
    pub fn record_name(&self) -> String {
        format!("{LABEL}.{}", self.domain)
    }

    /// What the TXT record says.
    #[must_use]
    pub fn record_value(&self) -> String {
        format!("{PREFIX}{}", self.verification)
    }
}

impl From<tenant_domain::Model> for Domain {
    fn from(row: tenant_domain::Model) -> Self {
        let tenant_domain::Model {
            id,
            tenant_id: _,
            domain,
            verification,
            verified_at,
            created_at,
        } = row;
        Self {
            id,
            domain,
            verification,
            verified_at,
            created_at,
        }
    }
}

/// Why DNS said nothing.
pub type NoAnswer = Box<dyn std::error::Error + Send + Sync>;

/// Who asks DNS.
pub trait TxtRecords: Send + Sync {
    /// The TXT records of the name, as it stands now; none where there is no such name.
    fn texts<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Vec<String>, NoAnswer>>;
}
