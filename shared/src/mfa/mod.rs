//! Second factors: time-based codes (RFC 6238) and the recovery codes that stand in for them.
//!
//! A factor is set up, then confirmed with its first code; until then it does not count and the one before it
//! does. A sign-in that has proven the first factor gets a challenge, and answers it once.
//!
//! What must never happen: a code that is accepted twice; a second factor that is asked of, or changed by, someone
//! who has not proven the first; a way in that forgets to ask.

use sea_orm::{ConnectionTrait, DbErr, raw_sql};

use crate::{
    id::{TenantId, UserId},
    postgres::Tx,
};

/// Whether the user has a confirmed second factor.
pub(crate) async fn is_enrolled(tx: &Tx, tenant: TenantId, user: UserId) -> Result<bool, DbErr> {
    let row = tx
        .query_one_raw(raw_sql!(
            Postgres,
            "SELECT 1 AS enrolled FROM totp_factors
             WHERE tenant_id = {tenant} AND user_id = {user} AND confirmed_at IS NOT NULL"
        ))
        .await?;
    Ok(row.is_some())
}

/// Ends every sign-in of the user that waits for its second step.
pub(crate) async fn drop_challenges(tx: &Tx, tenant: TenantId, user: UserId) -> Result<(), DbErr> {
    tx.execute_raw(raw_sql!(
        Postgres,
        "DELETE FROM mfa_challenges WHERE tenant_id = {tenant} AND user_id = {user}"
    ))
    .await
    .map(drop)
}
