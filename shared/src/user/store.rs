//! The SQL of users.

use chrono::{DateTime, Utc};
use sea_orm::{
    ActiveValue::Set, ColumnTrait, ConnectionTrait, DbErr, EntityTrait, QueryFilter, QuerySelect,
    TryInsertResult, raw_sql,
};

use super::UserStatus;
use crate::{
    entity::{invitation, session, user},
    id::{InvitationId, SessionId, TenantId, UserId},
    postgres::Tx,
};

pub(crate) async fn find(tx: &Tx, tenant: TenantId, id: UserId) -> Result<Option<user::Model>, DbErr> {
    user::Entity::find_by_id(id)
        .filter(user::Column::TenantId.eq(tenant))
        .one(tx)
        .await
}

pub(crate) async fn find_by_email(
    tx: &Tx,
    tenant: TenantId,
    canonical: &str,
) -> Result<Option<user::Model>, DbErr> {
    user::Entity::find()
        .filter(user::Column::TenantId.eq(tenant))
        .filter(user::Column::EmailCanonical.eq(canonical))
        .one(tx)
        .await
}

/// Writes the row unless the address is taken; says whether it did.
pub(crate) async fn insert(tx: &Tx, row: user::Model) -> Result<bool, DbErr> {
    let user::Model {
        id,
        tenant_id,
        email,
        email_canonical,
        name,
        password_hash,
        status,
        email_verified_at,
        pending_email,
        password_changed_at,
        created_at,
        updated_at,
    } = row;
    let row = user::ActiveModel {
        id: Set(id),
        tenant_id: Set(tenant_id),
        email: Set(email),
        email_canonical: Set(email_canonical),
        name: Set(name),
        password_hash: Set(password_hash),
        status: Set(status),
        email_verified_at: Set(email_verified_at),
        pending_email: Set(pending_email),
        password_changed_at: Set(password_changed_at),
        created_at: Set(created_at),
        updated_at: Set(updated_at),
    };
    let address = [user::Column::TenantId, user::Column::EmailCanonical];
    let written = user::Entity::insert(row)
        .on_conflict_do_nothing_on(address)
        .exec_without_returning(tx)
        .await?;
    Ok(matches!(written, TryInsertResult::Inserted(1)))
}

/// Locks the user's row against changes until the transaction ends, if the user may still sign in with what was
/// read before.
pub(crate) async fn hold_unchanged(tx: &Tx, tenant: TenantId, seen: &user::Model) -> Result<bool, DbErr> {
    let (id, hash, active) = (seen.id, seen.password_hash.clone(), UserStatus::Active);
    let row = tx
        .query_one_raw(raw_sql!(
            Postgres,
            "SELECT 1 AS held FROM users
             WHERE tenant_id = {tenant} AND id = {id} AND password_hash = {hash} AND status = {active} FOR SHARE"
        ))
        .await?;
    Ok(row.is_some())
}

/// Gives an account whose address is unproven the password and name of a later attempt, and ends what an
/// earlier one may have begun. A proven account is left alone.
pub(crate) async fn take_over_unverified(
    tx: &Tx,
    tenant: TenantId,
    id: UserId,
    attempt: &user::Model,
) -> Result<(), DbErr> {
    let (hash, name, now) = (
        attempt.password_hash.clone(),
        attempt.name.clone(),
        attempt.updated_at,
    );
    let taken = tx
        .execute_raw(raw_sql!(
            Postgres,
            "UPDATE users SET password_hash = {hash}, name = {name}, updated_at = {now}
             WHERE tenant_id = {tenant} AND id = {id} AND email_verified_at IS NULL"
        ))
        .await?;
    if taken.rows_affected() == 1 {
        tx.execute_raw(raw_sql!(
            Postgres,
            "DELETE FROM one_time_tokens
             WHERE tenant_id = {tenant} AND subject_id = {id} AND purpose = 'verify_email'"
        ))
        .await?;
    }
    Ok(())
}

/// The sessions of a user that are live.
pub(crate) async fn live_sessions(tx: &Tx, tenant: TenantId, id: UserId) -> Result<Vec<SessionId>, DbErr> {
    session::Entity::find()
        .select_only()
        .column(session::Column::Id)
        .filter(session::Column::TenantId.eq(tenant))
        .filter(session::Column::UserId.eq(id))
        .filter(session::Column::RevokedAt.is_null())
        .into_tuple()
        .all(tx)
        .await
}

/// Marks the address as proven, if it still is the user's; says whether it was.
pub(crate) async fn verify_email(
    tx: &Tx,
    tenant: TenantId,
    id: UserId,
    address: &str,
    now: DateTime<Utc>,
) -> Result<bool, DbErr> {
    let done = tx
        .execute_raw(raw_sql!(
            Postgres,
            "UPDATE users SET email_verified_at = coalesce(email_verified_at, {now}), updated_at = {now}
             WHERE tenant_id = {tenant} AND id = {id} AND email_canonical = {address}"
        ))
        .await?;
    Ok(done.rows_affected() == 1)
}

pub(crate) async fn find_invitation(
    tx: &Tx,
    tenant: TenantId,
    id: InvitationId,
) -> Result<Option<invitation::Model>, DbErr> {
    invitation::Entity::find_by_id(id)
        .filter(invitation::Column::TenantId.eq(tenant))
        .one(tx)
        .await
}

pub(crate) async fn accept_invitation(
    tx: &Tx,
    tenant: TenantId,
    id: InvitationId,
    now: DateTime<Utc>,
) -> Result<(), DbErr> {
    tx.execute_raw(raw_sql!(
        Postgres,
        "UPDATE invitations SET accepted_at = {now} WHERE tenant_id = {tenant} AND id = {id}"
    ))
    .await
    .map(drop)
}
