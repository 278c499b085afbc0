//! The SQL of roles and who holds them.

pub(super) mod permissions;

use chrono::{DateTime, Utc};
use sea_orm::{
    ActiveValue::Set, ColumnTrait, ConnectionTrait, DbErr, EntityTrait, FromQueryResult, PaginatorTrait,
    QueryFilter, QueryOrder, QuerySelect, TryInsertResult, raw_sql, sea_query::LockType,
};
use uuid::Uuid;

use super::{Builtin, name::RoleName};
use crate::{
    entity::{UserStatus, role, tenant, user},
    id::{RoleId, TenantId, UserId},
    page::PageRequest,
    postgres::Tx,
    tenant::PLATFORM_SLUG,
    version::Version,
};

/// Whether the tenant is the platform's own.
pub(super) async fn is_platform(tx: &Tx, tenant: TenantId) -> Result<bool, DbErr> {
    let found = tenant::Entity::find_by_id(tenant)
        .filter(tenant::Column::Slug.eq(PLATFORM_SLUG))
        .count(tx)
        .await?;
    Ok(found == 1)
}

pub(super) async fn insert_builtin(
    tx: &Tx,
    tenant: TenantId,
    now: DateTime<Utc>,
    roles: &[(RoleId, Builtin)],
) -> Result<(), DbErr> {
    let rows = roles.iter().map(|(id, role)| role::ActiveModel {
        id: Set(*id),
        tenant_id: Set(tenant),
        name: Set(role.as_str().to_owned()),
        name_canonical: Set(role.as_str().to_owned()),
        description: Set(None),
        builtin: Set(true),
        permissions: Set(Vec::new()),
        version: Set(Version::FIRST),
        created_at: Set(now),
        updated_at: Set(now),
    });
    role::Entity::insert_many(rows)
        .exec_without_returning(tx)
        .await
        .map(drop)
}

pub(super) async fn find_builtin(tx: &Tx, tenant: TenantId, role: Builtin) -> Result<Option<RoleId>, DbErr> {
    role::Entity::find()
        .select_only()
        .column(role::Column::Id)
        .filter(role::Column::TenantId.eq(tenant))
        .filter(role::Column::NameCanonical.eq(role.as_str()))
        .filter(role::Column::Builtin.eq(true))
        .into_tuple()
        .one(tx)
        .await
}

/// Waits until nobody else changes the tenant's roles, permissions or owners, and keeps others waiting until the
/// transaction ends. Statements after this one see what those before have done.
pub(crate) async fn take_turns(tx: &Tx, tenant: TenantId) -> Result<(), DbErr> {
    let owner = Builtin::Owner.as_str();
    tx.execute_raw(raw_sql!(
        Postgres,
        "SELECT 1 FROM roles WHERE tenant_id = {tenant} AND name_canonical = {owner} AND builtin FOR NO KEY UPDATE"
    ))
    .await
    .map(drop)
}

pub(super) async fn find(tx: &Tx, tenant: TenantId, id: RoleId) -> Result<Option<role::Model>, DbErr> {
    role::Entity::find_by_id(id)
        .filter(role::Column::TenantId.eq(tenant))
        .one(tx)
        .await
}

/// Those of the roles that the tenant has. None of them can be deleted until the transaction ends.
pub(super) async fn find_each(tx: &Tx, tenant: TenantId, ids: &[RoleId]) -> Result<Vec<role::Model>, DbErr> {
    role::Entity::find()
        .filter(role::Column::TenantId.eq(tenant))
        .filter(role::Column::Id.is_in(ids.iter().copied()))
        .order_by_asc(role::Column::Id)
        .lock(LockType::KeyShare)
        .all(tx)
        .await
}

/// Newest first.
pub(super) async fn list(tx: &Tx, tenant: TenantId, page: PageRequest) -> Result<Vec<role::Model>, DbErr> {
    role::Entity::find()
        .filter(role::Column::TenantId.eq(tenant))
        .filter(role::Column::Id.lt(page.before_or_max()))
        .order_by_desc(role::Column::Id)
        .limit(page.fetch().unsigned_abs())
        .all(tx)
        .await
}

