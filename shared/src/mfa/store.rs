//! The SQL of second factors, recovery codes and challenges.

use chrono::{DateTime, Utc};
use sea_orm::{
    ActiveModelTrait, ActiveValue::Set, ColumnTrait, ConnectionTrait, DbErr, EntityTrait, FromQueryResult,
    PaginatorTrait, QueryFilter, QueryOrder, QuerySelect, raw_sql,
};
use uuid::Uuid;

use super::Standing;
use crate::{
    context::Change,
    device::Known,
    entity::{mfa_challenge, recovery_code, totp_factor},
    id::{DeviceId, TenantId, UserId},
    postgres::Tx,
};

/// When the user's factor was confirmed; nothing without one.
pub(super) async fn confirmed_at(
    tx: &Tx,
    tenant: TenantId,
    user: UserId,
) -> Result<Option<DateTime<Utc>>, DbErr> {
    #[derive(FromQueryResult)]
    struct Row {
        confirmed_at: DateTime<Utc>,
    }
    let row = Row::find_by_statement(raw_sql!(
        Postgres,
        "SELECT confirmed_at FROM totp_factors
         WHERE tenant_id = {tenant} AND user_id = {user} AND confirmed_at IS NOT NULL"
    ))
    .one(tx)
    .await?;
    Ok(row.map(|row| row.confirmed_at))
}

/// Whether the user has a confirmed factor, and the device if it is still known to be the user's.
pub(super) async fn standing(
    tx: &Tx,
    tenant: TenantId,
    user: UserId,
    device: Option<DeviceId>,
    now: DateTime<Utc>,
) -> Result<Standing, DbErr> {
    #[derive(FromQueryResult)]
    struct Row {
        enrolled: bool,
        id: Option<DeviceId>,
        trusted_until: Option<DateTime<Utc>>,
    }
    let row = Row::find_by_statement(raw_sql!(
        Postgres,
        "SELECT f.enrolled, d.id, d.trusted_until
         FROM (SELECT EXISTS (SELECT FROM totp_factors
                   WHERE tenant_id = {tenant} AND user_id = {user} AND confirmed_at IS NOT NULL) AS enrolled) f
         LEFT JOIN devices d
             ON d.tenant_id = {tenant} AND d.user_id = {user} AND d.id = {device} AND d.expires_at > {now}"
    ))
    .one(tx)
    .await?
    .ok_or_else(|| DbErr::RecordNotFound("the one row of a question without a table".to_owned()))?;
    let known = |id| Known {
        id,
        user,
        trusted_until: row.trusted_until,
    };
    Ok(Standing {
        enrolled: row.enrolled,
        device: row.id.map(known),
    })
}

/// The user's factors, locked until the transaction ends.
pub(super) async fn hold_factors(
    tx: &Tx,
    tenant: TenantId,
    user: UserId,
) -> Result<Vec<totp_factor::Model>, DbErr> {
    totp_factor::Entity::find()
        .filter(totp_factor::Column::TenantId.eq(tenant))
        .filter(totp_factor::Column::UserId.eq(user))
        .order_by_asc(totp_factor::Column::Id)
        .lock_exclusive()
        .all(tx)
        .await
}

/// Puts a factor that waits to be confirmed in the place of another that does.
pub(super) async fn put_pending(
    change: &Change<'_>,
    user: UserId,
    id: Uuid,
    sealed: Vec<u8>,
) -> Result<(), DbErr> {
    let (tenant, now) = (change.tenant, change.now);
    change
        .tx
        .execute_raw(raw_sql!(
            Postgres,
            "INSERT INTO totp_factors (id, tenant_id, user_id, sealed, created_at)
             VALUES ({id}, {tenant}, {user}, {sealed}, {now})
             ON CONFLICT (tenant_id, user_id) WHERE confirmed_at IS NULL DO UPDATE
             SET id = excluded.id, sealed = excluded.sealed, created_at = excluded.created_at, last_step = 0"
        ))
        .await
        .map(drop)
}

/// Uses a time step up, and with it all before it; of many callers at once, one is told that it did.
pub(super) async fn spend_step(tx: &Tx, tenant: TenantId, id: Uuid, step: i64) -> Result<bool, DbErr> {
    let done = tx
        .execute_raw(raw_sql!(
            Postgres,
            "UPDATE totp_factors SET last_step = {step}
             WHERE tenant_id = {tenant} AND id = {id} AND last_step < {step}"
        ))
        .await?;
    Ok(done.rows_affected() == 1)
}

/// Makes a factor that waits the user's factor, in the place of the one before it.
pub(super) async fn confirm(change: &Change<'_>, user: UserId, id: Uuid) -> Result<(), DbErr> {
    let (tenant, now) = (change.tenant, change.now);
    change
        .tx
        .execute_raw(raw_sql!(
            Postgres,
            "DELETE FROM totp_factors WHERE tenant_id = {tenant} AND user_id = {user} AND id <> {id}"
        ))
        .await?;
    change
        .tx
        .execute_raw(raw_sql!(
            Postgres,
            "UPDATE totp_factors SET confirmed_at = {now} WHERE tenant_id = {tenant} AND id = {id}"
        ))
        .await
        .map(drop)
}

