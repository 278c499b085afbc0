//! The SQL of roles.

use chrono::{DateTime, Utc};
use sea_orm::{
    ActiveValue::Set, ColumnTrait, ConnectionTrait, DbErr, EntityTrait, FromQueryResult, QueryFilter,
    QuerySelect, raw_sql,
};
use uuid::Uuid;

use super::Builtin;
use crate::{
    entity::role,
    id::{RoleId, TenantId, UserId},
    postgres::Tx,
};

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
        builtin: Set(true),
        permissions: Set(Vec::new()),
        created_at: Set(now),
    });
    role::Entity::insert_many(rows)
        .exec_without_returning(tx)
        .await
        .map(drop)
}

pub(super) async fn find_id(tx: &Tx, tenant: TenantId, name: &str) -> Result<Option<RoleId>, DbErr> {
    role::Entity::find()
        .select_only()
        .column(role::Column::Id)
        .filter(role::Column::TenantId.eq(tenant))
        .filter(role::Column::Name.eq(name))
        .into_tuple()
        .one(tx)
        .await
}

pub(super) async fn assign(
    tx: &Tx,
    tenant: TenantId,
    user: UserId,
    roles: Vec<Uuid>,
    now: DateTime<Utc>,
) -> Result<(), DbErr> {
    tx.execute_raw(raw_sql!(
        Postgres,
        "INSERT INTO role_assignments (tenant_id, user_id, role_id, created_at)
         SELECT tenant_id, {user}, id, {now} FROM roles WHERE tenant_id = {tenant} AND id = ANY({roles})
         ON CONFLICT DO NOTHING"
    ))
    .await
    .map(drop)
}

#[derive(FromQueryResult)]
pub(super) struct HeldRole {
    pub(super) name: String,
    pub(super) builtin: bool,
    pub(super) permissions: Vec<String>,
}

pub(super) async fn held(tx: &Tx, tenant: TenantId, user: UserId) -> Result<Vec<HeldRole>, DbErr> {
    HeldRole::find_by_statement(raw_sql!(
        Postgres,
        "SELECT r.name, r.builtin, r.permissions
         FROM role_assignments a JOIN roles r ON r.tenant_id = a.tenant_id AND r.id = a.role_id
         WHERE a.tenant_id = {tenant} AND a.user_id = {user} ORDER BY r.name"
    ))
    .all(tx)
    .await
}
