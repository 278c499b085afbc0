//! The shapes of users, as administrators see and write them.

use latchkey_shared::{
    administration::{CreateUser, ManagedUser, RoleFilter, RoleRef, UserFilter, UserPatch},
    id::RoleId,
    secret::Secret,
    user::{Email, UserStatus},
};
use poem_openapi::{
    Enum, Object,
    types::{Example, MaybeUndefined},
};
use uuid::Uuid;

use crate::{
    extract::Kept,
    problem::{Failure, FieldError, ProblemCode},
    routes::{auth::address, changed},
    time::Timestamp,
};

/// Whether a user may sign in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[oai(rename = "ManagedUserStatus", rename_all = "snake_case")]
pub(super) enum StatusView {
    Active,
    Disabled,
}

impl From<UserStatus> for StatusView {
    fn from(status: UserStatus) -> Self {
        match status {
            UserStatus::Active => Self::Active,
            UserStatus::Disabled => Self::Disabled,
        }
    }
}

impl From<StatusView> for UserStatus {
    fn from(status: StatusView) -> Self {
        match status {
            StatusView::Active => Self::Active,
            StatusView::Disabled => Self::Disabled,
        }
    }
}

/// A role that a user holds.
#[derive(Object)]
#[oai(rename = "RoleRef")]
struct RoleRefView {
    id: Uuid,
    name: String,
}

/// A user, as administrators see one.
#[derive(Object)]
#[oai(rename = "ManagedUser")]
pub(super) struct ManagedUserView {
    id: Uuid,
    /// As it was written.
    email: String,
    /// Whether the address is verified: proven by a mail, or on an administrator's word.
    email_verified: bool,
    /// The address that takes its place once it is proven.
    pending_email: Option<String>,
    /// What the user goes by.
    name: Option<String>,
    status: StatusView,
    /// What another system calls the user.
    external_id: Option<String>,
    /// By name.
    roles: Vec<RoleRefView>,
    /// Whether the user has a second factor.
    mfa_enabled: bool,
    /// When another password was set last.
    password_changed_at: Option<Timestamp>,
    created_at: Timestamp,
    updated_at: Timestamp,
}

impl From<ManagedUser> for ManagedUserView {
    fn from(managed: ManagedUser) -> Self {
        let ManagedUser {
            user,
            external_id,
            roles,
            mfa_enabled,
            password_changed_at,
        } = managed;
        let roles = roles
            .into_iter()
            .map(|RoleRef { id, name }| RoleRefView { id: id.0, name });
        Self {
            id: user.id.0,
            email: user.email,
            email_verified: user.email_verified_at.is_some(),
            pending_email: user.pending_email,
            name: user.name,
            status: user.status.into(),
            external_id,
            roles: roles.collect(),
            mfa_enabled,
            password_changed_at: password_changed_at.map(Timestamp::from),
            created_at: user.created_at.into(),
            updated_at: user.updated_at.into(),
        }
    }
}

/// The filter that a list's parameters ask for.
pub(super) fn filter(
    email: Option<&str>,
    status: Option<StatusView>,
    role: Option<String>,
) -> Result<UserFilter, Failure> {
    let email = email.map(Email::parse).transpose().map_err(|error| {
        let field = FieldError::new("/query/email", "invalid_format", error.to_string());
        Failure::fields(ProblemCode::InvalidParameter, vec![field])
    })?;
    let role = role.map(|role| match role.parse() {
        Ok(id) => RoleFilter::Id(RoleId(id)),
        Err(_) => RoleFilter::Name(role),
    });
    Ok(UserFilter {
        email,
        status: status.map(UserStatus::from),
        role,
    })
}

/// A user to be.
#[derive(Object)]
#[oai(deny_unknown_fields, example)]
pub(super) struct CreateUserRequest {
    #[oai(validator(max_length = 254))]
    email: String,
    /// What the user goes by.
    #[oai(validator(min_length = 1, max_length = 200))]
    name: Option<String>,
    /// 8 to 256 characters. Without it the user is mailed a link to choose one, and nobody enters before.
    #[oai(validator(min_length = 8, max_length = 256))]
    password: Option<String>,
    /// None of which may grant what the caller does not hold; without it the role `member`.
    #[oai(validator(max_items = 50))]
    role_ids: Option<Vec<Uuid>>,
    /// Whether the address is known to be the user's: then no mail asks for a proof, and the user may enter. The first
    /// mail that proves it all the same (a reset, an invitation) ends the sessions, devices and keys of before. False by
    /// default.
    email_verified: Option<bool>,
    /// What another system calls the user; unique in the tenant.
    #[oai(validator(min_length = 1, max_length = 200))]
    external_id: Option<String>,
}

impl Example for CreateUserRequest {
    fn example() -> Self {
        Self {
            email: "ada@example.com".to_owned(),
            name: Some("Ada Lovelace".to_owned()),
            password: None,
            role_ids: None,
            email_verified: None,
            external_id: Some("crm-1815".to_owned()),
        }
    }
}

impl CreateUserRequest {
    pub(super) fn read(self) -> Result<CreateUser, Failure> {
        let Self {
            email,
            name,
            password,
            role_ids,
            email_verified,
            external_id,
        } = self;
        Ok(CreateUser {
            email: address("/email", &email)?,
            name,
            password: password.map(Secret::new),
            role_ids: role_ids.map(|ids| ids.into_iter().map(RoleId).collect()),
            email_verified: email_verified.unwrap_or_default(),
            external_id,
        })
    }
}

/// What to change of a user.
#[derive(Object)]
#[oai(deny_unknown_fields, example)]
pub(super) struct UpdateUserRequest {
    /// What the user goes by; null removes it.
    #[oai(validator(min_length = 1, max_length = 200))]
    name: MaybeUndefined<String>,
    /// Takes the place of the present address once it is proven by a mail to it.
    #[oai(validator(max_length = 254))]
    email: Kept<String>,
    /// What another system calls the user; null removes it.
    #[oai(validator(min_length = 1, max_length = 200))]
    external_id: MaybeUndefined<String>,
}

impl Example for UpdateUserRequest {
    fn example() -> Self {
        Self {
            name: MaybeUndefined::Value("Ada King".to_owned()),
            email: Kept(None),
            external_id: MaybeUndefined::Undefined,
        }
    }
}

impl UpdateUserRequest {
    pub(super) fn read(self) -> Result<UserPatch, Failure> {
        let Self {
            name,
            email,
            external_id,
        } = self;
        Ok(UserPatch {
            name: changed(name),
            external_id: changed(external_id),
            email: email.0.map(|email| address("/email", &email)).transpose()?,
        })
    }
}

#[derive(Enum)]
#[oai(rename_all = "snake_case")]
enum NewPasswordStatus {
    MailSent,
}

/// The password was ended, and a mail is on its way.
#[derive(Object)]
#[oai(rename = "NewPasswordRequired")]
pub(super) struct NewPasswordRequiredView {
    status: NewPasswordStatus,
}

impl NewPasswordRequiredView {
    pub(super) const fn new() -> Self {
        Self {
            status: NewPasswordStatus::MailSent,
        }
    }
}
