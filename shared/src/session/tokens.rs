//! The SQL of refresh tokens.

use chrono::{DateTime, Utc};
use sea_orm::{ConnectionTrait, DbErr, FromQueryResult, raw_sql};

use super::{Proof, lifetime::Span};
use crate::{
    context::Change,
    crypto::token::Token,
    entity::{UserStatus, user},
    id::{DeviceId, SessionId, TenantId, UserId},
    postgres::Tx,
};

/// A token, its session and its user, as they stand.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) session: SessionId,
    pub(super) used_at: Option<DateTime<Utc>>,
    pub(super) span: Span,
    pub(super) proof: Proof,
    pub(super) device: Option<DeviceId>,
    pub(super) user: user::Model,
}

impl Found {
    fn read(row: &sea_orm::QueryResult) -> Result<Self, DbErr> {
        let began_at = row.try_get("", "began_at")?;
        let authenticated_at: Option<DateTime<Utc>> = row.try_get("", "authenticated_at")?;
        let methods: Vec<String> = row.try_get("", "methods")?;
        Ok(Self {
            session: row.try_get("", "session_id")?,
            used_at: row.try_get("", "used_at")?,
            span: Span {
                began: began_at,
                refreshed: row.try_get("", "issued_at")?,
                session_end: row.try_get("", "session_expires_at")?,
                token_end: row.try_get("", "token_expires_at")?,
            },
            proof: Proof::read(authenticated_at.unwrap_or(began_at), &methods),
            device: row.try_get("", "device_id")?,
            user: user::Model::from_query_result(row, "")?,
        })
    }
}

/// A token whose session is live and whose user may sign in.
pub(super) async fn find(
    tx: &Tx,
    tenant: TenantId,
    token: &Token,
    now: DateTime<Utc>,
) -> Result<Option<Found>, DbErr> {
    let (hash, active) = (token.hash(), UserStatus::Active);
    let row = tx
        .query_one_raw(raw_sql!(
            Postgres,
            "SELECT u.*, t.session_id, t.used_at, t.created_at AS issued_at, t.expires_at AS token_expires_at,
                    s.created_at AS began_at, s.expires_at AS session_expires_at, s.authenticated_at, s.methods, d.id AS device_id
             FROM refresh_tokens t
             JOIN sessions s ON s.tenant_id = t.tenant_id AND s.id = t.session_id
             JOIN users u ON u.tenant_id = s.tenant_id AND u.id = s.user_id
             LEFT JOIN devices d ON d.tenant_id = s.tenant_id AND d.id = s.device_id
             WHERE t.tenant_id = {tenant} AND t.hash = {hash} AND s.revoked_at IS NULL AND s.expires_at > {now}
               AND u.status = {active}"
        ))
        .await?;
    row.as_ref().map(Found::read).transpose()
}

/// As [`find`], with all three rows locked until the transaction ends. A revocation either was committed before and
/// is seen here, or waits and ends what follows. The user's row comes first, as where users are changed and
/// their sessions end with it.
pub(super) async fn hold(
    tx: &Tx,
    tenant: TenantId,
    token: &Token,
    now: DateTime<Utc>,
) -> Result<Option<Found>, DbErr> {
    let (hash, active) = (token.hash(), UserStatus::Active);
    let row = tx
        .query_one_raw(raw_sql!(
            Postgres,
            "SELECT u.*, t.session_id, t.used_at, t.created_at AS issued_at, t.expires_at AS token_expires_at,
                    s.created_at AS began_at, s.expires_at AS session_expires_at, s.authenticated_at, s.methods, d.id AS device_id
             FROM refresh_tokens t
             JOIN sessions s ON s.tenant_id = t.tenant_id AND s.id = t.session_id
             JOIN users u ON u.tenant_id = s.tenant_id AND u.id = s.user_id
             LEFT JOIN devices d ON d.tenant_id = s.tenant_id AND d.id = s.device_id
             WHERE t.tenant_id = {tenant} AND t.hash = {hash} AND s.revoked_at IS NULL AND s.expires_at > {now}
               AND u.status = {active}
             FOR SHARE OF u FOR NO KEY UPDATE OF s, t"
        ))
        .await?;
    row.as_ref().map(Found::read).transpose()
}

