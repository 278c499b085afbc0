//! Tenants, for the platform's administrators.

mod model;

use latchkey_shared::{
    auth::Auth,
    id::TenantId,
    permission::{TenantsRead, TenantsWrite},
    tenant::{self, TenantError},
};
use poem::web::Data;
use poem_openapi::{
    OpenApi,
    param::{Path, Query},
};
use uuid::Uuid;

use self::model::{CreateTenantRequest, TenantView};
use super::{Tag, page};
use crate::{
    extract::{ClientOrigin, Json, Permit},
    problem::{
        ApiResult, Conflict, Failure, FieldError, Input, NotFound, Parameters, Permitted, ProblemCode,
    },
    reply::{Created, List, Ok as Reply},
};

/// The operations.
pub struct TenantsApi;

#[OpenApi(prefix_path = "/v1/tenants", tag = "Tag::Tenants")]
impl TenantsApi {
    /// Create a tenant
    ///
    /// With an owner, that person is invited by mail and becomes the owner by accepting. Takes `tenants:write`.
    #[oai(path = "/", method = "post", operation_id = "createTenant")]
    async fn create(
        &self,
        Data(auth): Data<&Auth>,
        Permit(caller): Permit<TenantsWrite>,
        origin: ClientOrigin,
        body: Json<CreateTenantRequest>,
    ) -> ApiResult<Created<TenantView>, (Permitted, Input, Conflict)> {
        let tenant = tenant::create(&auth.context, &caller, &origin, body.0.read()?).await?;
        let location = format!("/v1/tenants/{}", tenant.id);
        Ok(Created {
            body: tenant.into(),
            location,
        })
    }

    /// List tenants
    ///
    /// Newest first. Takes `tenants:read`.
    #[oai(path = "/", method = "get", operation_id = "listTenants")]
    async fn list(
        &self,
        Data(auth): Data<&Auth>,
        Permit(caller): Permit<TenantsRead>,
        /// Rows of a page
        #[oai(validator(minimum(value = "1"), maximum(value = "100")))]
        limit: Query<Option<u32>>,
        /// `next_cursor` of the page before
        cursor: Query<Option<String>>,
    ) -> ApiResult<Reply<List<TenantView>>, (Permitted, Parameters)> {
        let page = page(limit.0, cursor.0.as_deref())?;
        Ok(Reply(List::of(tenant::list(&auth.context, &caller, page).await?)))
    }

    /// Get a tenant
    ///
    /// Takes `tenants:read`.
    #[oai(path = "/:id", method = "get", operation_id = "getTenant")]
    async fn get(
        &self,
        Data(auth): Data<&Auth>,
        Permit(caller): Permit<TenantsRead>,
        /// The tenant
        id: Path<Uuid>,
    ) -> ApiResult<Reply<TenantView>, (Permitted, NotFound)> {
        let tenant = tenant::get(&auth.context, &caller, TenantId(id.0)).await?;
        Ok(Reply(tenant.into()))
    }
}

impl From<TenantError> for Failure {
    fn from(error: TenantError) -> Self {
        match error {
            TenantError::NotFound => Self::new(ProblemCode::NotFound, "There is no such tenant."),
            TenantError::SlugTaken => {
                let field = FieldError::new("/slug", "taken", "Another tenant has this slug.");
                Self::fields(ProblemCode::SlugTaken, vec![field])
            }
            TenantError::Internal(error) => error.into(),
        }
    }
}