/// How many roles of its own the tenant has.
pub(super) async fn count_own(tx: &Tx, tenant: TenantId) -> Result<u64, DbErr> {
    role::Entity::find()
        .filter(role::Column::TenantId.eq(tenant))
        .filter(role::Column::Builtin.eq(false))
        .count(tx)
        .await
}

/// Writes the row unless the name is taken; says whether it did.
pub(super) async fn insert(tx: &Tx, row: role::ActiveModel) -> Result<bool, DbErr> {
    let written = role::Entity::insert(row)
        .on_conflict_do_nothing_on([role::Column::TenantId, role::Column::NameCanonical])
        .exec_without_returning(tx)
        .await?;
    Ok(matches!(written, TryInsertResult::Inserted(1)))
}

/// Whether another role of the tenant has the name.
pub(super) async fn is_taken(tx: &Tx, tenant: TenantId, id: RoleId, name: &RoleName) -> Result<bool, DbErr> {
    let others = role::Entity::find()
        .filter(role::Column::TenantId.eq(tenant))
        .filter(role::Column::NameCanonical.eq(name.canonical()))
        .filter(role::Column::Id.ne(id));
    Ok(others.count(tx).await? > 0)
}

pub(super) async fn find_named(tx: &Tx, tenant: TenantId, name: &RoleName) -> Result<Option<String>, DbErr> {
    role::Entity::find()
        .select_only()
        .column(role::Column::Name)
        .filter(role::Column::TenantId.eq(tenant))
        .filter(role::Column::NameCanonical.eq(name.canonical()))
        .into_tuple()
        .one(tx)
        .await
}

/// The tenant's policy on second factors names roles: a role that is renamed stays the one it means. Says whether it
/// names the role.
pub(super) async fn rename_in_policy(
    tx: &Tx,
    tenant: TenantId,
    before: &str,
    after: &str,
) -> Result<bool, DbErr> {
    let done = tx
        .execute_raw(raw_sql!(
            Postgres,
            "UPDATE tenants SET version = version + 1, settings = jsonb_set(settings, ARRAY['mfa', 'roles'], (
                 SELECT jsonb_agg(CASE WHEN role = to_jsonb({before}::text) THEN to_jsonb({after}::text) ELSE role END)
                 FROM jsonb_array_elements(settings -> 'mfa' -> 'roles') AS role))
             WHERE id = {tenant} AND settings -> 'mfa' -> 'roles' @> to_jsonb({before}::text)"
        ))
        .await?;
    Ok(done.rows_affected() == 1)
}

/// Whether the tenant's policy on second factors names the role.
pub(super) async fn is_in_policy(tx: &Tx, tenant: TenantId, name: &str) -> Result<bool, DbErr> {
    let named = tx
        .query_one_raw(raw_sql!(
            Postgres,
            "SELECT 1 AS named FROM tenants
             WHERE id = {tenant} AND settings -> 'mfa' -> 'roles' @> to_jsonb({name}::text)"
        ))
        .await?;
    Ok(named.is_some())
}

/// Who held a role.
pub(super) struct Holders {
    pub(super) users: Vec<Uuid>,
    pub(super) service_accounts: Vec<Uuid>,
}

/// Deletes the role, and takes it from whoever holds it: those.
pub(super) async fn delete(tx: &Tx, tenant: TenantId, id: RoleId) -> Result<Holders, DbErr> {
    // Whoever is about to give the role has done so by the time this returns, or finds it gone.
    role::Entity::find_by_id(id)
        .filter(role::Column::TenantId.eq(tenant))
        .lock(LockType::Update)
        .one(tx)
        .await?;
    let users = Holder::find_by_statement(raw_sql!(
        Postgres,
        "DELETE FROM role_assignments WHERE tenant_id = {tenant} AND role_id = {id} RETURNING user_id AS id"
    ))
    .all(tx)
    .await?;
    let service_accounts = Holder::find_by_statement(raw_sql!(
        Postgres,
        "DELETE FROM service_account_roles WHERE tenant_id = {tenant} AND role_id = {id}
         RETURNING service_account_id AS id"
    ))
    .all(tx)
    .await?;
    role::Entity::delete_by_id(id)
        .filter(role::Column::TenantId.eq(tenant))
        .exec(tx)
        .await?;
    let ids = |holders: Vec<Holder>| holders.into_iter().map(|holder| holder.id).collect();
    Ok(Holders {
        users: ids(users),
        service_accounts: ids(service_accounts),
    })
}

