//! Proving an address.

use serde_json::json;

use super::{Auth, change_email::confirm_change, evenly::evenly, register::ask_for_proof};
use crate::{
    audit::{self, Record},
    context::Change,
    crypto::token::{Kind, Token},
    entity::user,
    error::{Internal, internal_variant},
    id::UserId,
    outbox::{self, event},
    principal::{Actor, Origin},
    signal::SignalKind,
    tenant::Tenant,
    user::{Email, User, one_time, one_time::Purpose, store},
};

/// Why the address is not proven.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The token is unknown, used, expired, superseded, or for something else.
    #[error("the token is not valid")]
    InvalidToken,
    /// A failure inside.
    #[error(transparent)]
    Internal(Internal),
}

internal_variant!(VerifyError: Internal sea_orm::DbErr);

/// Proves an address by the token that was mailed to it: the account's, or the one that is to take its place. Does
/// not sign anyone in.
///
/// # Errors
/// [`VerifyError::InvalidToken`].
pub async fn verify_email(auth: &Auth, origin: &Origin, token: &str) -> Result<User, VerifyError> {
    let token = Token::parse(Kind::OneTime, token).ok_or(VerifyError::InvalidToken)?;
    match verify_present(auth, origin, &token).await {
        Err(VerifyError::InvalidToken) => confirm_change(auth, origin, &token).await,
        verified => verified,
    }
}

async fn verify_present(auth: &Auth, origin: &Origin, token: &Token) -> Result<User, VerifyError> {
    let tenant = auth.active_tenant(token.tenant()).await?;
    let tenant = tenant.ok_or(VerifyError::InvalidToken)?.id;
    let mut change = auth.context.change(tenant, Actor::Anonymous, origin).await?;
    let proof = one_time::peek(&change.tx, tenant, Purpose::VerifyEmail, token, change.now).await?;
    let proof = proof.ok_or(VerifyError::InvalidToken)?;
    let id = UserId(proof.subject_id);
    // The user's row before the token's, as everywhere.
    if !store::verify_email(&change.tx, tenant, id, &proof.address, change.now).await? {
        return Err(VerifyError::InvalidToken);
    }
    let proof = one_time::consume(&change.tx, tenant, Purpose::VerifyEmail, token, change.now).await?;
    if proof.is_none() {
        return Err(VerifyError::InvalidToken);
    }
    let user = store::find(&change.tx, tenant, id)
        .await?
        .ok_or(VerifyError::InvalidToken)?;
    change.actor = Actor::User(id);
    announce_verified(&mut change, &user).await?;
    change.signal(SignalKind::AccountChanged, id.0).await?;
    change.commit().await?;
    Ok(user.into())
}

/// Tells the audit trail and the tenant's endpoints that the user's address is proven.
pub(super) async fn announce_verified(change: &mut Change<'_>, user: &user::Model) -> Result<(), Internal> {
    audit::record(
        change,
        Record::success("user.verify_email", "user", user.id.0, json!({})),
    )
    .await?;
    outbox::emit(change, Some(user.id), &event::UserVerified { user: user.into() }).await?;
    Ok(())
}

/// Sends another mail that proves the address, if that waits for one. The caller is not told, and the answer takes as
/// long.
///
/// # Errors
/// Only failures inside.
pub async fn resend_verification(
    auth: &Auth,
    tenant: &Tenant,
    origin: &Origin,
    email: &Email,
) -> Result<(), Internal> {
    evenly(async {
        if !auth
            .context
            .limits
            .may_mail(tenant.id, "verify", email.canonical())
            .await
        {
            return Ok(());
        }
        let mut change = auth.context.change(tenant.id, Actor::Anonymous, origin).await?;
        // Held: whoever registers at the same moment makes it contested.
        let known = store::hold_by_email(&change.tx, tenant.id, email.canonical()).await?;
        if let Some(user) = known.filter(|user| user.email_verified_at.is_none()) {
            ask_for_proof(&mut change, tenant, &user).await?;
            audit::record(
                &change,
                Record::success("user.resend_verification", "user", user.id.0, json!({})),
            )
            .await?;
        }
        Ok(change.commit().await?)
    })
    .await
}