pub(super) async fn insert_confirmed(
    change: &Change<'_>,
    factors: Vec<(Uuid, UserId, Vec<u8>)>,
) -> Result<(), DbErr> {
    if factors.is_empty() {
        return Ok(());
    }
    let rows = factors
        .into_iter()
        .map(|(id, user, sealed)| totp_factor::ActiveModel {
            id: Set(id),
            tenant_id: Set(change.tenant),
            user_id: Set(user),
            sealed: Set(sealed),
            last_step: Set(0),
            created_at: Set(change.now),
            confirmed_at: Set(Some(change.now)),
        });
    totp_factor::Entity::insert_many(rows)
        .exec_without_returning(&change.tx)
        .await
        .map(drop)
}

/// A factor that is gone.
#[derive(FromQueryResult)]
pub(super) struct Deleted {
    pub(super) created_at: DateTime<Utc>,
    pub(super) confirmed_at: Option<DateTime<Utc>>,
}

pub(super) async fn delete_factors(tx: &Tx, tenant: TenantId, user: UserId) -> Result<Vec<Deleted>, DbErr> {
    Deleted::find_by_statement(raw_sql!(
        Postgres,
        "DELETE FROM totp_factors WHERE tenant_id = {tenant} AND user_id = {user}
         RETURNING created_at, confirmed_at"
    ))
    .all(tx)
    .await
}

pub(super) async fn count_recovery_codes(tx: &Tx, tenant: TenantId, user: UserId) -> Result<u64, DbErr> {
    recovery_code::Entity::find()
        .filter(recovery_code::Column::TenantId.eq(tenant))
        .filter(recovery_code::Column::UserId.eq(user))
        .count(tx)
        .await
}

pub(super) async fn has_recovery_code(
    tx: &Tx,
    tenant: TenantId,
    user: UserId,
    hash: &[u8],
) -> Result<bool, DbErr> {
    let found = recovery_code::Entity::find_by_id(hash.to_vec())
        .filter(recovery_code::Column::TenantId.eq(tenant))
        .filter(recovery_code::Column::UserId.eq(user))
        .one(tx)
        .await?;
    Ok(found.is_some())
}

/// Uses a recovery code up; of many callers at once, one is told that it did.
pub(super) async fn spend_recovery_code(
    tx: &Tx,
    tenant: TenantId,
    user: UserId,
    hash: Vec<u8>,
) -> Result<bool, DbErr> {
    let done = tx
        .execute_raw(raw_sql!(
            Postgres,
            "DELETE FROM recovery_codes WHERE tenant_id = {tenant} AND user_id = {user} AND hash = {hash}"
        ))
        .await?;
    Ok(done.rows_affected() == 1)
}

pub(super) async fn delete_recovery_codes(tx: &Tx, tenant: TenantId, user: UserId) -> Result<(), DbErr> {
    recovery_code::Entity::delete_many()
        .filter(recovery_code::Column::TenantId.eq(tenant))
        .filter(recovery_code::Column::UserId.eq(user))
        .exec(tx)
        .await
        .map(drop)
}

pub(super) async fn insert_recovery_codes(
    change: &Change<'_>,
    user: UserId,
    hashes: Vec<Vec<u8>>,
) -> Result<(), DbErr> {
    let rows = hashes.into_iter().map(|hash| recovery_code::ActiveModel {
        hash: Set(hash),
        tenant_id: Set(change.tenant),
        user_id: Set(user),
        created_at: Set(change.now),
    });
    recovery_code::Entity::insert_many(rows)
        .exec_without_returning(&change.tx)
        .await
        .map(drop)
}

pub(super) async fn insert_challenge(
    change: &Change<'_>,
    user: UserId,
    hash: Vec<u8>,
    device: Option<DeviceId>,
    device_label: Option<String>,
    expires_at: DateTime<Utc>,
) -> Result<(), DbErr> {
    let row = mfa_challenge::ActiveModel {
        hash: Set(hash),
        tenant_id: Set(change.tenant),
        user_id: Set(user),
        device_id: Set(device),
        device_label: Set(device_label),
        created_at: Set(change.now),
        expires_at: Set(expires_at),
    };
    row.insert(&change.tx).await.map(drop)
}

pub(super) async fn find_challenge(
    tx: &Tx,
    tenant: TenantId,
    hash: Vec<u8>,
    now: DateTime<Utc>,
) -> Result<Option<mfa_challenge::Model>, DbErr> {
    mfa_challenge::Entity::find_by_id(hash)
        .filter(mfa_challenge::Column::TenantId.eq(tenant))
        .filter(mfa_challenge::Column::ExpiresAt.gt(now))
        .one(tx)
        .await
}

/// Answers a challenge; of many callers at once, one is told that it did.
pub(super) async fn delete_challenge(tx: &Tx, tenant: TenantId, hash: Vec<u8>) -> Result<bool, DbErr> {
    let done = tx
        .execute_raw(raw_sql!(
            Postgres,
            "DELETE FROM mfa_challenges WHERE tenant_id = {tenant} AND hash = {hash}"
        ))
        .await?;
    Ok(done.rows_affected() == 1)
}

pub(super) async fn delete_challenges(tx: &Tx, tenant: TenantId, user: UserId) -> Result<(), DbErr> {
    mfa_challenge::Entity::delete_many()
        .filter(mfa_challenge::Column::TenantId.eq(tenant))
        .filter(mfa_challenge::Column::UserId.eq(user))
        .exec(tx)
        .await
        .map(drop)
}
