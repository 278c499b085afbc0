//! Tenants, for the platform's administrators.

mod model;

use latchkey_shared::{
    auth::Auth,
    id::TenantId,
    permission::{TenantsRead, TenantsWrite},
    tenant::{
        self, InvalidSlug, Slug, TenantError, TenantFilter,
        usage::{self, DEFAULT_DAYS},
    },
};
use poem::web::Data;
use poem_openapi::{
    OpenApi,
    param::{Path, Query},
};
use uuid::Uuid;

use self::model::{CreateTenantRequest, UpdateTenantRequest};
use super::{
    Tag, page,
    tenant::model::{TenantStatusView, TenantView, UsageView},
};
use crate::{
    extract::{ClientOrigin, Json, Permit},
    problem::{
        ApiResult, Conflict, Failure, FieldError, Input, NotFound, Parameters, Permitted, ProblemCode,
    },
    reply::{Created, List, NoContent, Ok as Reply},
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
        /// Those in this state
        status: Query<Option<TenantStatusView>>,
        /// The one of this slug
        #[oai(validator(max_length = 63))]
        slug: Query<Option<String>>,
    ) -> ApiResult<Reply<List<TenantView>>, (Permitted, Parameters)> {
        let page = page(limit.0, cursor.0.as_deref())?;
        let filter = TenantFilter {
            status: status.0.map(Into::into),
            slug: slug
                .0
                .map(|slug| Slug::parse(&slug).map_err(|why| unreadable_slug(&why)))
                .transpose()?,
        };
        Ok(Reply(List::of(
            tenant::list(&auth.context, &caller, &filter, page).await?,
        )))
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

    /// Change a tenant
    ///
    /// Its name, its own share of the limits, and where inside your network its webhooks may go. What is absent stays.
    /// Takes `tenants:write`.
    #[oai(path = "/:id", method = "patch", operation_id = "updateTenant")]
    async fn update(
        &self,
        Data(auth): Data<&Auth>,
        Permit(caller): Permit<TenantsWrite>,
        origin: ClientOrigin,
        /// The tenant
        id: Path<Uuid>,
        body: Json<UpdateTenantRequest>,
    ) -> ApiResult<Reply<TenantView>, (Permitted, Input, NotFound)> {
        let request = body.0.into();
        let tenant = tenant::update(&auth.context, &caller, &origin, TenantId(id.0), request).await?;
        Ok(Reply(tenant.into()))
    }

    /// Suspend a tenant
    ///
    /// Nobody signs in, and its users' tokens and its keys are refused with the next request. Its events are delivered
    /// all the same. To suspend it again changes nothing. Takes `tenants:write`.
    #[oai(path = "/:id/suspend", method = "post", operation_id = "suspendTenant")]
    async fn suspend(
        &self,
        Data(auth): Data<&Auth>,
        Permit(caller): Permit<TenantsWrite>,
        origin: ClientOrigin,
        /// The tenant
        id: Path<Uuid>,
    ) -> ApiResult<NoContent, (Permitted, NotFound, Conflict)> {
        tenant::suspend(&auth.context, &caller, &origin, TenantId(id.0)).await?;
        Ok(NoContent)
    }

    /// Activate a tenant
    ///
    /// After a suspension, or a deletion whose grace period is not over. Sessions and keys work again. Takes
    /// `tenants:write`.
    #[oai(path = "/:id/activate", method = "post", operation_id = "activateTenant")]
    async fn activate(
        &self,
        Data(auth): Data<&Auth>,
        Permit(caller): Permit<TenantsWrite>,
        origin: ClientOrigin,
        /// The tenant
        id: Path<Uuid>,
    ) -> ApiResult<NoContent, (Permitted, NotFound, Conflict)> {
        tenant::activate(&auth.context, &caller, &origin, TenantId(id.0)).await?;
        Ok(NoContent)
    }

    /// Delete a tenant
    ///
    /// It is barred like a suspended one at once. At `delete_at` what it holds is removed, all but its audit trail; until
    /// then it can be activated again, and its slug stays taken. Takes `tenants:write`.
    #[oai(path = "/:id", method = "delete", operation_id = "deleteTenant")]
    async fn delete(
        &self,
        Data(auth): Data<&Auth>,
        Permit(caller): Permit<TenantsWrite>,
        origin: ClientOrigin,
        /// The tenant
        id: Path<Uuid>,
    ) -> ApiResult<NoContent, (Permitted, NotFound, Conflict)> {
        tenant::delete(&auth.context, &caller, &origin, TenantId(id.0)).await?;
        Ok(NoContent)
    }

    /// Get a tenant's usage
    ///
    /// By the day (UTC), newest first; a day on which nothing happened is absent. Takes `tenants:read`.
    #[oai(path = "/:id/usage", method = "get", operation_id = "getTenantUsage")]
    async fn usage(
        &self,
        Data(auth): Data<&Auth>,
        Permit(caller): Permit<TenantsRead>,
        /// The tenant
        id: Path<Uuid>,
        /// How many days, today included; 30 if absent
        #[oai(validator(minimum(value = "1"), maximum(value = "366")))]
        days: Query<Option<u32>>,
    ) -> ApiResult<Reply<UsageView>, (Permitted, Parameters, NotFound)> {
        let days = days.0.unwrap_or(DEFAULT_DAYS);
        let usage = usage::of(&auth.context, &caller, TenantId(id.0), days).await?;
        Ok(Reply(usage.into()))
    }
}

fn unreadable_slug(why: &InvalidSlug) -> Failure {
    let field = FieldError::new("/query/slug", "invalid_format", why.to_string());
    Failure::fields(ProblemCode::InvalidParameter, vec![field])
}

impl From<TenantError> for Failure {
    fn from(error: TenantError) -> Self {
        match error {
            TenantError::NotFound => Self::new(ProblemCode::NotFound, "There is no such tenant."),
            TenantError::SlugTaken => {
                let field = FieldError::new("/slug", "taken", "Another tenant has this slug.");
                Self::fields(ProblemCode::SlugTaken, vec![field])
            }
            TenantError::InvalidCidr(at) => {
                let why = "An address or a range of addresses in CIDR notation, and not all there are.";
                let field = FieldError::new(format!("/webhook_allowed_cidrs/{at}"), "invalid_format", why);
                Self::fields(ProblemCode::ValidationFailed, vec![field])
            }
            TenantError::Platform => Self::new(
                ProblemCode::PlatformTenant,
                "Nobody could undo it: the platform's own tenant can be neither suspended nor deleted.",
            ),
            TenantError::Deleted => Self::new(
                ProblemCode::TenantDeleted,
                "It is to be deleted, or what it holds is being removed.",
            ),
            TenantError::Internal(error) => error.into(),
        }
    }
}
