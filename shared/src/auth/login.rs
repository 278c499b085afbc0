//! Signing in with a password.

use serde_json::json;

use super::{
    Auth, SignedIn,
    policy::{self, Denied},
};
use crate::{
    audit::{self, Outcome, Record},
    crypto::pool::PoolError,
    error::{Internal, internal_variant},
    principal::{Actor, Origin},
    secret::Secret,
    session,
    tenant::Tenant,
    user::{Email, store},
};

/// A try to sign in.
pub struct Login {
    /// The account's address.
    pub email: Email,
    /// The password.
    pub password: Secret<String>,
}

/// Why nobody was signed in.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// Unknown address, wrong password or barred account: nobody learns which.
    #[error("the e-mail address or the password is wrong")]
    InvalidCredentials,
    /// The password is right; the address is yet to be proven.
    #[error("the e-mail address is not verified")]
    EmailNotVerified,
    /// Too many passwords are waiting to be hashed.
    #[error("too many sign-ins at once")]
    Busy,
    /// A failure inside.
    #[error(transparent)]
    Internal(Internal),
}

internal_variant!(LoginError: Internal sea_orm::DbErr);

impl From<PoolError> for LoginError {
    fn from(error: PoolError) -> Self {
        match error {
            PoolError::Busy => Self::Busy,
            PoolError::Hash(error) => Self::Internal(error.into()),
            PoolError::Stopped => Self::Internal(Internal::unavailable(error)),
        }
    }
}

/// Begins a session, if address and password belong together.
///
/// Whether or not there is such an account, one hash is computed and one audit row is written.
///
/// # Errors
/// See [`LoginError`].
pub async fn login(
    auth: &Auth,
    tenant: &Tenant,
    origin: &Origin,
    request: Login,
) -> Result<SignedIn, LoginError> {
    let context = &auth.context;
    let user = {
        let tx = context.postgres.tenant(tenant.id).await?;
        store::find_by_email(&tx, tenant.id, request.email.canonical()).await?
    };
    let hash = user.as_ref().map(|user| user.password_hash.clone());
    let matches = auth.passwords.verify(request.password, hash).await?;

    let Some(user) = user.filter(|_| matches) else {
        return refuse(auth, tenant, origin).await;
    };
    match policy::may_enter(&user, tenant) {
        Ok(()) => {}
        Err(Denied::Barred) => return refuse(auth, tenant, origin).await,
        Err(Denied::EmailNotVerified) => return Err(LoginError::EmailNotVerified),
    }
    let mut change = context.change(tenant.id, Actor::User(user.id), origin).await?;
    // The hash took its time. Whoever was disabled or changed the password meanwhile is not let in.
    if !store::hold_unchanged(&change.tx, tenant.id, &user).await? {
        return Err(LoginError::InvalidCredentials);
    }
    let session = session::begin(&mut change, user.id).await?;
    let tokens = auth.tokens(tenant.id, session, change.now)?;
    change.commit().await?;
    Ok(SignedIn {
        user: user.into(),
        tokens,
    })
}

async fn refuse(auth: &Auth, tenant: &Tenant, origin: &Origin) -> Result<SignedIn, LoginError> {
    let change = auth.context.change(tenant.id, Actor::Anonymous, origin).await?;
    let record = Record {
        action: "session.create",
        target: None,
        outcome: Outcome::Failure,
        detail: json!({}),
    };
    audit::record(&change, record).await?;
    change.commit().await?;
    Err(LoginError::InvalidCredentials)
}
