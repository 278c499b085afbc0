//! Roles, and who holds them.

pub(in crate::routes) mod error;
mod model;

use latchkey_shared::{
    auth::Auth,
    id::{RoleId, UserId},
    permission::{RolesRead, RolesWrite, UsersRead},
    rbac::{self, AssignError},
};
use poem::web::Data;
use poem_openapi::{
    OpenApi,
    param::{Header, Path, Query},
};
use uuid::Uuid;

use self::model::{AssignRoleRequest, CreateRoleRequest, RoleView, UpdateRoleRequest};
use super::{Tag, if_match, page};
use crate::{
    extract::{ClientOrigin, Json, Permit},
    problem::{ApiResult, Conflict, Failure, Input, Matched, NotFound, Parameters, Permitted, ProblemCode},
    reply::{CreatedVersioned, List, NoContent, Versioned},
};

/// The operations on roles.
pub struct RolesApi;

#[OpenApi(prefix_path = "/v1/roles", tag = "Tag::Roles")]
impl RolesApi {
    /// Create a role
    ///
    /// It grants what the caller holds: anything else is refused with `escalation`. Takes `roles:write`.
    #[oai(path = "/", method = "post", operation_id = "createRole")]
    async fn create(
        &self,
        Data(auth): Data<&Auth>,
        Permit(caller): Permit<RolesWrite>,
        origin: ClientOrigin,
        body: Json<CreateRoleRequest>,
    ) -> ApiResult<CreatedVersioned<RoleView>, (Permitted, Input, Conflict)> {
        let role = rbac::create_role(&auth.context, &caller, &origin, body.0.read()?).await?;
        Ok(CreatedVersioned {
            location: format!("/v1/roles/{}", role.id),
            version: role.version,
            body: role.into(),
        })
    }

    /// List roles
    ///
    /// Newest first; the built-in ones come last. Takes `roles:read`.
    #[oai(path = "/", method = "get", operation_id = "listRoles")]
    async fn list(
        &self,
        Data(auth): Data<&Auth>,
        Permit(caller): Permit<RolesRead>,
        /// Rows of a page
        #[oai(validator(minimum(value = "1"), maximum(value = "100")))]
        limit: Query<Option<u32>>,
        /// `next_cursor` of the page before
        cursor: Query<Option<String>>,
    ) -> ApiResult<crate::reply::Ok<List<RoleView>>, (Permitted, Parameters)> {
        let page = page(limit.0, cursor.0.as_deref())?;
        let roles = rbac::list_roles(&auth.context, &caller, page).await?;
        Ok(crate::reply::Ok(List::of(roles)))
    }

    /// Get a role
    ///
    /// Takes `roles:read`.
    #[oai(path = "/:id", method = "get", operation_id = "getRole")]
    async fn get(
        &self,
        Data(auth): Data<&Auth>,
        Permit(caller): Permit<RolesRead>,
        /// The role
        id: Path<Uuid>,
    ) -> ApiResult<Versioned<RoleView>, (Permitted, NotFound)> {
        let role = rbac::get_role(&auth.context, &caller, RoleId(id.0)).await?;
        Ok(Versioned {
            version: role.version,
            body: role.into(),
        })
    }

    /// Change a role
    ///
    /// What is absent stays, null clears; `permissions` replaces the whole list. The caller holds whatever the role gains
    /// or loses by it. Everyone who has the role is concerned at once. Built-in roles stay as they are. Takes
    /// `roles:write`.
    #[oai(path = "/:id", method = "patch", operation_id = "updateRole")]
    async fn update(
        &self,
        Data(auth): Data<&Auth>,
        Permit(caller): Permit<RolesWrite>,
        origin: ClientOrigin,
        /// The role
        id: Path<Uuid>,
        /// The `ETag` of the role as it was read
        #[oai(name = "If-Match")]
        if_match_field: Header<Option<String>>,
        body: Json<UpdateRoleRequest>,
    ) -> ApiResult<Versioned<RoleView>, (Permitted, Input, NotFound, Conflict, Matched)> {
        let (expected, patch) = (if_match(if_match_field.0.as_deref())?, body.0.read()?);
        let role = rbac::update_role(&auth.context, &caller, &origin, RoleId(id.0), &expected, patch).await?;
        Ok(Versioned {
            version: role.version,
            body: role.into(),
        })
    }

