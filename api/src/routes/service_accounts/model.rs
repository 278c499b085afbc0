//! The shapes of service accounts.

use latchkey_shared::{
    id::RoleId,
    service_account::{NewServiceAccount, ServiceAccount, ServiceAccountPatch, ServiceAccountStatus},
};
use poem_openapi::{
    Enum, Object,
    types::{Example, MaybeUndefined},
};
use uuid::Uuid;

use crate::{extract::Kept, routes::changed, time::Timestamp};

/// A service account to be.
#[derive(Object)]
#[oai(deny_unknown_fields, example)]
pub(super) struct CreateServiceAccountRequest {
    /// For people.
    #[oai(validator(min_length = 1, max_length = 200))]
    name: String,
    /// For people.
    #[oai(validator(max_length = 1000))]
    description: Option<String>,
    /// Its roles; none if absent.
    #[oai(validator(max_items = 50))]
    role_ids: Option<Vec<Uuid>>,
}

impl Example for CreateServiceAccountRequest {
    fn example() -> Self {
        Self {
            name: "Nightly export".to_owned(),
            description: Some("Writes yesterday's invoices into the warehouse".to_owned()),
            role_ids: Some(vec![Uuid::from_u128(0x0198_0000_0000_7000_8000_0000_0000_0001)]),
        }
    }
}

impl From<CreateServiceAccountRequest> for NewServiceAccount {
    fn from(request: CreateServiceAccountRequest) -> Self {
        let CreateServiceAccountRequest {
            name,
            description,
            role_ids,
        } = request;
        Self {
            name,
            description,
            roles: roles(role_ids.unwrap_or_default()),
        }
    }
}

/// What to change of a service account.
#[derive(Object)]
#[oai(deny_unknown_fields)]
pub(super) struct UpdateServiceAccountRequest {
    /// For people.
    #[oai(validator(min_length = 1, max_length = 200))]
    name: Kept<String>,
    /// For people; null clears it.
    #[oai(validator(max_length = 1000))]
    description: MaybeUndefined<String>,
    /// Whether its keys work.
    status: Kept<StatusView>,
    /// Replaces its roles; null leaves none.
    #[oai(validator(max_items = 50))]
    role_ids: MaybeUndefined<Vec<Uuid>>,
}

impl From<UpdateServiceAccountRequest> for ServiceAccountPatch {
    fn from(request: UpdateServiceAccountRequest) -> Self {
        let UpdateServiceAccountRequest {
            name,
            description,
            status,
            role_ids,
        } = request;
        Self {
            name: name.0,
            description: changed(description),
            status: status.0.map(|status| match status {
                StatusView::Active => ServiceAccountStatus::Active,
                StatusView::Disabled => ServiceAccountStatus::Disabled,
            }),
            roles: changed(role_ids).map(|ids| roles(ids.unwrap_or_default())),
        }
    }
}

fn roles(ids: Vec<Uuid>) -> Vec<RoleId> {
    ids.into_iter().map(RoleId).collect()
}

/// Whether a service account's keys work.
#[derive(Enum)]
#[oai(rename = "ServiceAccountStatus", rename_all = "snake_case")]
enum StatusView {
    Active,
    Disabled,
}

/// A role that is held.
#[derive(Object)]
#[oai(rename = "ServiceAccountRole")]
struct RoleView {
    id: Uuid,
    name: String,
}

/// A principal for machines.
#[derive(Object)]
#[oai(rename = "ServiceAccount")]
pub(super) struct ServiceAccountView {
    id: Uuid,
    name: String,
    description: Option<String>,
    status: StatusView,
    /// By name.
    roles: Vec<RoleView>,
    created_at: Timestamp,
    updated_at: Timestamp,
}

impl From<ServiceAccount> for ServiceAccountView {
    fn from(account: ServiceAccount) -> Self {
        let ServiceAccount {
            id,
            name,
            description,
            status,
            roles,
            created_at,
            updated_at,
        } = account;
        Self {
            id: id.0,
            name,
            description,
            status: match status {
                ServiceAccountStatus::Active => StatusView::Active,
                ServiceAccountStatus::Disabled => StatusView::Disabled,
            },
            roles: roles
                .into_iter()
                .map(|(id, name)| RoleView { id: id.0, name })
                .collect(),
            created_at: created_at.into(),
            updated_at: updated_at.into(),
        }
    }
}