#[derive(FromQueryResult)]
struct Holder {
    id: Uuid,
}

/// Locks the user's row against changes until the transaction ends; whether there is one.
pub(super) async fn hold_user(tx: &Tx, tenant: TenantId, user: UserId) -> Result<bool, DbErr> {
    let held = tx
        .query_one_raw(raw_sql!(
            Postgres,
            "SELECT 1 AS held FROM users WHERE tenant_id = {tenant} AND id = {user} FOR NO KEY UPDATE"
        ))
        .await?;
    Ok(held.is_some())
}

pub(super) async fn has_user(tx: &Tx, tenant: TenantId, user: UserId) -> Result<bool, DbErr> {
    let found = tx
        .query_one_raw(raw_sql!(
            Postgres,
            "SELECT 1 AS found FROM users WHERE tenant_id = {tenant} AND id = {user}"
        ))
        .await?;
    Ok(found.is_some())
}

/// Gives the user the roles: those that the user did not hold.
pub(super) async fn assign(
    tx: &Tx,
    tenant: TenantId,
    user: UserId,
    roles: Vec<Uuid>,
    now: DateTime<Utc>,
) -> Result<Vec<RoleId>, DbErr> {
    let given = Given::find_by_statement(raw_sql!(
        Postgres,
        "INSERT INTO role_assignments (tenant_id, user_id, role_id, created_at)
         SELECT tenant_id, {user}, id, {now} FROM roles WHERE tenant_id = {tenant} AND id = ANY({roles})
         ON CONFLICT DO NOTHING RETURNING role_id"
    ))
    .all(tx)
    .await?;
    Ok(given.into_iter().map(|given| given.role_id).collect())
}

#[derive(FromQueryResult)]
struct Given {
    role_id: RoleId,
}

/// Takes the role from the user; whether the user held it.
pub(super) async fn unassign(tx: &Tx, tenant: TenantId, user: UserId, role: RoleId) -> Result<bool, DbErr> {
    let done = tx
        .execute_raw(raw_sql!(
            Postgres,
            "DELETE FROM role_assignments WHERE tenant_id = {tenant} AND user_id = {user} AND role_id = {role}"
        ))
        .await?;
    Ok(done.rows_affected() == 1)
}

pub(super) async fn count_of_user(tx: &Tx, tenant: TenantId, user: UserId) -> Result<usize, DbErr> {
    #[derive(FromQueryResult)]
    struct Count {
        roles: i64,
    }
    let count = Count::find_by_statement(raw_sql!(
        Postgres,
        "SELECT count(*) AS roles FROM role_assignments WHERE tenant_id = {tenant} AND user_id = {user}"
    ));
    let roles = count.one(tx).await?.map_or(0, |count| count.roles);
    Ok(usize::try_from(roles).unwrap_or(usize::MAX))
}

/// All roles of a user, by name.
pub(super) async fn all_of_user(tx: &Tx, tenant: TenantId, user: UserId) -> Result<Vec<role::Model>, DbErr> {
    role::Entity::find()
        .from_raw_sql(raw_sql!(
            Postgres,
            "SELECT r.* FROM role_assignments a JOIN roles r ON r.tenant_id = a.tenant_id AND r.id = a.role_id
             WHERE a.tenant_id = {tenant} AND a.user_id = {user} ORDER BY r.name"
        ))
        .all(tx)
        .await
}

