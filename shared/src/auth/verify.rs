//! Proving an address.

use serde_json::json;

use super::{Auth, register::send_verification};
use crate::{
    audit::{self, Record},
    crypto::token::{Kind, Token},
    error::{Internal, internal_variant},
    id::UserId,
    outbox::{self, EventType},
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

/// Proves an address by the token that was mailed to it. Does not sign anyone in.
///
/// # Errors
/// [`VerifyError::InvalidToken`].
pub async fn verify_email(auth: &Auth, origin: &Origin, token: &str) -> Result<User, VerifyError> {
    let token = Token::parse(Kind::OneTime, token).ok_or(VerifyError::InvalidToken)?;
    let tenant = token.tenant();
    let mut change = auth.context.change(tenant, Actor::Anonymous, origin).await?;
    let proof = one_time::consume(&change.tx, tenant, Purpose::VerifyEmail, &token, change.now).await?;
    let proof = proof.ok_or(VerifyError::InvalidToken)?;
    let id = UserId(proof.subject_id);
    if !store::verify_email(&change.tx, tenant, id, &proof.address, change.now).await? {
        return Err(VerifyError::InvalidToken);
    }
    let user = store::find(&change.tx, tenant, id)
        .await?
        .ok_or(VerifyError::InvalidToken)?;
    change.actor = Actor::User(id);
    audit::record(
        &change,
        Record::success("user.verify_email", "user", id.0, json!({})),
    )
    .await?;
    let data = json!({ "user": { "id": id, "email": user.email, "name": user.name } });
    outbox::emit(&mut change, EventType::UserVerified, Some(id), &data).await?;
    change.signal(SignalKind::AccountChanged, id.0).await?;
    change.commit().await?;
    Ok(user.into())
}

/// Sends another verification mail, if the address waits for one. The caller is not told.
///
/// # Errors
/// Only failures inside.
pub async fn resend_verification(
    auth: &Auth,
    tenant: &Tenant,
    origin: &Origin,
    email: &Email,
) -> Result<(), Internal> {
    let mut change = auth.context.change(tenant.id, Actor::Anonymous, origin).await?;
    let known = store::find_by_email(&change.tx, tenant.id, email.canonical()).await?;
    if let Some(user) = known.filter(|user| user.email_verified_at.is_none()) {
        send_verification(&mut change, tenant, &user).await?;
        audit::record(
            &change,
            Record::success("user.resend_verification", "user", user.id.0, json!({})),
        )
        .await?;
    }
    change.commit().await?;
    Ok(())
}
