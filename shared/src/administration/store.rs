//! The SQL of administration.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use sea_orm::{
    ColumnTrait, ConnectionTrait, DbErr, EntityTrait, FromQueryResult, QueryFilter, QueryOrder, QuerySelect,
    QueryTrait, SqlErr, raw_sql,
};
use uuid::Uuid;

use super::import::NewRow;
use crate::{
    context::Change,
    entity::{UserStatus, user},
    id::{RoleId, TenantId, UserId},
    page::PageRequest,
    postgres::Tx,
};

/// Which users are looked for.
pub(super) struct Asked<'a> {
    pub(super) email: Option<&'a str>,
    pub(super) status: Option<UserStatus>,
    pub(super) role: Option<RoleId>,
}

/// A page of users. What is not asked for stands in no condition, so that each question is answered by the index that
/// fits it: by address, by state, by role, or by id.
pub(super) async fn page(
    tx: &Tx,
    tenant: TenantId,
    asked: &Asked<'_>,
    page: PageRequest,
) -> Result<Vec<user::Model>, DbErr> {
    let Asked { email, status, role } = *asked;
    if let (Some(role), None) = (role, email) {
        return holders(tx, tenant, role, status, page).await;
    }
    let found = user::Entity::find()
        .filter(user::Column::TenantId.eq(tenant))
        .filter(user::Column::Id.lt(page.before_or_max()))
        .apply_if(email, |query, email| {
            query.filter(user::Column::EmailCanonical.eq(email))
        })
        .apply_if(status, |query, status| {
            query.filter(user::Column::Status.eq(status))
        })
        .order_by_desc(user::Column::Id)
        .limit(u64::try_from(page.fetch()).unwrap_or_default())
        .all(tx)
        .await?;
    let Some(role) = role else { return Ok(found) };
    // One user at most has the address.
    let ids = found.iter().map(|user| user.id.0).collect();
    let held = roles_of(tx, tenant, ids).await?;
    let holds = |user: &user::Model| held.iter().any(|held| held.user_id == user.id && held.id == role);
    Ok(found.into_iter().filter(holds).collect())
}

async fn holders(
    tx: &Tx,
    tenant: TenantId,
    role: RoleId,
    status: Option<UserStatus>,
    page: PageRequest,
) -> Result<Vec<user::Model>, DbErr> {
    let (before, limit) = (page.before_or_max(), page.fetch());
    user::Entity::find()
        .from_raw_sql(raw_sql!(
            Postgres,
            "SELECT u.* FROM role_assignments a
             JOIN users u ON u.tenant_id = a.tenant_id AND u.id = a.user_id
             WHERE a.tenant_id = {tenant} AND a.role_id = {role} AND a.user_id < {before}
               AND u.status = coalesce({status}, u.status)
             ORDER BY a.user_id DESC LIMIT {limit}"
        ))
        .all(tx)
        .await
}

#[derive(FromQueryResult)]
pub(super) struct HeldRole {
    pub(super) user_id: UserId,
    pub(super) id: RoleId,
    pub(super) name: String,
}

/// Who of the users holds which roles, by name.
pub(super) async fn roles_of(tx: &Tx, tenant: TenantId, users: Vec<Uuid>) -> Result<Vec<HeldRole>, DbErr> {
    HeldRole::find_by_statement(raw_sql!(
        Postgres,
        "SELECT a.user_id, r.id, r.name
         FROM role_assignments a JOIN roles r ON r.tenant_id = a.tenant_id AND r.id = a.role_id
         WHERE a.tenant_id = {tenant} AND a.user_id = ANY({users}) ORDER BY r.name"
    ))
    .all(tx)
    .await
}

/// Who of the users has a second factor.
pub(super) async fn enrolled(tx: &Tx, tenant: TenantId, users: Vec<Uuid>) -> Result<HashSet<UserId>, DbErr> {
    #[derive(FromQueryResult)]
    struct Enrolled {
        user_id: UserId,
    }
    let rows = Enrolled::find_by_statement(raw_sql!(
        Postgres,
        "SELECT user_id FROM totp_factors
         WHERE tenant_id = {tenant} AND user_id = ANY({users}) AND confirmed_at IS NOT NULL"
    ))
    .all(tx)
    .await?;
    Ok(rows.into_iter().map(|row| row.user_id).collect())
}

/// The ids of the roles of those names, as far as there are such.
pub(super) async fn role_ids(
    tx: &Tx,
    tenant: TenantId,
    names: Vec<String>,
) -> Result<Vec<(RoleId, String)>, DbErr> {
    #[derive(FromQueryResult)]
    struct Named {
        id: RoleId,
        name: String,
    }
    let rows = Named::find_by_statement(raw_sql!(
        Postgres,
        "SELECT id, name FROM roles WHERE tenant_id = {tenant} AND name = ANY({names})"
    ))
    .all(tx)
    .await?;
    Ok(rows.into_iter().map(|row| (row.id, row.name)).collect())
}

pub(super) async fn set_status(change: &Change<'_>, id: UserId, status: UserStatus) -> Result<bool, DbErr> {
    let (tenant, now) = (change.tenant, change.now);
    let done = change
        .tx
        .execute_raw(raw_sql!(
            Postgres,
            "UPDATE users SET status = {status}, updated_at = {now}
             WHERE tenant_id = {tenant} AND id = {id} AND status <> {status}"
        ))
        .await?;
    Ok(done.rows_affected() == 1)
}

