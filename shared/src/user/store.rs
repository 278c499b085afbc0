//! The SQL of users.

use chrono::{DateTime, Utc};
use sea_orm::{
    ActiveModelTrait, ActiveValue::Set, ColumnTrait, ConnectionTrait, DbErr, EntityTrait, QueryFilter,
    QueryOrder, QuerySelect, Select, SqlErr, TryInsertResult, raw_sql, sea_query::LockType,
};

use super::{Email, UserStatus};
use crate::{
    context::Change,
    entity::{former_password, user},
    id::{ApiKeyId, TenantId, UserId},
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
    by_email(tenant, canonical).one(tx).await
}

/// Who has the address, held until the transaction ends: nobody's address changes meanwhile.
pub(crate) async fn hold_by_email(
    tx: &Tx,
    tenant: TenantId,
    canonical: &str,
) -> Result<Option<user::Model>, DbErr> {
    by_email(tenant, canonical)
        .lock(LockType::NoKeyUpdate)
        .one(tx)
        .await
}

fn by_email(tenant: TenantId, canonical: &str) -> Select<user::Entity> {
    user::Entity::find()
        .filter(user::Column::TenantId.eq(tenant))
        .filter(user::Column::EmailCanonical.eq(canonical))
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
        decoy_hash,
        status,
        email_verified_at,
        email_proven,
        pending_email,
        pending_email_by,
        pending_email_key,
        password_changed_at,
        password_ended,
        external_id,
        import_mac,
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
        decoy_hash: Set(decoy_hash),
        status: Set(status),
        email_verified_at: Set(email_verified_at),
        email_proven: Set(email_proven),
        pending_email: Set(pending_email),
        pending_email_by: Set(pending_email_by),
        pending_email_key: Set(pending_email_key),
        password_changed_at: Set(password_changed_at),
        password_ended: Set(password_ended),
        external_id: Set(external_id),
        import_mac: Set(import_mac),
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

/// Locks the user's row until the transaction ends, if the user may still sign in with what was read before. The hash
/// may be another meanwhile, of the same password. Sign-ins of one user take turns by it, so that each counts the sessions
/// that those before it have begun.
pub(crate) async fn hold_unchanged(tx: &Tx, tenant: TenantId, seen: &user::Model) -> Result<bool, DbErr> {
    let (id, changed_at, active) = (seen.id, seen.password_changed_at, UserStatus::Active);
    let row = tx
        .query_one_raw(raw_sql!(
            Postgres,
            "SELECT 1 AS held FROM users
             WHERE tenant_id = {tenant} AND id = {id} AND password_changed_at IS NOT DISTINCT FROM {changed_at}
               AND status = {active} FOR NO KEY UPDATE"
        ))
        .await?;
    Ok(row.is_some())
}

/// Locks the user's row for whoever is about to change it, before anything else that belongs to the user.
pub(crate) async fn hold(tx: &Tx, tenant: TenantId, id: UserId) -> Result<(), DbErr> {
    tx.execute_raw(raw_sql!(
        Postgres,
        "SELECT 1 FROM users WHERE tenant_id = {tenant} AND id = {id} FOR NO KEY UPDATE"
    ))
    .await
    .map(drop)
}

/// Sets another password, or a hash that none has, if the account is active and still has the password and address that
/// were read before.
pub(crate) async fn replace_password(
    tx: &Tx,
    tenant: TenantId,
    seen: &user::Model,
    (hash, ended): (&str, bool),
    now: DateTime<Utc>,
) -> Result<bool, DbErr> {
    let (id, changed_at, active) = (seen.id, seen.password_changed_at, UserStatus::Active);
    let address = seen.email_canonical.as_str();
    let done = tx
        .execute_raw(raw_sql!(
            Postgres,
            "UPDATE users SET password_hash = {hash}, decoy_hash = NULL, password_changed_at = {now},
                 password_ended = {ended}, pending_email = NULL, updated_at = {now}
             WHERE tenant_id = {tenant} AND id = {id} AND password_changed_at IS NOT DISTINCT FROM {changed_at}
               AND email_canonical = {address} AND status = {active}"
        ))
        .await?;
    Ok(done.rows_affected() == 1)
}

/// Another hash of the same password, unless another password was set meanwhile.
pub(crate) async fn rehash(tx: &Tx, tenant: TenantId, seen: &user::Model, hash: &str) -> Result<(), DbErr> {
    let (id, old) = (seen.id, seen.password_hash.as_str());
    tx.execute_raw(raw_sql!(
        Postgres,
        "UPDATE users SET password_hash = {hash}, decoy_hash = NULL
         WHERE tenant_id = {tenant} AND id = {id} AND password_hash = {old}"
    ))
    .await
    .map(drop)
}

/// The hashes of the user's last passwords before the present one.
pub(crate) async fn former_passwords(
    tx: &Tx,
    tenant: TenantId,
    user: UserId,
    count: u8,
) -> Result<Vec<String>, DbErr> {
    former_password::Entity::find()
        .select_only()
        .column(former_password::Column::PasswordHash)
        .filter(former_password::Column::TenantId.eq(tenant))
        .filter(former_password::Column::UserId.eq(user))
        .order_by_desc(former_password::Column::CreatedAt)
        .order_by_desc(former_password::Column::Id)
        .limit(u64::from(count))
        .into_tuple()
        .all(tx)
        .await
}

/// Keeps the hash of the password that was just replaced, and as many before it as make up `count`.
pub(crate) async fn remember_password(
    change: &Change<'_>,
    seen: &user::Model,
    count: u8,
) -> Result<(), DbErr> {
    if count > 0 {
        let row = former_password::ActiveModel {
            id: Set(change.context.uuid(change.now)),
            tenant_id: Set(change.tenant),
            user_id: Set(seen.id),
            password_hash: Set(seen.password_hash.clone()),
            created_at: Set(change.now),
        };
        row.insert(&change.tx).await?;
    }
    let (tenant, user, count) = (change.tenant, seen.id, i64::from(count));
    change
        .tx
        .execute_raw(raw_sql!(
            Postgres,
            "DELETE FROM former_passwords WHERE tenant_id = {tenant} AND user_id = {user} AND id NOT IN (
                 SELECT id FROM former_passwords WHERE tenant_id = {tenant} AND user_id = {user}
                 ORDER BY created_at DESC, id DESC LIMIT {count})"
        ))
        .await
        .map(drop)
}

