//! Why something was not done to a user.

use crate::{
    auth::NewPasswordError,
    error::{Internal, internal_variant},
    limit::{Exceeded, Refused},
    rbac::AssignError,
};

/// Why something was not done to a user.
#[derive(Debug, thiserror::Error)]
pub enum UserError {
    /// The tenant has no such user, or the user no such session.
    #[error("there is no such user")]
    NotFound,
    /// It is the caller's own account: for that there are operations which ask for the password.
    #[error("the account is the caller's own")]
    OwnAccount,
    /// The user may do what the caller may not, or is an owner and the caller is none.
    #[error("nobody decides over who holds more than they do; owners alone decide over owners")]
    Escalation,
    /// The tenant would have no owner who may sign in.
    #[error("the last owner of a tenant stays")]
    LastOwner,
    /// The account is disabled.
    #[error("the account is disabled")]
    Disabled,
    /// Another account has the address.
    #[error("the e-mail address has an account")]
    EmailTaken,
    /// Another account has the external id.
    #[error("another user has this external id")]
    ExternalIdTaken,
    /// The roles cannot be given.
    #[error(transparent)]
    Roles(#[from] AssignError),
    /// The tenant, or somebody in it, has been sent as many mails, or has had as many passwords hashed, as may be for now.
    #[error("too many requests; come back after {0:?}")]
    TooOften(Exceeded),
    /// The password cannot be set.
    #[error(transparent)]
    Password(#[from] NewPasswordError),
    /// A failure inside.
    #[error(transparent)]
    Internal(Internal),
}

internal_variant!(UserError: Internal sea_orm::DbErr);

impl From<Refused> for UserError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::TooOften(limit) => Self::TooOften(limit),
            Refused::Closed(closed) => Self::Internal(Internal::unavailable(closed)),
        }
    }
}
