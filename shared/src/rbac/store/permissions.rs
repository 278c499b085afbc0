//! The SQL of the tenants' own permissions.

use chrono::{DateTime, Utc};
use sea_orm::{
    ColumnTrait, DbErr, EntityTrait, FromQueryResult, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect,
    TryInsertResult, raw_sql,
};
use uuid::Uuid;

use crate::{
    entity::permission,
    id::{PermissionId, TenantId},
    page::PageRequest,
    postgres::Tx,
};

/// The names of the tenant's own permissions.
pub(in crate::rbac) async fn names(tx: &Tx, tenant: TenantId) -> Result<Vec<String>, DbErr> {
    permission::Entity::find()
        .select_only()
        .column(permission::Column::Name)
        .filter(permission::Column::TenantId.eq(tenant))
        .into_tuple()
        .all(tx)
        .await
}

/// The tenant's own permissions, newest first.
pub(in crate::rbac) async fn list(
    tx: &Tx,
    tenant: TenantId,
    page: PageRequest,
) -> Result<Vec<permission::Model>, DbErr> {
    permission::Entity::find()
        .filter(permission::Column::TenantId.eq(tenant))
        .filter(permission::Column::Id.lt(page.before_or_max()))
        .order_by_desc(permission::Column::Id)
        .limit(page.fetch().unsigned_abs())
        .all(tx)
        .await
}

pub(in crate::rbac) async fn count(tx: &Tx, tenant: TenantId) -> Result<u64, DbErr> {
    permission::Entity::find()
        .filter(permission::Column::TenantId.eq(tenant))
        .count(tx)
        .await
}

/// Writes the row unless the name is taken; says whether it did.
pub(in crate::rbac) async fn insert(tx: &Tx, row: permission::ActiveModel) -> Result<bool, DbErr> {
    let written = permission::Entity::insert(row)
        .on_conflict_do_nothing_on([permission::Column::TenantId, permission::Column::Name])
        .exec_without_returning(tx)
        .await?;
    Ok(matches!(written, TryInsertResult::Inserted(1)))
}

/// Deletes the tenant's own permission of that name, if there is one.
pub(in crate::rbac) async fn delete(
    tx: &Tx,
    tenant: TenantId,
    name: &str,
) -> Result<Option<PermissionId>, DbErr> {
    let found = permission::Entity::find()
        .filter(permission::Column::TenantId.eq(tenant))
        .filter(permission::Column::Name.eq(name))
        .one(tx)
        .await?;
    if let Some(row) = &found {
        permission::Entity::delete_by_id(row.id)
            .filter(permission::Column::TenantId.eq(tenant))
            .exec(tx)
            .await?;
    }
    Ok(found.map(|row| row.id))
}

/// Takes the permission out of the scopes of the tenant's keys: those keys.
pub(in crate::rbac) async fn withdraw_from_keys(
    tx: &Tx,
    tenant: TenantId,
    name: &str,
    now: DateTime<Utc>,
) -> Result<Vec<Uuid>, DbErr> {
    #[derive(FromQueryResult)]
    struct Changed {
        id: Uuid,
    }
    let changed = Changed::find_by_statement(raw_sql!(
        Postgres,
        "UPDATE api_keys SET scopes = array_remove(scopes, {name}), updated_at = {now}
         WHERE tenant_id = {tenant} AND {name} = ANY(scopes) RETURNING id"
    ))
    .all(tx)
    .await?;
    Ok(changed.into_iter().map(|key| key.id).collect())
}
