//! The caller's own tenant: what it is, what it decides for itself, and what it uses.

mod domains;
pub(super) mod model;
mod settings;

use latchkey_shared::{
    auth::Auth,
    permission::{SettingsRead, SettingsWrite},
    tenant::{
        self, SettingFault, SettingsError, Tenant,
        usage::{self, DEFAULT_DAYS},
    },
};
use poem::web::Data;
use poem_openapi::{
    OpenApi,
    param::{Header, Query},
    types::ToJSON,
};

pub use self::domains::TenantDomainsApi;
use self::{
    model::{TenantView, UsageView},
    settings::UpdateTenantSettingsRequest,
};
use super::{Tag, changed_meanwhile, if_match};
use crate::{
    extract::{ClientOrigin, Json, Permit},
    problem::{ApiResult, Failure, FieldError, Input, Matched, Parameters, Permitted, ProblemCode},
    reply::{Ok as Reply, Versioned},
};

/// The operations.
pub struct TenantApi;

#[OpenApi(prefix_path = "/v1/tenant", tag = "Tag::Settings")]
impl TenantApi {
    /// Get one's own tenant
    ///
    /// `ETag` names it as it stands, for a change of its settings. Takes `settings:read`.
    #[oai(path = "/", method = "get", operation_id = "getCurrentTenant")]
    async fn get(
        &self,
        Data(auth): Data<&Auth>,
        Permit(caller): Permit<SettingsRead>,
    ) -> ApiResult<Versioned<TenantView>, Permitted> {
        Ok(versioned(tenant::own(&auth.context, &caller).await?))
    }

    /// Change the tenant's settings
    ///
    /// What is absent stays, null goes back to the default, at every level. `If-Match` names what the caller has read:
    /// should somebody have changed it since, nothing happens and the answer is 412. A change holds with the next
    /// request. Takes `settings:write`.
    #[oai(path = "/settings", method = "patch", operation_id = "updateTenantSettings")]
    async fn update(
        &self,
        Data(auth): Data<&Auth>,
        Permit(caller): Permit<SettingsWrite>,
        origin: ClientOrigin,
        /// The `ETag` that was read
        #[oai(name = "If-Match")]
        expected: Header<Option<String>>,
        body: Json<UpdateTenantSettingsRequest>,
    ) -> ApiResult<Versioned<TenantView>, (Permitted, Input, Matched)> {
        let expected = if_match(expected.0.as_deref())?;
        let patch = body.0.to_json().unwrap_or_default();
        let changed = tenant::update_settings(&auth.context, &caller, &origin, &expected, &patch).await?;
        Ok(versioned(changed))
    }

    /// Get the tenant's usage
    ///
    /// By the day (UTC), newest first; a day on which nothing happened is absent. What happened in the latest half
    /// minute may be missing yet. Takes `settings:read`.
    #[oai(path = "/usage", method = "get", operation_id = "getCurrentTenantUsage")]
    async fn usage(
        &self,
        Data(auth): Data<&Auth>,
        Permit(caller): Permit<SettingsRead>,
        /// How many days, today included; 30 if absent
        #[oai(validator(minimum(value = "1"), maximum(value = "366")))]
        days: Query<Option<u32>>,
    ) -> ApiResult<Reply<UsageView>, (Permitted, Parameters)> {
        let usage = usage::own(&auth.context, &caller, days.0.unwrap_or(DEFAULT_DAYS)).await?;
        Ok(Reply(usage.into()))
    }
}

fn versioned(tenant: Tenant) -> Versioned<TenantView> {
    Versioned {
        version: tenant.version,
        body: tenant.into(),
    }
}

impl From<SettingsError> for Failure {
    fn from(error: SettingsError) -> Self {
        match error {
            SettingsError::Stale => changed_meanwhile(),
            SettingsError::Faulty(faults) => {
                let field = |fault: SettingFault| FieldError::new(fault.pointer, fault.code, fault.detail);
                let fields = faults.into_iter().map(field).collect();
                Self::fields(ProblemCode::ValidationFailed, fields)
            }
            SettingsError::NotFound => Self::new(ProblemCode::TenantNotFound, "The tenant is gone."),
            SettingsError::Internal(error) => error.into(),
        }
    }
}
