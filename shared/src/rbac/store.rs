//! The SQL of roles.

use chrono::{DateTime, Utc};
use sea_orm::{
    ActiveValue::Set, ColumnTrait, ConnectionTrait, DbErr, EntityTrait, FromQueryResult, QueryFilter,
    QuerySelect, raw_sql,
};
use uuid::Uuid;

use super::Builtin;
use crate::{
    entity::{UserStatus, role},
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

/// The built-in role, locked against other callers of this, if the user holds it.
pub(super) async fn hold_if_assigned(
    tx: &Tx,
    tenant: TenantId,
    name: &str,
    user: UserId,
) -> Result<Option<RoleId>, DbErr> {
    #[derive(FromQueryResult)]
    struct Held {
        id: RoleId,
    }
    let held = Held::find_by_statement(raw_sql!(
        Postgres,
        "SELECT r.id FROM roles r
         WHERE r.tenant_id = {tenant} AND r.builtin AND r.name = {name} AND EXISTS (
             SELECT FROM role_assignments a
             WHERE a.tenant_id = r.tenant_id AND a.role_id = r.id AND a.user_id = {user})
         FOR NO KEY UPDATE"
    ))
    .one(tx)
    .await?;
    Ok(held.map(|held| held.id))
}

pub(super) async fn is_only_active_holder(
    tx: &Tx,
    tenant: TenantId,
    role: RoleId,
    user: UserId,
) -> Result<bool, DbErr> {
    let active = UserStatus::Active;
    let other = tx
        .query_one_raw(raw_sql!(
            Postgres,
            "SELECT 1 AS other FROM role_assignments a
             JOIN users u ON u.tenant_id = a.tenant_id AND u.id = a.user_id
             WHERE a.tenant_id = {tenant} AND a.role_id = {role} AND a.user_id <> {user} AND u.status = {active}
             LIMIT 1"
        ))
        .await?;
    Ok(other.is_none())
}
