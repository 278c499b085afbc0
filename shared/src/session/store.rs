//! The SQL of sessions and refresh tokens.

use chrono::{DateTime, Utc};
use sea_orm::{
    ColumnTrait, ConnectionTrait, DbErr, EntityTrait, FromQueryResult, QueryFilter, QuerySelect, raw_sql,
};

use crate::{
    entity::{UserStatus, session},
    id::{DeviceId, SessionId, TenantId, UserId},
    postgres::Tx,
};

/// Marks the token as used; of many callers at once, one is told that it did.
pub(super) async fn use_token(
    tx: &Tx,
    tenant: TenantId,
    hash: &[u8],
    now: DateTime<Utc>,
) -> Result<bool, DbErr> {
    let hash = hash.to_vec();
    let done = tx
        .execute_raw(raw_sql!(
            Postgres,
            "UPDATE refresh_tokens SET used_at = {now}
             WHERE tenant_id = {tenant} AND hash = {hash} AND used_at IS NULL AND expires_at > {now}"
        ))
        .await?;
    Ok(done.rows_affected() == 1)
}

#[derive(FromQueryResult)]
pub(super) struct FoundToken {
    pub(super) session_id: SessionId,
    pub(super) used_at: Option<DateTime<Utc>>,
}

pub(super) async fn find_token(tx: &Tx, tenant: TenantId, hash: &[u8]) -> Result<Option<FoundToken>, DbErr> {
    let hash = hash.to_vec();
    FoundToken::find_by_statement(raw_sql!(
        Postgres,
        "SELECT session_id, used_at FROM refresh_tokens WHERE tenant_id = {tenant} AND hash = {hash}"
    ))
    .one(tx)
    .await
}

#[derive(FromQueryResult)]
pub(super) struct LiveSession {
    pub(super) user_id: UserId,
    pub(super) expires_at: DateTime<Utc>,
}

/// The session, locked until the transaction ends; nothing if it has ended or its user may not sign in. The user's row
/// is locked first, as by all that ends sessions: the two would else wait for each other.
pub(super) async fn hold_live(
    tx: &Tx,
    tenant: TenantId,
    id: SessionId,
    now: DateTime<Utc>,
) -> Result<Option<LiveSession>, DbErr> {
    let active = UserStatus::Active;
    LiveSession::find_by_statement(raw_sql!(
        Postgres,
        "SELECT s.user_id, s.expires_at FROM sessions s JOIN users u ON u.tenant_id = s.tenant_id AND u.id = s.user_id
         WHERE s.tenant_id = {tenant} AND s.id = {id} AND s.revoked_at IS NULL AND s.expires_at > {now}
           AND u.status = {active}
         FOR SHARE OF u FOR NO KEY UPDATE OF s"
    ))
    .one(tx)
    .await
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
    struct Ended {
        user_id: UserId,
    }
    let ended = Ended::find_by_statement(raw_sql!(
        Postgres,
        "UPDATE sessions SET revoked_at = {now}, revoke_reason = {reason}
         WHERE tenant_id = {tenant} AND id = {id} AND revoked_at IS NULL RETURNING user_id"
    ))
    .one(tx)
    .await?;
    Ok(ended.map(|ended| ended.user_id))
}
