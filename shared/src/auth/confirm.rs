//! The password once more, from someone who is signed in: before whatever could take the account away.

use super::{Auth, LoginError};
use serde_json::json;

use crate::{
    audit::{self, Outcome, Record},
    entity::user,
    lockout::{self, Budget, Credential},
    principal::{Actor, Origin, UserSession},
    secret::Secret,
    session,
    tenant::Tenant,
    user::{Email, store},
};

/// The caller's account, if that is its password. A wrong one counts like a failed sign-in, and a lock holds here too.
///
/// # Errors
/// [`LoginError::InvalidCredentials`] for a wrong password and for a lock alike; [`LoginError::Busy`].
pub(crate) async fn confirm_password(
    auth: &Auth,
    tenant: &Tenant,
    caller: &UserSession,
    origin: &Origin,
    password: Secret<String>,
) -> Result<user::Model, LoginError> {
    let context = &auth.context;
    let now = context.clock.now();
    let tx = context.postgres.tenant(tenant.id).await?;
    let user = store::find(&tx, tenant.id, caller.user)
        .await?
        .ok_or(LoginError::InvalidCredentials)?;
    let email = Email::parse(&user.email).map_err(crate::error::Internal::fault)?;
    // Whom a stranger has locked out elsewhere can go on here, if the session is one of a known device.
    let device = session::device(&tx, tenant.id, caller.session).await?;
    let credential = device.map_or(Credential::Password(&email), Credential::Device);
    let budget = Budget::of(&context.config, tenant, credential);
    let locked = lockout::is_locked(&tx, tenant, &budget, now).await?;
    drop(tx);
    let hash = Some(user.password_hash.clone());
    let matches = auth.passwords.verify(password, hash).await?.matches();
    let mut change = context.change(tenant.id, Actor::from(caller), origin).await?;
    // Asked again: others may have failed while this password was hashed.
    if matches && !locked && lockout::clear(&change, &budget).await? {
        change.commit().await?;
        return Ok(user);
    }
    lockout::fail(&mut change, tenant, &budget, Some(&user), !matches).await?;
    let record = Record {
        action: "user.confirm_password",
        target: Some(("user", user.id.0)),
        outcome: Outcome::Failure,
        detail: json!({}),
    };
    audit::record(&change, record).await?;
    change.commit().await?;
    Err(LoginError::InvalidCredentials)
}
