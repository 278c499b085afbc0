//! What there is to grant.

use latchkey_shared::{
    auth::Auth,
    permission::{RolesRead, RolesWrite},
    rbac::{self, InvalidPermissionName, NewPermission, PermissionInfo, PermissionName},
};
use poem::web::Data;
use poem_openapi::{
    Object, OpenApi,
    param::{Path, Query},
    types::Example,
};

use super::{Tag, page};
use crate::{
    extract::{ClientOrigin, Json, Permit},
    problem::{
        ApiResult, Conflict, Failure, FieldError, Input, NotFound, Parameters, Permitted, ProblemCode,
    },
    reply::{Created, List, NoContent, Ok as Reply},
};

/// The operations.
pub struct PermissionsApi;

/// A permission to be.
#[derive(Object)]
#[oai(deny_unknown_fields, example)]
struct CreatePermissionRequest {
    /// `resource:action`, each of a-z, 0-9, `.`, `_` and `-`, beginning with a letter. The resource is none of the
    /// built-in ones.
    #[oai(validator(min_length = 3, max_length = 128))]
    name: String,
    /// What it allows.
    #[oai(validator(max_length = 256))]
    description: Option<String>,
}

impl Example for CreatePermissionRequest {
    fn example() -> Self {
        Self {
            name: "invoices:approve".to_owned(),
            description: Some("Approve invoices.".to_owned()),
        }
    }
}

impl CreatePermissionRequest {
    fn read(self) -> Result<NewPermission, Failure> {
        let Self { name, description } = self;
        let name = PermissionName::parse(&name).map_err(|error| {
            let code = match error {
                InvalidPermissionName::Malformed => "invalid_format",
                InvalidPermissionName::Reserved => "reserved",
            };
            let field = FieldError::new("/name", code, error.to_string());
            Failure::fields(ProblemCode::ValidationFailed, vec![field])
        })?;
        Ok(NewPermission { name, description })
    }
}

/// Something that roles may grant.
#[derive(Object)]
#[oai(rename = "Permission")]
struct PermissionView {
    /// `resource:action`.
    name: String,
    /// What it allows.
    description: Option<String>,
    /// Whether it came with Latchkey; the others are the tenant's own.
    builtin: bool,
}

impl From<PermissionInfo> for PermissionView {
    fn from(permission: PermissionInfo) -> Self {
        Self {
            name: permission.name,
            description: permission.description,
            builtin: permission.builtin,
        }
    }
}

#[OpenApi(prefix_path = "/v1/permissions", tag = "Tag::Roles")]
impl PermissionsApi {
    /// List permissions
    ///
    /// What roles of the tenant may grant: its own permissions, newest first, then the built-in ones. Takes `roles:read`.
    #[oai(path = "/", method = "get", operation_id = "listPermissions")]
    async fn list(
        &self,
        Data(auth): Data<&Auth>,
        Permit(caller): Permit<RolesRead>,
        /// Rows of a page
        #[oai(validator(minimum(value = "1"), maximum(value = "100")))]
        limit: Query<Option<u32>>,
        /// `next_cursor` of the page before
        cursor: Query<Option<String>>,
    ) -> ApiResult<Reply<List<PermissionView>>, (Permitted, Parameters)> {
        let page = page(limit.0, cursor.0.as_deref())?;
        let permissions = rbac::list_permissions(&auth.context, &caller, page).await?;
        Ok(Reply(List::of(permissions)))
    }

    /// Create a permission
    ///
    /// For the tenant's own services to ask for. Owners and administrators hold it at once. Takes `roles:write`.
    #[oai(path = "/", method = "post", operation_id = "createPermission")]
    async fn create(
        &self,
        Data(auth): Data<&Auth>,
        Permit(caller): Permit<RolesWrite>,
        origin: ClientOrigin,
        body: Json<CreatePermissionRequest>,
    ) -> ApiResult<Created<PermissionView>, (Permitted, Input, Conflict)> {
        let created = rbac::create_permission(&auth.context, &caller, &origin, body.0.read()?).await?;
        let location = format!("/v1/permissions/{}", created.name);
        Ok(Created {
            body: created.into(),
            location,
        })
    }

    /// Delete a permission
    ///
    /// One of the tenant's own. No role grants it any more. Takes `roles:write`.
    #[oai(path = "/:name", method = "delete", operation_id = "deletePermission")]
    async fn delete(
        &self,
        Data(auth): Data<&Auth>,
        Permit(caller): Permit<RolesWrite>,
        origin: ClientOrigin,
        /// Its `resource:action`
        name: Path<String>,
    ) -> ApiResult<NoContent, (Permitted, NotFound, Conflict)> {
        rbac::delete_permission(&auth.context, &caller, &origin, &name.0).await?;
        Ok(NoContent)
    }
}
