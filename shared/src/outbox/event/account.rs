//! Of users: their accounts, credentials and roles.

use schemars::JsonSchema;
use serde::Serialize;

use super::{EventType, Payload, id, instant};
use crate::{
    clock::Timestamp,
    entity::{UserStatus, user},
    id::{InvitationId, RoleId, UserId},
};

/// A user whom a receiver may not know yet.
#[derive(Debug, Serialize, JsonSchema)]
pub struct UserDetails {
    /// The user's id.
    pub id: UserId,
    /// The address as the user wrote it.
    pub email: String,
    /// What the user goes by.
    pub name: Option<String>,
}

impl From<&user::Model> for UserDetails {
    fn from(row: &user::Model) -> Self {
        Self {
            id: row.id,
            email: row.email.clone(),
            name: row.name.clone(),
        }
    }
}

impl UserDetails {
    fn example() -> Self {
        Self {
            id: UserId(id(2)),
            email: "ada@example.com".to_owned(),
            name: Some("Ada Lovelace".to_owned()),
        }
    }
}

/// A user as it is now.
#[derive(Debug, Serialize, JsonSchema)]
pub struct UpdatedUser {
    /// The user's id.
    pub id: UserId,
    /// The address as the user wrote it.
    pub email: String,
    /// What the user goes by.
    pub name: Option<String>,
    /// Whether the user may sign in.
    pub status: UserStatus,
}

impl From<&user::Model> for UpdatedUser {
    fn from(row: &user::Model) -> Self {
        let UserDetails { id, email, name } = row.into();
        Self {
            id,
            email,
            name,
            status: row.status,
        }
    }
}

/// A user that receivers know by its id.
#[derive(Debug, Serialize, JsonSchema)]
pub struct KnownUser {
    /// The user's id.
    pub id: UserId,
}

/// An account was made.
#[derive(Debug, Serialize, JsonSchema)]
pub struct UserRegistered {
    /// Whose account it is.
    pub user: UserDetails,
    /// Whether it came with an import from another system.
    pub imported: bool,
}

impl Payload for UserRegistered {
    const TYPE: EventType = EventType::UserRegistered;

    fn example() -> Self {
        Self {
            user: UserDetails::example(),
            imported: false,
        }
    }
}

/// An account's address was proven.
#[derive(Debug, Serialize, JsonSchema)]
pub struct UserVerified {
    /// Whose address it is.
    pub user: UserDetails,
}

impl Payload for UserVerified {
    const TYPE: EventType = EventType::UserVerified;

    fn example() -> Self {
        Self {
            user: UserDetails::example(),
        }
    }
}

/// An account's details changed.
#[derive(Debug, Serialize, JsonSchema)]
pub struct UserUpdated {
    /// The user as it is now.
    pub user: UpdatedUser,
}

impl Payload for UserUpdated {
    const TYPE: EventType = EventType::UserUpdated;

    fn example() -> Self {
        let UserDetails { id, email, name } = UserDetails::example();
        Self {
            user: UpdatedUser {
                id,
                email,
                name,
                status: UserStatus::Active,
            },
        }
    }
}

/// An account was barred from signing in.
#[derive(Debug, Serialize, JsonSchema)]
pub struct UserDisabled {
    /// Who is barred.
    pub user: KnownUser,
}

impl Payload for UserDisabled {
    const TYPE: EventType = EventType::UserDisabled;

    fn example() -> Self {
        Self {
            user: KnownUser { id: UserId(id(2)) },
        }
    }
}

/// Too many failures have locked an account.
#[derive(Debug, Serialize, JsonSchema)]
pub struct UserLocked {
    /// Whose account it is.
    pub user: KnownUser,
    /// When the lock ends by itself.
    pub locked_until: Timestamp,
}

impl Payload for UserLocked {
    const TYPE: EventType = EventType::UserLocked;

    fn example() -> Self {
        Self {
            user: KnownUser { id: UserId(id(2)) },
            locked_until: instant(),
        }
    }
}

