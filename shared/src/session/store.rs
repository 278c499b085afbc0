//! The SQL of sessions.

use chrono::{DateTime, Utc};
use sea_orm::{
    ColumnTrait, ConnectionTrait, DbErr, EntityTrait, FromQueryResult, QueryFilter, QuerySelect, raw_sql,
};
use uuid::Uuid;

use super::lifetime::Span;
use crate::{
    crypto::token::Token,
    entity::session,
    id::{DeviceId, SessionId, TenantId, UserId},
    page::PageRequest,
    postgres::Tx,
};

#[derive(FromQueryResult)]
struct Ended {
    id: SessionId,
}

fn ids(ended: Vec<Ended>) -> Vec<SessionId> {
    ended.into_iter().map(|ended| ended.id).collect()
}

pub(super) async fn device(tx: &Tx, tenant: TenantId, id: SessionId) -> Result<Option<DeviceId>, DbErr> {
    let found: Option<Option<DeviceId>> = session::Entity::find_by_id(id)
        .select_only()
        .column(session::Column::DeviceId)
        .filter(session::Column::TenantId.eq(tenant))
        .into_tuple()
        .one(tx)
        .await?;
    Ok(found.flatten())
}

/// Ends a session that is live, and says whose it was.
pub(super) async fn revoke(
    tx: &Tx,
    tenant: TenantId,
    id: SessionId,
    reason: &str,
    now: DateTime<Utc>,
) -> Result<Option<UserId>, DbErr> {
    #[derive(FromQueryResult)]
    struct Of {
        user_id: UserId,
    }
    let ended = Of::find_by_statement(raw_sql!(
        Postgres,
        "UPDATE sessions SET revoked_at = {now}, revoke_reason = {reason}
         WHERE tenant_id = {tenant} AND id = {id} AND revoked_at IS NULL RETURNING user_id"
    ))
    .one(tx)
    .await?;
    Ok(ended.map(|ended| ended.user_id))
}

/// Ends a session of that user that is live; says whether there was one.
pub(super) async fn revoke_of(
    tx: &Tx,
    tenant: TenantId,
    user: UserId,
    id: SessionId,
    reason: &str,
    now: DateTime<Utc>,
) -> Result<bool, DbErr> {
    let ended = tx
        .execute_raw(raw_sql!(
            Postgres,
            "UPDATE sessions SET revoked_at = {now}, revoke_reason = {reason}
             WHERE tenant_id = {tenant} AND user_id = {user} AND id = {id} AND revoked_at IS NULL"
        ))
        .await?;
    Ok(ended.rows_affected() == 1)
}

/// Ends every live session of a user but one. The rows are locked in one order, so that two who do this at once
/// wait for one another and do not deadlock.
pub(super) async fn revoke_all(
    tx: &Tx,
    tenant: TenantId,
    user: UserId,
    except: Option<SessionId>,
    reason: &str,
    now: DateTime<Utc>,
) -> Result<Vec<SessionId>, DbErr> {
    let ended = Ended::find_by_statement(raw_sql!(
        Postgres,
        "UPDATE sessions SET revoked_at = {now}, revoke_reason = {reason}
         WHERE tenant_id = {tenant} AND id IN (
             SELECT id FROM sessions
             WHERE tenant_id = {tenant} AND user_id = {user} AND revoked_at IS NULL AND id IS DISTINCT FROM {except}
             ORDER BY id FOR NO KEY UPDATE)
         RETURNING id"
    ))
    .all(tx)
    .await?;
    Ok(ids(ended))
}

/// What a session begins with besides its row.
pub(super) struct Beginning<'a> {
    pub(super) token: &'a Token,
    pub(super) refresh_expires_at: DateTime<Utc>,
    /// How long the session's device stays known.
    pub(super) device_expires_at: DateTime<Utc>,
    /// The most live sessions of the user, this one included; the oldest beyond them end.
    pub(super) limit: u16,
    pub(super) reason: &'static str,
}

/// Writes a session with its first token, notes that its device was seen, and ends the oldest live sessions beyond the
/// limit, which it returns. All in one statement, which does not see the row that it writes.
///
/// The count comes first: only a user with that many rows has any that could be too many. Each session's token is
/// looked up by itself (`LIMIT` has it so): as a join the planner took it for, it ran over all of the tenant's.
pub(super) async fn begin(
    tx: &Tx,
    session: session::Model,
    beginning: Beginning<'_>,
) -> Result<Vec<SessionId>, DbErr> {
    let session::Model {
        id,
        tenant_id: tenant,
        user_id: user,
        address,
        user_agent,
        device_label,
        device_id: device,
        methods,
        authenticated_at,
        last_seen_at,
        created_at: now,
        expires_at,
        revoked_at: _,
        revoke_reason: _,
    } = session;
    let Beginning {
        token,
        refresh_expires_at,
        device_expires_at,
        limit,
        reason,
    } = beginning;
    let (hash, others) = (token.hash(), i64::from(limit.max(1)) - 1);
    let ended = Ended::find_by_statement(raw_sql!(
        Postgres,
        "WITH session AS (
             INSERT INTO sessions (id, tenant_id, user_id, address, user_agent, device_label, device_id, methods,
                                   authenticated_at, last_seen_at, created_at, expires_at)
             VALUES ({id}, {tenant}, {user}, {address}, {user_agent}, {device_label}, {device}, {methods},
                     {authenticated_at}, {last_seen_at}, {now}, {expires_at})),
         token AS (
             INSERT INTO refresh_tokens (hash, tenant_id, session_id, created_at, expires_at)
             VALUES ({hash}, {tenant}, {id}, {now}, {refresh_expires_at})),
         device AS (
             UPDATE devices SET last_seen_at = {now}, expires_at = {device_expires_at}
             WHERE tenant_id = {tenant} AND id = {device} AND last_seen_at < {now})
         UPDATE sessions SET revoked_at = {now}, revoke_reason = {reason}
         WHERE tenant_id = {tenant} AND revoked_at IS NULL AND id = ANY(ARRAY(
             SELECT s.id FROM sessions s
             WHERE (SELECT count(*) FROM sessions WHERE tenant_id = {tenant} AND user_id = {user}
                        AND revoked_at IS NULL AND expires_at > {now}) > {others}
               AND s.tenant_id = {tenant} AND s.user_id = {user} AND s.revoked_at IS NULL AND s.expires_at > {now}
               AND (SELECT true FROM refresh_tokens t WHERE t.tenant_id = {tenant} AND t.session_id = s.id
                      AND t.used_at IS NULL AND t.expires_at > {now} LIMIT 1)
             ORDER BY s.created_at DESC, s.id DESC OFFSET {others}))
         RETURNING id"
    ))
    .all(tx)
    .await?;
    Ok(ids(ended))
}

