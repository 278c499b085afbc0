//! Service accounts: principals for machines, with roles of their own.
//!
//! A service account is `active` or `disabled`. It has no password and never signs in: it acts by API keys, each of
//! which may do what its scopes and the account's roles both allow. Unlike a user's, its keys outlive whoever made
//! them. It can hold any role but `owner`: people own tenants.
//!
//! What must never happen: an account that holds more than whoever gave it its roles; a key of an account that is
//! disabled or gone and still opens something; a role of another tenant, told apart from one that never was.

mod known;
mod service;
mod store;

use chrono::{DateTime, Utc};

pub(crate) use self::service::hold_grantable;
pub use self::{
    known::{Machine, Machines},
    service::{
        MAX_ROLES, MAX_SERVICE_ACCOUNTS, NewServiceAccount, ServiceAccountError, ServiceAccountPatch, create,
        delete, get, list, update,
    },
};
pub use crate::entity::ServiceAccountStatus;
use crate::{
    entity::service_account,
    id::{RoleId, ServiceAccountId},
};

/// A service account as others may see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceAccount {
    /// Its id.
    pub id: ServiceAccountId,
    /// For people.
    pub name: String,
    /// For people.
    pub description: Option<String>,
    /// Whether its keys work.
    pub status: ServiceAccountStatus,
    /// Its roles: id and name, by name.
    pub roles: Vec<(RoleId, String)>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it last changed.
    pub updated_at: DateTime<Utc>,
}

impl ServiceAccount {
    fn of(row: service_account::Model, roles: Vec<(RoleId, String)>) -> Self {
        let service_account::Model {
            id,
            tenant_id: _,
            name,
            description,
            status,
            created_at,
            updated_at,
        } = row;
        Self {
            id,
            name,
            description,
            status,
            roles,
            created_at,
            updated_at,
        }
    }
}