    /// Delete a role
    ///
    /// Whoever has it loses it at once. The caller holds whatever the role grants. Built-in roles stay. Takes
    /// `roles:write`.
    #[oai(path = "/:id", method = "delete", operation_id = "deleteRole")]
    async fn delete(
        &self,
        Data(auth): Data<&Auth>,
        Permit(caller): Permit<RolesWrite>,
        origin: ClientOrigin,
        /// The role
        id: Path<Uuid>,
        /// The `ETag` of the role as it was read
        #[oai(name = "If-Match")]
        if_match_field: Header<Option<String>>,
    ) -> ApiResult<NoContent, (Permitted, NotFound, Conflict, Matched)> {
        let expected = if_match(if_match_field.0.as_deref())?;
        rbac::delete_role(&auth.context, &caller, &origin, RoleId(id.0), &expected).await?;
        Ok(NoContent)
    }
}

/// The operations on the roles of a user.
pub struct UserRolesApi;

#[OpenApi(prefix_path = "/v1/users", tag = "Tag::Roles")]
impl UserRolesApi {
    /// List a user's roles
    ///
    /// Newest role first. Takes `users:read`.
    #[oai(path = "/:id/roles", method = "get", operation_id = "listUserRoles")]
    async fn list(
        &self,
        Data(auth): Data<&Auth>,
        Permit(caller): Permit<UsersRead>,
        /// The user
        id: Path<Uuid>,
        /// Rows of a page
        #[oai(validator(minimum(value = "1"), maximum(value = "100")))]
        limit: Query<Option<u32>>,
        /// `next_cursor` of the page before
        cursor: Query<Option<String>>,
    ) -> ApiResult<crate::reply::Ok<List<RoleView>>, (Permitted, Parameters, NotFound)> {
        let page = page(limit.0, cursor.0.as_deref())?;
        let roles = rbac::list_user_roles(&auth.context, &caller, UserId(id.0), page).await?;
        Ok(crate::reply::Ok(List::of(roles)))
    }

    /// Give a user a role
    ///
    /// The caller holds whatever the role grants; owners alone make owners, and decide over the roles of owners. A role
    /// that is held already changes nothing. Takes `roles:write`.
    #[oai(path = "/:id/roles", method = "post", operation_id = "assignRole")]
    async fn assign(
        &self,
        Data(auth): Data<&Auth>,
        Permit(caller): Permit<RolesWrite>,
        origin: ClientOrigin,
        /// The user
        id: Path<Uuid>,
        body: Json<AssignRoleRequest>,
    ) -> ApiResult<NoContent, (Permitted, Input, NotFound, Conflict)> {
        let (user, role) = (UserId(id.0), RoleId(body.0.role_id));
        rbac::assign_role(&auth.context, &caller, &origin, user, role)
            .await
            .map_err(|error| match error {
                AssignError::UnknownRole(_) => error::unknown_role("/role_id"),
                error => error.into(),
            })?;
        Ok(NoContent)
    }

    /// Take a role from a user
    ///
    /// Under the same rules as giving it. The last owner who can sign in stays one. A role that is not held changes
    /// nothing. Takes `roles:write`.
    #[oai(
        path = "/:id/roles/:role_id",
        method = "delete",
        operation_id = "unassignRole"
    )]
    async fn unassign(
        &self,
        Data(auth): Data<&Auth>,
        Permit(caller): Permit<RolesWrite>,
        origin: ClientOrigin,
        /// The user
        id: Path<Uuid>,
        /// The role
        role_id: Path<Uuid>,
    ) -> ApiResult<NoContent, (Permitted, NotFound, Conflict)> {
        let (user, role) = (UserId(id.0), RoleId(role_id.0));
        rbac::unassign_role(&auth.context, &caller, &origin, user, role)
            .await
            .map_err(|error| match error {
                AssignError::UnknownRole(_) => Failure::new(ProblemCode::NotFound, "There is no such role."),
                error => error.into(),
            })?;
        Ok(NoContent)
    }
}
