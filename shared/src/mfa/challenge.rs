//! Challenges: the second factor is asked of someone who has proven the first.
//!
//! The client gets an opaque token, the table its hash. It is good for one user, for minutes, and for one answer.

use sea_orm::DbErr;

use super::store;
use crate::{
    context::Change,
    crypto::token::{Kind, Token},
    entity::mfa_challenge,
    id::{DeviceId, UserId},
    secret::Secret,
};

/// Asks; the token is for whoever has proven the first factor.
pub(crate) async fn ask(
    change: &Change<'_>,
    user: UserId,
    device: Option<DeviceId>,
    device_label: Option<String>,
) -> Result<Secret<String>, DbErr> {
    let token = Token::new(Kind::Mfa, change.tenant, &*change.context.random);
    let expires_at = change.now + change.context.config.tokens.mfa_ttl;
    store::insert_challenge(change, user, token.hash(), device, device_label, expires_at).await?;
    Ok(token.into_text())
}

/// The open challenge of that token.
pub(crate) async fn find(change: &Change<'_>, token: &Token) -> Result<Option<mfa_challenge::Model>, DbErr> {
    store::find_challenge(&change.tx, change.tenant, token.hash(), change.now).await
}

/// Answers the challenge; whether it was open. Of many callers at once, one is told that it was.
pub(crate) async fn answer(change: &Change<'_>, token: &Token) -> Result<bool, DbErr> {
    store::delete_challenge(&change.tx, change.tenant, token.hash()).await
}