/// Gives the user another name and external id; `false` if another user has that one. The transaction is of no more use
/// then.
pub(super) async fn set_details(
    change: &Change<'_>,
    id: UserId,
    name: Option<&str>,
    external_id: Option<&str>,
) -> Result<bool, DbErr> {
    let (tenant, now) = (change.tenant, change.now);
    let done = change
        .tx
        .execute_raw(raw_sql!(
            Postgres,
            "UPDATE users SET name = {name}, external_id = {external_id}, updated_at = {now}
             WHERE tenant_id = {tenant} AND id = {id}"
        ))
        .await;
    unless_taken(done.map(|_| true))
}

/// `false` where the statement met a unique index.
pub(super) fn unless_taken(done: Result<bool, DbErr>) -> Result<bool, DbErr> {
    match done {
        Err(error) if matches!(error.sql_err(), Some(SqlErr::UniqueConstraintViolation(_))) => Ok(false),
        done => done,
    }
}

/// A user that an import may meet.
#[derive(FromQueryResult)]
pub(super) struct Known {
    pub(super) id: UserId,
    pub(super) email_canonical: String,
    pub(super) external_id: Option<String>,
    pub(super) import_mac: Option<Vec<u8>>,
}

/// The users who have one of the addresses or external ids. Two look-ups, each by its own index.
pub(super) async fn known(
    tx: &Tx,
    tenant: TenantId,
    emails: Vec<String>,
    external_ids: Vec<String>,
) -> Result<Vec<Known>, DbErr> {
    Known::find_by_statement(raw_sql!(
        Postgres,
        "SELECT id, email_canonical, external_id, import_mac FROM users
         WHERE tenant_id = {tenant} AND email_canonical = ANY({emails})
         UNION
         SELECT id, email_canonical, external_id, import_mac FROM users
         WHERE tenant_id = {tenant} AND external_id IS NOT NULL AND external_id = ANY({external_ids})"
    ))
    .all(tx)
    .await
}

/// Lets the imports into one tenant take turns, a batch each: two that brought the same users in another order would
/// wait for each other.
pub(super) async fn take_turns(tx: &Tx, tenant: TenantId) -> Result<(), DbErr> {
    tx.execute_raw(raw_sql!(
        Postgres,
        "SELECT pg_advisory_xact_lock(hashtextextended('import ' || {tenant}::text, 0))"
    ))
    .await
    .map(drop)
}

/// Writes the users whose address and external id are free; which those were.
pub(super) async fn insert(change: &Change<'_>, rows: &[NewRow]) -> Result<HashSet<UserId>, DbErr> {
    #[derive(FromQueryResult)]
    struct Written {
        id: UserId,
    }
    fn column<T>(rows: &[NewRow], value: impl Fn(&NewRow) -> T) -> Vec<T> {
        rows.iter().map(value).collect()
    }
    let (tenant, now) = (change.tenant, change.now);
    let ids: Vec<Uuid> = column(rows, |row| row.id.0);
    let emails: Vec<String> = column(rows, |row| row.email.written().to_owned());
    let canonical: Vec<String> = column(rows, |row| row.email.canonical().to_owned());
    // An array of ours holds no nulls, and neither of these is ever empty.
    let names: Vec<String> = column(rows, |row| row.name.clone().unwrap_or_default());
    let hashes: Vec<String> = column(rows, |row| row.password_hash.clone());
    let states: Vec<String> = column(rows, |row| status_word(row.status).to_owned());
    let verified: Vec<bool> = column(rows, |row| row.email_verified);
    let external_ids: Vec<String> = column(rows, |row| row.external_id.clone().unwrap_or_default());
    let macs: Vec<Vec<u8>> = column(rows, |row| row.mac.to_vec());
    let made: Vec<DateTime<Utc>> = column(rows, |row| row.created_at);
    let written = Written::find_by_statement(raw_sql!(
        Postgres,
        "INSERT INTO users (id, tenant_id, email, email_canonical, name, password_hash, status, email_verified_at,
                            external_id, import_mac, created_at, updated_at)
         SELECT id, {tenant}, email, canonical, nullif(name, ''), hash, state, CASE WHEN verified THEN {now} END,
                nullif(external_id, ''), mac, made, {now}
         FROM unnest({ids}::uuid[], {emails}::text[], {canonical}::text[], {names}::text[], {hashes}::text[],
                     {states}::text[], {verified}::boolean[], {external_ids}::text[], {macs}::bytea[],
                     {made}::timestamptz[])
              AS r (id, email, canonical, name, hash, state, verified, external_id, mac, made)
         ON CONFLICT DO NOTHING RETURNING id"
    ))
    .all(&change.tx)
    .await?;
    Ok(written.into_iter().map(|row| row.id).collect())
}

const fn status_word(status: UserStatus) -> &'static str {
    match status {
        UserStatus::Active => "active",
        UserStatus::Disabled => "disabled",
    }
}

/// Gives users roles, a pair each.
pub(super) async fn assign_each(change: &Change<'_>, pairs: Vec<(UserId, RoleId)>) -> Result<(), DbErr> {
    let (tenant, now) = (change.tenant, change.now);
    let (users, roles): (Vec<Uuid>, Vec<Uuid>) =
        pairs.into_iter().map(|(user, role)| (user.0, role.0)).unzip();
    change
        .tx
        .execute_raw(raw_sql!(
            Postgres,
            "INSERT INTO role_assignments (tenant_id, user_id, role_id, created_at)
             SELECT {tenant}, user_id, role_id, {now} FROM unnest({users}::uuid[], {roles}::uuid[]) AS r (user_id, role_id)
             ON CONFLICT DO NOTHING"
        ))
        .await
        .map(drop)
}