/// The user of a live session that goes on by another token than this one, of which there is no row any more. Locked as
/// by [`hold`].
pub(super) async fn hold_forgotten(
    tx: &Tx,
    tenant: TenantId,
    session: SessionId,
    token: &Token,
    now: DateTime<Utc>,
) -> Result<Option<UserId>, DbErr> {
    let hash = token.hash();
    let row = tx
        .query_one_raw(raw_sql!(
            Postgres,
            "SELECT u.id FROM sessions s
             JOIN users u ON u.tenant_id = s.tenant_id AND u.id = s.user_id
             WHERE s.tenant_id = {tenant} AND s.id = {session} AND s.revoked_at IS NULL AND s.expires_at > {now}
               AND NOT EXISTS (SELECT 1 FROM refresh_tokens t WHERE t.tenant_id = {tenant} AND t.hash = {hash})
               AND EXISTS (SELECT 1 FROM refresh_tokens t WHERE t.tenant_id = {tenant} AND t.session_id = s.id
                             AND t.used_at IS NULL AND t.expires_at > {now})
             FOR SHARE OF u FOR NO KEY UPDATE OF s"
        ))
        .await?;
    row.map(|row| row.try_get("", "id")).transpose()
}

/// Marks the token as used, puts its successor in its place and stamps the session: all of it or, if the token was
/// used already or the account is locked, nothing. Of many callers at once, one is told that it did.
pub(super) async fn replace(
    change: &Change<'_>,
    credential: &[u8],
    token: &Token,
    successor: &Token,
    expires_at: DateTime<Utc>,
) -> Result<bool, DbErr> {
    let (tenant, now) = (change.tenant, change.now);
    let (hash, next) = (token.hash(), successor.hash());
    let credential = credential.to_vec();
    let row = change
        .tx
        .query_one_raw(raw_sql!(
            Postgres,
            "WITH used AS (
                 UPDATE refresh_tokens SET used_at = {now}
                 WHERE tenant_id = {tenant} AND hash = {hash} AND used_at IS NULL AND expires_at > {now}
                   AND NOT EXISTS (
                       SELECT 1 FROM lockouts
                       WHERE tenant_id = {tenant} AND credential = {credential} AND locked_until > {now})
                 RETURNING session_id),
             successor AS (
                 INSERT INTO refresh_tokens (hash, tenant_id, session_id, created_at, expires_at)
                 SELECT {next}, {tenant}, session_id, {now}, {expires_at} FROM used),
             seen AS (
                 UPDATE sessions SET last_seen_at = {now} FROM used
                 WHERE sessions.tenant_id = {tenant} AND sessions.id = used.session_id)
             SELECT 1 AS used FROM used"
        ))
        .await?;
    Ok(row.is_some())
}

/// Until when the successor was to last, if it was made before and no lock forbids to say it again.
pub(super) async fn known_until(
    change: &Change<'_>,
    credential: &[u8],
    successor: &Token,
) -> Result<Option<DateTime<Utc>>, DbErr> {
    let (tenant, now, hash) = (change.tenant, change.now, successor.hash());
    let credential = credential.to_vec();
    let row = change
        .tx
        .query_one_raw(raw_sql!(
            Postgres,
            "SELECT expires_at FROM refresh_tokens
             WHERE tenant_id = {tenant} AND hash = {hash}
               AND NOT EXISTS (
                   SELECT 1 FROM lockouts
                   WHERE tenant_id = {tenant} AND credential = {credential} AND locked_until > {now})"
        ))
        .await?;
    row.map(|row| row.try_get("", "expires_at")).transpose()
}
