//! The SQL of lockout.

use chrono::{DateTime, Utc};
use sea_orm::{ConnectionTrait, DbErr, FromQueryResult, raw_sql};

use super::delay::WINDOW;
use crate::{context::Change, id::TenantId, postgres::Tx};

/// A credential's row, after a failure.
#[derive(Debug, FromQueryResult)]
pub(super) struct Counted {
    pub(super) failures: i32,
    pub(super) first_at: DateTime<Utc>,
    pub(super) locked_until: Option<DateTime<Utc>>,
    pub(super) told_at: Option<DateTime<Utc>>,
}

pub(super) async fn is_locked(
    tx: &Tx,
    tenant: TenantId,
    credential: &[u8],
    now: DateTime<Utc>,
) -> Result<bool, DbErr> {
    let credential = credential.to_vec();
    let row = tx
        .query_one_raw(raw_sql!(
            Postgres,
            "SELECT 1 AS locked FROM lockouts
             WHERE tenant_id = {tenant} AND credential = {credential} AND locked_until > {now}"
        ))
        .await?;
    Ok(row.is_some())
}

/// Adds to the failures, or begins to count afresh when the window is over. The row stays locked until the
/// transaction ends: of failures at the same time, each sees the count of the one before.
pub(super) async fn count(change: &Change<'_>, credential: &[u8], by: i32) -> Result<Counted, DbErr> {
    let (tenant, now, credential) = (change.tenant, change.now, credential.to_vec());
    let (expires_at, over) = (now + WINDOW, now - WINDOW);
    Counted::find_by_statement(raw_sql!(
        Postgres,
        "INSERT INTO lockouts AS l (tenant_id, credential, failures, first_at, last_at, expires_at)
         VALUES ({tenant}, {credential}, {by}, {now}, {now}, {expires_at})
         ON CONFLICT (tenant_id, credential) DO UPDATE SET
             failures = {by} + CASE WHEN l.first_at > {over} THEN l.failures ELSE 0 END,
             first_at = CASE WHEN l.first_at > {over} THEN l.first_at ELSE {now} END,
             last_at = {now}
         RETURNING failures, first_at, locked_until, told_at"
    ))
    .one(&change.tx)
    .await?
    .ok_or_else(|| DbErr::RecordNotFound("the row that was written".to_owned()))
}

/// Notes what a failure has come to. The row stays as long as it says anything.
pub(super) async fn note(
    change: &Change<'_>,
    credential: &[u8],
    locked_until: Option<DateTime<Utc>>,
    told_at: Option<DateTime<Utc>>,
    day_ends_at: DateTime<Utc>,
) -> Result<(), DbErr> {
    let (tenant, credential) = (change.tenant, credential.to_vec());
    change
        .tx
        .execute_raw(raw_sql!(
            Postgres,
            "UPDATE lockouts SET locked_until = {locked_until}, told_at = {told_at},
                 expires_at = greatest({day_ends_at}, {locked_until})
             WHERE tenant_id = {tenant} AND credential = {credential}"
        ))
        .await
        .map(drop)
}

/// Forgets the failures of a credential unless it is locked, and says whether it is. Waits for failures that are being
/// counted: both halves then go by the row as those left it.
pub(super) async fn clear_unlocked(change: &Change<'_>, credential: &[u8]) -> Result<bool, DbErr> {
    #[derive(FromQueryResult)]
    struct Row {
        locked: bool,
    }
    let (tenant, now, credential) = (change.tenant, change.now, credential.to_vec());
    let row = Row::find_by_statement(raw_sql!(
        Postgres,
        "WITH counted AS (
             SELECT locked_until FROM lockouts
             WHERE tenant_id = {tenant} AND credential = {credential} FOR UPDATE),
         forgotten AS (
             DELETE FROM lockouts
             WHERE tenant_id = {tenant} AND credential = {credential} AND coalesce(locked_until <= {now}, true))
         SELECT coalesce(bool_or(locked_until > {now}), false) AS locked FROM counted"
    ))
    .one(&change.tx)
    .await?;
    Ok(row.is_some_and(|row| row.locked))
}

/// Forgets failures and locks.
pub(super) async fn lift(tx: &Tx, tenant: TenantId, credential: &[u8]) -> Result<(), DbErr> {
    let credential = credential.to_vec();
    tx.execute_raw(raw_sql!(
        Postgres,
        "DELETE FROM lockouts WHERE tenant_id = {tenant} AND credential = {credential}"
    ))
    .await
    .map(drop)
}
