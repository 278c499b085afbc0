//! Another password, from someone who reads the account's mail.
//!
//! The mail proves the address and nothing more: nobody is signed in, the second factor is asked for as ever, and a
//! lock stays.

use std::time::Duration;

use serde_json::json;

use super::{
    Auth, NewPasswordError,
    evenly::evenly,
    password::{Replacement, hash_replacement, replace, unusable_hash},
    register::claim,
    verify::announce_verified,
};
use crate::{
    api_key,
    audit::{self, Record},
    context::Change,
    crypto::token::{Kind, Token},
    entity::{KeyRevokeReason, user},
    error::{Internal, internal_variant},
    id::UserId,
    mail::{self, Letter, To},
    outbox::{self, event},
    principal::{Actor, Origin, Subject},
    secret::Secret,
    session::RevokeReason,
    tenant::Tenant,
    user::{Email, UserStatus, one_time, one_time::Purpose, store},
};

/// Why the password was not reset.
#[derive(Debug, thiserror::Error)]
pub enum ResetPasswordError {
    /// The token is unknown, used, expired, superseded, or for something else.
    #[error("the token is not valid")]
    InvalidToken,
    /// The new password cannot be set; the token can be used again.
    #[error(transparent)]
    Password(#[from] NewPasswordError),
    /// A failure inside.
    #[error(transparent)]
    Internal(Internal),
}

internal_variant!(ResetPasswordError: Internal sea_orm::DbErr);

/// Mails a token for a new password, if the address has an account that may sign in. The caller is not told, and the
/// answer takes as long.
///
/// # Errors
/// Only failures inside.
pub async fn forgot_password(
    auth: &Auth,
    tenant: &Tenant,
    origin: &Origin,
    email: &Email,
) -> Result<(), Internal> {
    evenly(async {
        if !auth
            .context
            .limits
            .may_mail(tenant.id, "reset", email.canonical())
            .await
        {
            return Ok(());
        }
        let mut change = auth.context.change(tenant.id, Actor::Anonymous, origin).await?;
        let known = store::find_by_email(&change.tx, tenant.id, email.canonical()).await?;
        if let Some(user) = known.filter(|user| user.status == UserStatus::Active) {
            send_reset(&mut change, tenant, &user).await?;
        }
        Ok(change.commit().await?)
    })
    .await
}

/// Mails the user a token for a new password, in the place of any earlier one.
async fn send_reset(change: &mut Change<'_>, tenant: &Tenant, user: &user::Model) -> Result<(), Internal> {
    let ttl = change.context.config.tokens.reset_ttl;
    send_token(change, tenant, user, ttl, |token| Letter::ResetPassword { token }).await?;
    audit::record(
        change,
        Record::success("user.request_password_reset", "user", user.id.0, json!({})),
    )
    .await?;
    Ok(())
}

/// Mails the owner of an account that somebody else has made a token for its first password.
pub(crate) async fn send_first_password(
    change: &mut Change<'_>,
    tenant: &Tenant,
    user: &user::Model,
) -> Result<(), Internal> {
    let ttl = change.context.config.tokens.invitation_ttl;
    send_token(change, tenant, user, ttl, |token| Letter::AccountCreated {
        token,
    })
    .await
}

/// Ends the password and all that came of it, the user's API keys too, and mails the user a token for another. `false` if
/// the account is no longer as it was seen: nothing was changed then. A lock stays, and does not show.
pub(crate) async fn require_new_password(
    auth: &Auth,
    change: &mut Change<'_>,
    tenant: &Tenant,
    user: &user::Model,
) -> Result<bool, Internal> {
    let replacement = Replacement {
        hash: unusable_hash(auth)?,
        keep: None,
        reason: RevokeReason::NewPasswordRequired,
        // Not to be chosen again: there was a reason.
        remember: tenant.settings.passwords.history.max(1),
    };
    if !replace(change, user, replacement).await? {
        return Ok(false);
    }
    api_key::revoke_of(
        change,
        Subject::User(user.id),
        KeyRevokeReason::NewPasswordRequired,
    )
    .await?;
    let ttl = change.context.config.tokens.reset_ttl;
    send_token(change, tenant, user, ttl, |token| Letter::NewPasswordRequired {
        token,
    })
    .await?;
    Ok(true)
}

/// Mails the user a token for a password, in the place of any earlier one.
pub(super) async fn send_token(
    change: &mut Change<'_>,
    tenant: &Tenant,
    user: &user::Model,
    ttl: Duration,
    letter: impl FnOnce(Secret<String>) -> Letter,
) -> Result<(), Internal> {
    let (address, expires_at) = (&user.email_canonical, change.now + ttl);
    let token = one_time::issue(change, Purpose::ResetPassword, user.id.0, address, expires_at).await?;
    mail::queue(change, tenant.brand(), To::user(user), letter(token)).await?;
    Ok(())
}

/// Sets a new password by the token that was mailed, and ends every session.
///
/// # Errors
/// See [`ResetPasswordError`].
pub async fn reset_password(
    auth: &Auth,
    origin: &Origin,
    token: &str,
    new: Secret<String>,
) -> Result<(), ResetPasswordError> {
    let token = Token::parse(Kind::OneTime, token).ok_or(ResetPasswordError::InvalidToken)?;
    let tenant = auth.active_tenant(token.tenant()).await?;
    let tenant = tenant.ok_or(ResetPasswordError::InvalidToken)?;
    // A password that is refused must not use up the token.
    let user = account_of(auth, &tenant, &token).await?;
    let hash = hash_replacement(auth, &tenant, &user, new).await?;

    let mut change = auth
        .context
        .change(tenant.id, Actor::User(user.id), origin)
        .await?;
    // The user's row before the token's, as everywhere: two that wait for each other would both be refused.
    store::hold(&change.tx, tenant.id, user.id).await?;
    let proof = one_time::consume(&change.tx, tenant.id, Purpose::ResetPassword, &token, change.now).await?;
    if proof.is_none() {
        return Err(ResetPasswordError::InvalidToken);
    }
    let replacement = Replacement {
        hash,
        keep: None,
        reason: RevokeReason::PasswordReset,
        remember: tenant.settings.passwords.history,
    };
    if !replace(&mut change, &user, replacement).await? {
        return Err(ResetPasswordError::InvalidToken);
    }
    tell(&mut change, &tenant, &user).await?;
    change.commit().await?;
    Ok(())
}

/// The account whose password the token may set: it may sign in, and still has the address that the mail went to.
async fn account_of(auth: &Auth, tenant: &Tenant, token: &Token) -> Result<user::Model, ResetPasswordError> {
    let now = auth.context.clock.now();
    let tx = auth.context.postgres.tenant(tenant.id).await?;
    let proof = one_time::peek(&tx, tenant.id, Purpose::ResetPassword, token, now).await?;
    let proof = proof.ok_or(ResetPasswordError::InvalidToken)?;
    let user = store::find(&tx, tenant.id, UserId(proof.subject_id)).await?;
    user.filter(|user| user.status == UserStatus::Active && user.email_canonical == proof.address)
        .ok_or(ResetPasswordError::InvalidToken)
}

/// The owner hears of it; so does whoever follows the account. Whoever reads the mail has the address: where no mail had
/// proven it yet, this one has.
async fn tell(change: &mut Change<'_>, tenant: &Tenant, user: &user::Model) -> Result<(), Internal> {
    if !user.email_proven {
        claim(change, user).await?;
        store::verify_email(&change.tx, tenant.id, user.id, &user.email_canonical, change.now).await?;
    }
    if user.email_verified_at.is_none() {
        announce_verified(change, user).await?;
    }
    audit::record(
        change,
        Record::success("user.reset_password", "user", user.id.0, json!({})),
    )
    .await?;
    outbox::emit(change, Some(user.id), &event::PasswordReset { user_id: user.id }).await?;
    mail::queue(change, tenant.brand(), To::user(user), Letter::PasswordReset).await?;
    Ok(())
}
