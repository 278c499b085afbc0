//! One-time tokens: what a mail carries so that its reader can prove to have received it.
//!
//! A token is bound to its purpose, its subject and the address it was sent to. There is one live token for each
//! purpose and subject: a newer one takes the older one's place. Using it deletes its row, so that of many
//! submissions at once exactly one finds it.

use chrono::{DateTime, Utc};
use sea_orm::{ConnectionTrait, DbErr, FromQueryResult, raw_sql};
use uuid::Uuid;

use crate::{
    context::Change,
    crypto::token::{Kind, Token},
    id::TenantId,
    postgres::Tx,
    secret::Secret,
};

/// What a token is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Proves a user's address; the subject is the user.
    VerifyEmail,
    /// Joins a tenant; the subject is the invitation.
    AcceptInvitation,
    /// Chooses a new password; the subject is the user.
    ResetPassword,
    /// Proves the address that is to take the place of a user's; the subject is the user.
    ChangeEmail,
    /// Lifts a lock; the subject is the user.
    Unlock,
}

impl Purpose {
    const fn as_str(self) -> &'static str {
        match self {
            Self::VerifyEmail => "verify_email",
            Self::AcceptInvitation => "accept_invitation",
            Self::ResetPassword => "reset_password",
            Self::ChangeEmail => "change_email",
            Self::Unlock => "unlock",
        }
    }
}

/// What a token that was found says.
#[derive(Clone, Debug, FromQueryResult)]
pub struct Proof {
    /// The user or invitation.
    pub subject_id: Uuid,
    /// The canonical address it was sent to.
    pub address: String,
}

/// Makes a token for the mail, in the place of any earlier one.
pub(crate) async fn issue(
    change: &Change<'_>,
    purpose: Purpose,
    subject: Uuid,
    address: &str,
    expires_at: DateTime<Utc>,
) -> Result<Secret<String>, DbErr> {
    let token = Token::new(Kind::OneTime, change.tenant, &*change.context.random);
    let (tenant, now, purpose, hash) = (change.tenant, change.now, purpose.as_str(), token.hash());
    change
        .tx
        .execute_raw(raw_sql!(
            Postgres,
            "INSERT INTO one_time_tokens (hash, tenant_id, purpose, subject_id, address, created_at, expires_at)
             VALUES ({hash}, {tenant}, {purpose}, {subject}, {address}, {now}, {expires_at})
             ON CONFLICT (tenant_id, purpose, subject_id) DO UPDATE SET hash = excluded.hash,
                 address = excluded.address, created_at = excluded.created_at, expires_at = excluded.expires_at"
        ))
        .await?;
    Ok(token.into_text())
}

/// Looks at a token without using it.
pub(crate) async fn peek(
    tx: &Tx,
    tenant: TenantId,
    purpose: Purpose,
    token: &Token,
    now: DateTime<Utc>,
) -> Result<Option<Proof>, DbErr> {
    let (purpose, hash) = (purpose.as_str(), token.hash());
    Proof::find_by_statement(raw_sql!(
        Postgres,
        "SELECT subject_id, address FROM one_time_tokens
         WHERE tenant_id = {tenant} AND hash = {hash} AND purpose = {purpose} AND expires_at > {now}"
    ))
    .one(tx)
    .await
}

/// Uses a token up. Of many callers at once, one gets the proof.
pub(crate) async fn consume(
    tx: &Tx,
    tenant: TenantId,
    purpose: Purpose,
    token: &Token,
    now: DateTime<Utc>,
) -> Result<Option<Proof>, DbErr> {
    let (purpose, hash) = (purpose.as_str(), token.hash());
    Proof::find_by_statement(raw_sql!(
        Postgres,
        "DELETE FROM one_time_tokens
         WHERE tenant_id = {tenant} AND hash = {hash} AND purpose = {purpose} AND expires_at > {now}
         RETURNING subject_id, address"
    ))
    .one(tx)
    .await
}

/// Ends the subject's tokens of these purposes: nothing that was mailed for them can be used any more.
pub(crate) async fn revoke(change: &Change<'_>, subject: Uuid, purposes: &[Purpose]) -> Result<(), DbErr> {
    let tenant = change.tenant;
    let purposes: Vec<String> = purposes
        .iter()
        .map(|purpose| purpose.as_str().to_owned())
        .collect();
    change
        .tx
        .execute_raw(raw_sql!(
            Postgres,
            "DELETE FROM one_time_tokens
             WHERE tenant_id = {tenant} AND subject_id = {subject} AND purpose = ANY({purposes})"
        ))
        .await
        .map(drop)
}