/// A page of the roles of a user, newest role first.
pub(super) async fn list_of_user(
    tx: &Tx,
    tenant: TenantId,
    user: UserId,
    page: PageRequest,
) -> Result<Vec<role::Model>, DbErr> {
    let (before, limit) = (page.before_or_max(), page.fetch());
    role::Entity::find()
        .from_raw_sql(raw_sql!(
            Postgres,
            "SELECT r.* FROM role_assignments a JOIN roles r ON r.tenant_id = a.tenant_id AND r.id = a.role_id
             WHERE a.tenant_id = {tenant} AND a.user_id = {user} AND a.role_id < {before}
             ORDER BY a.role_id DESC LIMIT {limit}"
        ))
        .all(tx)
        .await
}

/// Whether the user holds the built-in role.
pub(super) async fn holds(tx: &Tx, tenant: TenantId, role: Builtin, user: UserId) -> Result<bool, DbErr> {
    let name = role.as_str();
    let held = tx
        .query_one_raw(raw_sql!(
            Postgres,
            "SELECT 1 AS held FROM roles r
             JOIN role_assignments a ON a.tenant_id = r.tenant_id AND a.role_id = r.id
             WHERE r.tenant_id = {tenant} AND r.name_canonical = {name} AND r.builtin AND a.user_id = {user}"
        ))
        .await?;
    Ok(held.is_some())
}

/// Whether somebody else who may sign in holds the built-in role.
pub(super) async fn has_other_active_holder(
    tx: &Tx,
    tenant: TenantId,
    role: Builtin,
    user: UserId,
) -> Result<bool, DbErr> {
    let (name, active) = (role.as_str(), UserStatus::Active);
    let other = tx
        .query_one_raw(raw_sql!(
            Postgres,
            "SELECT 1 AS other FROM roles r
             JOIN role_assignments a ON a.tenant_id = r.tenant_id AND a.role_id = r.id
             JOIN users u ON u.tenant_id = a.tenant_id AND u.id = a.user_id
             WHERE r.tenant_id = {tenant} AND r.name_canonical = {name} AND r.builtin
               AND a.user_id <> {user} AND u.status = {active}
             LIMIT 1"
        ))
        .await?;
    Ok(other.is_some())
}

/// Takes the permission out of the tenant's own roles: those that granted it.
pub(super) async fn withdraw(
    tx: &Tx,
    tenant: TenantId,
    permission: &str,
    now: DateTime<Utc>,
) -> Result<Vec<Uuid>, DbErr> {
    let changed = Changed::find_by_statement(raw_sql!(
        Postgres,
        "UPDATE roles SET permissions = array_remove(permissions, {permission}), version = version + 1,
             updated_at = {now}
         WHERE tenant_id = {tenant} AND NOT builtin AND {permission} = ANY(permissions) RETURNING id"
    ));
    Ok(changed.all(tx).await?.into_iter().map(|role| role.id).collect())
}

/// Counts a change of the roles that grant whatever there is; those roles.
pub(super) async fn touch_governing(
    tx: &Tx,
    tenant: TenantId,
    now: DateTime<Utc>,
) -> Result<Vec<Uuid>, DbErr> {
    let names: Vec<String> = [Builtin::Owner, Builtin::Admin]
        .iter()
        .map(|role| role.as_str().to_owned())
        .collect();
    let changed = Changed::find_by_statement(raw_sql!(
        Postgres,
        "UPDATE roles SET version = version + 1, updated_at = {now}
         WHERE tenant_id = {tenant} AND builtin AND name_canonical = ANY({names}) RETURNING id"
    ));
    Ok(changed.all(tx).await?.into_iter().map(|role| role.id).collect())
}

#[derive(FromQueryResult)]
struct Changed {
    id: Uuid,
}

pub(super) async fn owners(tx: &Tx, tenant: TenantId) -> Result<Vec<user::Model>, DbErr> {
    let (owner, active) = (Builtin::Owner.as_str(), UserStatus::Active);
    user::Model::find_by_statement(raw_sql!(
        Postgres,
        "SELECT u.* FROM roles r
         JOIN role_assignments a ON a.tenant_id = r.tenant_id AND a.role_id = r.id
         JOIN users u ON u.tenant_id = a.tenant_id AND u.id = a.user_id
         WHERE r.tenant_id = {tenant} AND r.builtin AND r.name = {owner} AND u.status = {active}
         ORDER BY u.id LIMIT 20"
    ))
    .all(tx)
    .await
}