/// The live sessions of a user, newest first: those that can still be refreshed.
pub(super) async fn list(
    tx: &Tx,
    tenant: TenantId,
    user: UserId,
    page: PageRequest,
    now: DateTime<Utc>,
) -> Result<Vec<session::Model>, DbErr> {
    let (before, limit) = (page.before_or_max(), page.fetch());
    session::Model::find_by_statement(raw_sql!(
        Postgres,
        "SELECT s.* FROM sessions s
         WHERE s.tenant_id = {tenant} AND s.user_id = {user} AND s.id < {before}
           AND s.revoked_at IS NULL AND s.expires_at > {now}
           AND (SELECT true FROM refresh_tokens t WHERE t.tenant_id = {tenant} AND t.session_id = s.id
                  AND t.used_at IS NULL AND t.expires_at > {now} LIMIT 1)
         ORDER BY s.id DESC LIMIT {limit}"
    ))
    .all(tx)
    .await
}

/// A session that has not ended.
pub(super) async fn find_live(
    tx: &Tx,
    tenant: TenantId,
    id: SessionId,
    now: DateTime<Utc>,
) -> Result<Option<session::Model>, DbErr> {
    session::Model::find_by_statement(raw_sql!(
        Postgres,
        "SELECT * FROM sessions
         WHERE tenant_id = {tenant} AND id = {id} AND revoked_at IS NULL AND expires_at > {now}"
    ))
    .one(tx)
    .await
}

/// Whether the session has not ended, and does not before the transaction does.
pub(super) async fn hold_live(
    tx: &Tx,
    tenant: TenantId,
    id: SessionId,
    now: DateTime<Utc>,
) -> Result<bool, DbErr> {
    let row = tx
        .query_one_raw(raw_sql!(
            Postgres,
            "SELECT 1 AS held FROM sessions
             WHERE tenant_id = {tenant} AND id = {id} AND revoked_at IS NULL AND expires_at > {now} FOR SHARE"
        ))
        .await?;
    Ok(row.is_some())
}

/// Writes down when sessions were seen, of many tenants at once. A row that somebody else holds is left out: its
/// session will be seen again.
pub(super) async fn seen(
    tx: &Tx,
    tenants: Vec<Uuid>,
    sessions: Vec<Uuid>,
    times: Vec<DateTime<Utc>>,
) -> Result<(), DbErr> {
    tx.execute_raw(raw_sql!(
        Postgres,
        "WITH seen AS (
             SELECT s.id, n.at
             FROM unnest({tenants}::uuid[], {sessions}::uuid[], {times}::timestamptz[]) AS n (tenant_id, id, at)
             JOIN sessions s ON s.tenant_id = n.tenant_id AND s.id = n.id
             WHERE s.last_seen_at IS NULL OR s.last_seen_at < n.at
             FOR NO KEY UPDATE OF s SKIP LOCKED)
         UPDATE sessions SET last_seen_at = seen.at FROM seen WHERE sessions.id = seen.id"
    ))
    .await
    .map(drop)
}

/// Writes down how, and where given when, the user of a live session proved to be that user; how the session stands, if
/// it can still be refreshed.
pub(super) async fn set_proof(
    tx: &Tx,
    tenant: TenantId,
    id: SessionId,
    methods: Vec<String>,
    at: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> Result<Option<Span>, DbErr> {
    #[derive(FromQueryResult)]
    struct Row {
        began: DateTime<Utc>,
        refreshed: DateTime<Utc>,
        session_end: DateTime<Utc>,
        token_end: DateTime<Utc>,
    }
    let row = Row::find_by_statement(raw_sql!(
        Postgres,
        "UPDATE sessions SET methods = {methods}, authenticated_at = coalesce({at}, authenticated_at)
         FROM (SELECT created_at, expires_at FROM refresh_tokens
               WHERE tenant_id = {tenant} AND session_id = {id} AND used_at IS NULL AND expires_at > {now}
               LIMIT 1) AS token
         WHERE sessions.tenant_id = {tenant} AND sessions.id = {id} AND sessions.revoked_at IS NULL
           AND sessions.expires_at > {now}
         RETURNING sessions.created_at AS began, sessions.expires_at AS session_end,
                   token.created_at AS refreshed, token.expires_at AS token_end"
    ))
    .one(tx)
    .await?;
    Ok(row.map(|row| Span {
        began: row.began,
        refreshed: row.refreshed,
        session_end: row.session_end,
        token_end: row.token_end,
    }))
}