/// Notes the address that waits to be proven, and who asked for it where that was somebody else, if the account is active
/// and still has the password that was read before.
pub(crate) async fn set_pending_email(
    tx: &Tx,
    tenant: TenantId,
    seen: &user::Model,
    written: &str,
    (by, key): (Option<UserId>, Option<ApiKeyId>),
    now: DateTime<Utc>,
) -> Result<bool, DbErr> {
    let (id, changed_at, active) = (seen.id, seen.password_changed_at, UserStatus::Active);
    let done = tx
        .execute_raw(raw_sql!(
            Postgres,
            "UPDATE users SET pending_email = {written}, pending_email_by = {by}, pending_email_key = {key},
                 updated_at = {now}
             WHERE tenant_id = {tenant} AND id = {id} AND password_changed_at IS NOT DISTINCT FROM {changed_at}
               AND status = {active}"
        ))
        .await?;
    Ok(done.rows_affected() == 1)
}

/// Makes a proven address the user's; `false` if another account has it. The transaction is of no more use then.
pub(crate) async fn change_email(
    tx: &Tx,
    tenant: TenantId,
    id: UserId,
    email: &Email,
    now: DateTime<Utc>,
) -> Result<bool, DbErr> {
    let (written, canonical) = (email.written(), email.canonical());
    let done = tx
        .execute_raw(raw_sql!(
            Postgres,
            "UPDATE users SET email = {written}, email_canonical = {canonical}, email_verified_at = {now},
                 email_proven = true, decoy_hash = NULL, pending_email = NULL, updated_at = {now}
             WHERE tenant_id = {tenant} AND id = {id}"
        ))
        .await;
    match done {
        Ok(done) => Ok(done.rows_affected() == 1),
        Err(error) if matches!(error.sql_err(), Some(SqlErr::UniqueConstraintViolation(_))) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Gives an account whose address no mail has proven the password and name of a later attempt, and ends what an earlier
/// one may have begun; what an administrator has called the user stays, where the attempt has no name. A proven account
/// is left alone.
pub(crate) async fn take_over(
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
            "UPDATE users SET password_hash = {hash}, decoy_hash = NULL, password_changed_at = {now},
                 name = CASE WHEN email_verified_at IS NULL THEN {name} ELSE coalesce({name}, name) END,
                 password_ended = false, pending_email = NULL, updated_at = {now}
             WHERE tenant_id = {tenant} AND id = {id} AND NOT email_proven"
        ))
        .await?;
    if taken.rows_affected() == 1 {
        tx.execute_raw(raw_sql!(
            Postgres,
            "DELETE FROM one_time_tokens WHERE tenant_id = {tenant} AND subject_id = {id}"
        ))
        .await?;
    }
    Ok(())
}

/// Remembers the password of somebody who registered though there is the account, in the place of any earlier one.
pub(crate) async fn set_decoy(tx: &Tx, tenant: TenantId, id: UserId, hash: &str) -> Result<(), DbErr> {
    tx.execute_raw(raw_sql!(
        Postgres,
        "UPDATE users SET decoy_hash = {hash}
         WHERE tenant_id = {tenant} AND id = {id}"
    ))
    .await
    .map(drop)
}

/// Gives the user another name; nothing if that is the name already, or the user is gone.
pub(crate) async fn rename(
    tx: &Tx,
    tenant: TenantId,
    id: UserId,
    name: Option<String>,
    now: DateTime<Utc>,
) -> Result<Option<user::Model>, DbErr> {
    user::Entity::find()
        .from_raw_sql(raw_sql!(
            Postgres,
            "UPDATE users SET name = {name}, updated_at = {now}
             WHERE tenant_id = {tenant} AND id = {id} AND name IS DISTINCT FROM {name} RETURNING *"
        ))
        .one(tx)
        .await
}

/// Marks the address as proven by a mail, if it still is the user's; says whether it was.
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
            "UPDATE users SET email_verified_at = coalesce(email_verified_at, {now}), email_proven = true,
                 updated_at = {now}
             WHERE tenant_id = {tenant} AND id = {id} AND email_canonical = {address}"
        ))
        .await?;
    Ok(done.rows_affected() == 1)
}
