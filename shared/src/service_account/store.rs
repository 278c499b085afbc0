//! The SQL of service accounts.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sea_orm::{
    ColumnTrait, ConnectionTrait, DbErr, EntityTrait, FromQueryResult, PaginatorTrait, QueryFilter,
    QueryOrder, QuerySelect, raw_sql, sea_query::LockType,
};
use uuid::Uuid;

use crate::{
    entity::{role, service_account, tenant},
    id::{RoleId, ServiceAccountId, TenantId},
    page::PageRequest,
    postgres::Tx,
    rbac::{self, Role},
};

/// The account and the roles it holds.
pub(super) async fn load(
    tx: &Tx,
    tenant: TenantId,
    is_platform: bool,
    id: ServiceAccountId,
) -> Result<Option<(service_account::Model, Vec<Role>)>, DbErr> {
    let Some(row) = find(tx, tenant, id).await? else {
        return Ok(None);
    };
    Ok(Some((row, held(tx, tenant, is_platform, id).await?)))
}

/// The roles that the account holds, by name.
pub(super) async fn held(
    tx: &Tx,
    tenant: TenantId,
    is_platform: bool,
    id: ServiceAccountId,
) -> Result<Vec<Role>, DbErr> {
    let rows = role::Model::find_by_statement(raw_sql!(
        Postgres,
        "SELECT r.* FROM service_account_roles a JOIN roles r ON r.tenant_id = a.tenant_id AND r.id = a.role_id
         WHERE a.tenant_id = {tenant} AND a.service_account_id = {id} ORDER BY r.name"
    ))
    .all(tx)
    .await?;
    rbac::resolve(tx, tenant, is_platform, rows).await
}

/// Those of the roles that the tenant has, held so that what they grant stays until the transaction ends.
pub(super) async fn hold_roles(
    tx: &Tx,
    tenant: TenantId,
    is_platform: bool,
    ids: Vec<Uuid>,
) -> Result<Vec<Role>, DbErr> {
    let rows = role::Model::find_by_statement(raw_sql!(
        Postgres,
        "SELECT * FROM roles
         WHERE tenant_id = {tenant} AND id = ANY({ids}) ORDER BY id FOR SHARE"
    ))
    .all(tx)
    .await?;
    rbac::resolve(tx, tenant, is_platform, rows).await
}

fn by_id(tenant: TenantId, id: ServiceAccountId) -> sea_orm::Select<service_account::Entity> {
    service_account::Entity::find_by_id(id).filter(service_account::Column::TenantId.eq(tenant))
}

pub(super) async fn find(
    tx: &Tx,
    tenant: TenantId,
    id: ServiceAccountId,
) -> Result<Option<service_account::Model>, DbErr> {
    by_id(tenant, id).one(tx).await
}

/// The account, held until the transaction ends.
pub(super) async fn hold(
    tx: &Tx,
    tenant: TenantId,
    id: ServiceAccountId,
) -> Result<Option<service_account::Model>, DbErr> {
    by_id(tenant, id).lock(LockType::Update).one(tx).await
}

/// How many the tenant has, after everyone else who is about to add one.
pub(super) async fn count_for_insert(tx: &Tx, tenant: TenantId) -> Result<u64, DbErr> {
    // One creation at a time, or two at the limit would both see one place left.
    tenant::Entity::find_by_id(tenant)
        .lock(LockType::NoKeyUpdate)
        .one(tx)
        .await?;
    service_account::Entity::find()
        .filter(service_account::Column::TenantId.eq(tenant))
        .count(tx)
        .await
}

pub(super) async fn list(
    tx: &Tx,
    tenant: TenantId,
    page: PageRequest,
) -> Result<Vec<service_account::Model>, DbErr> {
    service_account::Entity::find()
        .filter(service_account::Column::TenantId.eq(tenant))
        .filter(service_account::Column::Id.lt(page.before_or_max()))
        .order_by_desc(service_account::Column::Id)
        .limit(page.fetch().unsigned_abs())
        .all(tx)
        .await
}

/// The ids and names of the roles of several accounts.
pub(super) async fn roles_of(
    tx: &Tx,
    tenant: TenantId,
    accounts: Vec<Uuid>,
) -> Result<HashMap<ServiceAccountId, Vec<(RoleId, String)>>, DbErr> {
    #[derive(FromQueryResult)]
    struct Row {
        account: ServiceAccountId,
        id: RoleId,
        name: String,
    }
    let rows = Row::find_by_statement(raw_sql!(
        Postgres,
        "SELECT a.service_account_id AS account, r.id, r.name
         FROM service_account_roles a JOIN roles r ON r.tenant_id = a.tenant_id AND r.id = a.role_id
         WHERE a.tenant_id = {tenant} AND a.service_account_id = ANY({accounts}) ORDER BY r.name"
    ))
    .all(tx)
    .await?;
    let mut roles = HashMap::<_, Vec<_>>::new();
    for row in rows {
        roles.entry(row.account).or_default().push((row.id, row.name));
    }
    Ok(roles)
}

/// Makes these the account's roles, and no others.
pub(super) async fn set_roles(
    tx: &Tx,
    tenant: TenantId,
    id: ServiceAccountId,
    roles: &[Uuid],
    now: DateTime<Utc>,
) -> Result<(), DbErr> {
    let (stay, all) = (roles.to_vec(), roles.to_vec());
    tx.execute_raw(raw_sql!(
        Postgres,
        "DELETE FROM service_account_roles
         WHERE tenant_id = {tenant} AND service_account_id = {id} AND role_id <> ALL({stay}::uuid[])"
    ))
    .await?;
    tx.execute_raw(raw_sql!(
        Postgres,
        "INSERT INTO service_account_roles (tenant_id, service_account_id, role_id, created_at)
         SELECT {tenant}, {id}, role, {now} FROM unnest({all}::uuid[]) AS r (role)
         ON CONFLICT DO NOTHING"
    ))
    .await
    .map(drop)
}

pub(super) async fn delete(tx: &Tx, tenant: TenantId, id: ServiceAccountId) -> Result<(), DbErr> {
    service_account::Entity::delete_many()
        .filter(service_account::Column::TenantId.eq(tenant))
        .filter(service_account::Column::Id.eq(id))
        .exec(tx)
        .await
        .map(drop)
}

/// The live keys of the account: they end with it.
pub(super) async fn live_keys(
    tx: &Tx,
    tenant: TenantId,
    id: ServiceAccountId,
    now: DateTime<Utc>,
) -> Result<Vec<Uuid>, DbErr> {
    #[derive(FromQueryResult)]
    struct Row {
        id: Uuid,
    }
    let rows = Row::find_by_statement(raw_sql!(
        Postgres,
        "SELECT id FROM api_keys
         WHERE tenant_id = {tenant} AND service_account_id = {id}
           AND COALESCE(LEAST(revoked_at, expires_at, retires_at) > {now}, true)"
    ))
    .all(tx)
    .await?;
    Ok(rows.into_iter().map(|row| row.id).collect())
}
