//! The shapes of roles.

use latchkey_shared::rbac::{NewRole, Role, RoleName, RolePatch};
use poem_openapi::{
    Object,
    types::{Example, MaybeUndefined},
};
use uuid::Uuid;

use crate::{
    extract::Kept,
    problem::{Failure, FieldError, ProblemCode},
    routes::changed,
    time::Timestamp,
};

/// A role to be.
#[derive(Object)]
#[oai(deny_unknown_fields, example)]
pub(super) struct CreateRoleRequest {
    /// Unique in the tenant, whatever its case.
    #[oai(validator(min_length = 1, max_length = 100))]
    name: String,
    /// What it is for.
    #[oai(validator(max_length = 256))]
    description: Option<String>,
    /// What it grants: built-in permissions, and the tenant's own.
    #[oai(validator(max_items = 600))]
    permissions: Vec<String>,
}

impl Example for CreateRoleRequest {
    fn example() -> Self {
        Self {
            name: "Support".to_owned(),
            description: Some("Looks after customers".to_owned()),
            permissions: vec!["users:read".to_owned(), "invitations:write".to_owned()],
        }
    }
}

impl CreateRoleRequest {
    pub(super) fn read(self) -> Result<NewRole, Failure> {
        let Self {
            name,
            description,
            permissions,
        } = self;
        Ok(NewRole {
            name: role_name(&name)?,
            description,
            permissions,
        })
    }
}

/// What to change of a role.
#[derive(Object)]
#[oai(deny_unknown_fields, example)]
pub(super) struct UpdateRoleRequest {
    /// Unique in the tenant, whatever its case.
    #[oai(validator(min_length = 1, max_length = 100))]
    name: Kept<String>,
    /// What it is for; null clears it.
    #[oai(validator(max_length = 256))]
    description: MaybeUndefined<String>,
    /// Replaces the list; null leaves none.
    #[oai(validator(max_items = 600))]
    permissions: MaybeUndefined<Vec<String>>,
}

impl Example for UpdateRoleRequest {
    fn example() -> Self {
        Self {
            name: Kept(None),
            description: MaybeUndefined::Undefined,
            permissions: MaybeUndefined::Value(vec!["users:read".to_owned()]),
        }
    }
}

impl UpdateRoleRequest {
    pub(super) fn read(self) -> Result<RolePatch, Failure> {
        let Self {
            name,
            description,
            permissions,
        } = self;
        Ok(RolePatch {
            name: name.0.as_deref().map(role_name).transpose()?,
            description: changed(description),
            permissions: changed(permissions).map(Option::unwrap_or_default),
        })
    }
}

fn role_name(text: &str) -> Result<RoleName, Failure> {
    RoleName::parse(text).map_err(|error| {
        let field = FieldError::new("/name", "invalid_format", error.to_string());
        Failure::fields(ProblemCode::ValidationFailed, vec![field])
    })
}

/// A role for a user.
#[derive(Object)]
#[oai(deny_unknown_fields)]
pub(super) struct AssignRoleRequest {
    /// The role.
    pub(super) role_id: Uuid,
}

/// A named set of permissions.
#[derive(Object)]
#[oai(rename = "Role")]
pub(super) struct RoleView {
    id: Uuid,
    name: String,
    description: Option<String>,
    /// Whether it came with the tenant: then it can be neither changed nor deleted.
    builtin: bool,
    /// What it grants, in alphabetical order.
    permissions: Vec<String>,
    created_at: Timestamp,
    updated_at: Timestamp,
}

impl From<Role> for RoleView {
    fn from(role: Role) -> Self {
        let Role {
            id,
            name,
            description,
            builtin,
            permissions,
            version: _,
            created_at,
            updated_at,
        } = role;
        Self {
            id: id.0,
            name,
            description,
            builtin: builtin.is_some(),
            permissions: permissions.iter().map(str::to_owned).collect(),
            created_at: created_at.into(),
            updated_at: updated_at.into(),
        }
    }
}
