//! Why roles and permissions stay as they are.

use super::{MAX_PERMISSIONS, MAX_ROLES, MAX_ROLES_OF_USER};
use crate::error::{Internal, internal_variant};

/// Why a role or a permission was not made, changed or deleted.
#[derive(Debug, thiserror::Error)]
pub enum RbacError {
    /// The tenant has no such role or permission.
    #[error("there is no such thing")]
    NotFound,
    /// It is one of the built-in ones.
    #[error("what is built in can be neither changed nor deleted")]
    BuiltIn,
    /// The tenant's policy on second factors names the role.
    #[error("the tenant's settings name the role in mfa.roles; take it out of there first")]
    InPolicy,
    /// Another one has the name.
    #[error("the name is taken")]
    NameTaken,
    /// The role is not as the caller has read it.
    #[error("the role has changed meanwhile")]
    Changed,
    /// The tenant has no such permissions: their places in the list.
    #[error("there is no such permission")]
    UnknownPermissions(Vec<usize>),
    /// The caller does not hold what the role grants.
    #[error("nobody grants, or takes away, what they do not hold")]
    Escalation,
    /// The tenant has as many roles of its own as it may.
    #[error("a tenant has {MAX_ROLES} roles of its own at most")]
    TooManyRoles,
    /// The tenant has as many permissions of its own as it may.
    #[error("a tenant has {MAX_PERMISSIONS} permissions of its own at most")]
    TooManyPermissions,
    /// A failure inside.
    #[error(transparent)]
    Internal(Internal),
}

internal_variant!(RbacError: Internal sea_orm::DbErr);

/// Why a user's roles stay as they are.
#[derive(Debug, thiserror::Error)]
pub enum AssignError {
    /// The tenant has no such user.
    #[error("there is no such user")]
    UserNotFound,
    /// The tenant has no such role: its place in the list.
    #[error("there is no such role")]
    UnknownRole(usize),
    /// The caller does not hold what the role grants, or is no owner where it takes one.
    #[error(
        "nobody gives, or takes away, a role that grants what they do not hold; owners alone decide over owners"
    )]
    Escalation,
    /// The tenant would have no owner who may sign in.
    #[error("the last owner of a tenant stays")]
    LastOwner,
    /// The user holds as many roles as one may.
    #[error("a user holds {MAX_ROLES_OF_USER} roles at most")]
    TooManyRoles,
    /// A failure inside.
    #[error(transparent)]
    Internal(Internal),
}

internal_variant!(AssignError: Internal sea_orm::DbErr);