/// Declares payloads that hold the user's id and nothing else.
macro_rules! of_user {
    ($($(#[$doc:meta])* $name:ident)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Serialize, JsonSchema)]
        pub struct $name {
            /// The user's id.
            pub user_id: UserId,
        }

        impl Payload for $name {
            const TYPE: EventType = EventType::$name;

            fn example() -> Self {
                Self { user_id: UserId(id(2)) }
            }
        }
    )*};
}

of_user! {
    /// An account is gone. The id alone, so that nothing of it has to be erased.
    UserDeleted
    /// A password was changed by its owner.
    PasswordChanged
    /// A password was reset by mail.
    PasswordReset
}

/// What a second factor is: time-based codes (RFC 6238).
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FactorMethod {
    #[expect(
        missing_docs,
        reason = "words of its own would make a choice of one in the schema"
    )]
    Totp,
}

/// A second factor was set up.
#[derive(Debug, Serialize, JsonSchema)]
pub struct MfaEnabled {
    /// The user's id.
    pub user_id: UserId,
    /// What the factor is.
    pub method: FactorMethod,
}

impl Payload for MfaEnabled {
    const TYPE: EventType = EventType::MfaEnabled;

    fn example() -> Self {
        Self {
            user_id: UserId(id(2)),
            method: FactorMethod::Totp,
        }
    }
}

/// A second factor was removed.
#[derive(Debug, Serialize, JsonSchema)]
pub struct MfaDisabled {
    /// The user's id.
    pub user_id: UserId,
    /// What the factor was.
    pub method: FactorMethod,
}

impl Payload for MfaDisabled {
    const TYPE: EventType = EventType::MfaDisabled;

    fn example() -> Self {
        Self {
            user_id: UserId(id(2)),
            method: FactorMethod::Totp,
        }
    }
}

/// A role.
#[derive(Debug, Serialize, JsonSchema)]
pub struct NamedRole {
    /// Its id.
    pub id: RoleId,
    /// Its name.
    pub name: String,
}

impl NamedRole {
    fn example() -> Self {
        Self {
            id: RoleId(id(3)),
            name: "auditor".to_owned(),
        }
    }
}

/// A user was given a role.
#[derive(Debug, Serialize, JsonSchema)]
pub struct RoleAssigned {
    /// The user's id.
    pub user_id: UserId,
    /// The role.
    pub role: NamedRole,
}

impl Payload for RoleAssigned {
    const TYPE: EventType = EventType::RoleAssigned;

    fn example() -> Self {
        Self {
            user_id: UserId(id(2)),
            role: NamedRole::example(),
        }
    }
}

/// A user lost a role. Ids and the role alone, so that nothing of it has to be erased with an account.
#[derive(Debug, Serialize, JsonSchema)]
pub struct RoleUnassigned {
    /// The user's id.
    pub user_id: UserId,
    /// The role.
    pub role: NamedRole,
}

impl Payload for RoleUnassigned {
    const TYPE: EventType = EventType::RoleUnassigned;

    fn example() -> Self {
        Self {
            user_id: UserId(id(2)),
            role: NamedRole::example(),
        }
    }
}

/// A user whose address was invited.
#[derive(Debug, Serialize, JsonSchema)]
pub struct InvitedUser {
    /// The user's id.
    pub id: UserId,
    /// The address that was invited.
    pub email: String,
}

/// An invitation was accepted.
#[derive(Debug, Serialize, JsonSchema)]
pub struct InvitationAccepted {
    /// The invitation's id.
    pub invitation_id: InvitationId,
    /// Who accepted it.
    pub user: InvitedUser,
}

impl Payload for InvitationAccepted {
    const TYPE: EventType = EventType::InvitationAccepted;

    fn example() -> Self {
        Self {
            invitation_id: InvitationId(id(4)),
            user: InvitedUser {
                id: UserId(id(2)),
                email: "ada@example.com".to_owned(),
            },
        }
    }
}
