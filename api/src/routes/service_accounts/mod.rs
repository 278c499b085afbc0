//! Service accounts: principals for machines.

mod error;
mod model;

use latchkey_shared::{
    auth::Auth,
    id::ServiceAccountId,
    permission::{ServiceAccountsRead, ServiceAccountsWrite},
    service_account,
};
use poem::web::Data;
use poem_openapi::{
    OpenApi,
    param::{Path, Query},
};
use uuid::Uuid;

use self::model::{CreateServiceAccountRequest, ServiceAccountView, UpdateServiceAccountRequest};
use super::{Tag, page};
use crate::{
    extract::{ClientOrigin, Json, Permit},
    problem::{ApiResult, Conflict, Input, NotFound, Parameters, Permitted},
    reply::{Created, List, NoContent, Ok as Reply},
};

/// The operations.
pub struct ServiceAccountsApi;

#[OpenApi(prefix_path = "/v1/service-accounts", tag = "Tag::ServiceAccounts")]
impl ServiceAccountsApi {
    /// Create a service account
    ///
    /// It acts by API keys of its own. Whoever creates it must hold all that its roles grant; `owner` is for people.
    /// Takes `service_accounts:write`.
    #[oai(path = "/", method = "post", operation_id = "createServiceAccount")]
    async fn create(
        &self,
        Data(auth): Data<&Auth>,
        Permit(caller): Permit<ServiceAccountsWrite>,
        origin: ClientOrigin,
        body: Json<CreateServiceAccountRequest>,
    ) -> ApiResult<Created<ServiceAccountView>, (Permitted, Input, Conflict)> {
        let account = service_account::create(&auth.context, &caller, &origin, body.0.into()).await?;
        let location = format!("/v1/service-accounts/{}", account.id);
        Ok(Created {
            body: account.into(),
            location,
        })
    }

    /// List service accounts
    ///
    /// Newest first. Takes `service_accounts:read`.
    #[oai(path = "/", method = "get", operation_id = "listServiceAccounts")]
    async fn list(
        &self,
        Data(auth): Data<&Auth>,
        Permit(caller): Permit<ServiceAccountsRead>,
        /// Rows of a page
        #[oai(validator(minimum(value = "1"), maximum(value = "100")))]
        limit: Query<Option<u32>>,
        /// `next_cursor` of the page before
        cursor: Query<Option<String>>,
    ) -> ApiResult<Reply<List<ServiceAccountView>>, (Permitted, Parameters)> {
        let page = page(limit.0, cursor.0.as_deref())?;
        Ok(Reply(List::of(
            service_account::list(&auth.context, &caller, page).await?,
        )))
    }

    /// Get a service account
    ///
    /// Takes `service_accounts:read`.
    #[oai(path = "/:id", method = "get", operation_id = "getServiceAccount")]
    async fn get(
        &self,
        Data(auth): Data<&Auth>,
        Permit(caller): Permit<ServiceAccountsRead>,
        /// The service account
        id: Path<Uuid>,
    ) -> ApiResult<Reply<ServiceAccountView>, (Permitted, NotFound)> {
        let account = service_account::get(&auth.context, &caller, ServiceAccountId(id.0)).await?;
        Ok(Reply(account.into()))
    }

    /// Change a service account
    ///
    /// What is absent stays, null clears. Its keys are held to it at once; disabled, none of them works. Whoever changes
    /// it must hold all that the roles grant which it gains. Takes `service_accounts:write`.
    #[oai(path = "/:id", method = "patch", operation_id = "updateServiceAccount")]
    async fn update(
        &self,
        Data(auth): Data<&Auth>,
        Permit(caller): Permit<ServiceAccountsWrite>,
        origin: ClientOrigin,
        /// The service account
        id: Path<Uuid>,
        body: Json<UpdateServiceAccountRequest>,
    ) -> ApiResult<Reply<ServiceAccountView>, (Permitted, Input, NotFound)> {
        let (id, patch) = (ServiceAccountId(id.0), body.0.into());
        let account = service_account::update(&auth.context, &caller, &origin, id, patch).await?;
        Ok(Reply(account.into()))
    }

    /// Delete a service account
    ///
    /// Its keys end with it. Takes `service_accounts:write`.
    #[oai(path = "/:id", method = "delete", operation_id = "deleteServiceAccount")]
    async fn delete(
        &self,
        Data(auth): Data<&Auth>,
        Permit(caller): Permit<ServiceAccountsWrite>,
        origin: ClientOrigin,
        /// The service account
        id: Path<Uuid>,
    ) -> ApiResult<NoContent, (Permitted, NotFound)> {
        service_account::delete(&auth.context, &caller, &origin, ServiceAccountId(id.0)).await?;
        Ok(NoContent)
    }
}
