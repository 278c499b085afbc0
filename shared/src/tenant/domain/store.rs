//! The SQL of domains.

use chrono::{DateTime, Utc};
use sea_orm::{
    ActiveModelTrait, ColumnTrait, ConnectionTrait, DbErr, EntityTrait, FromQueryResult, IntoActiveModel,
    PaginatorTrait, QueryFilter, QueryOrder, QuerySelect, raw_sql,
};

use crate::{
    entity::tenant_domain::{Column, Entity, Model},
    id::{DomainId, TenantId},
    page::PageRequest,
    postgres::Tx,
    tenant,
};

/// How many the tenant claims, after everyone else who is about to claim one.
pub(super) async fn count_for_insert(tenant: TenantId, tx: &Tx) -> Result<u64, DbErr> {
    // One claim at a time, or two at the limit would both see one place left.
    tenant::store::hold(tx, tenant).await?;
    Entity::find().filter(Column::TenantId.eq(tenant)).count(tx).await
}

/// Fails with a unique violation where the tenant claims the domain already.
pub(super) async fn insert(tx: &Tx, row: Model) -> Result<(), DbErr> {
    row.into_active_model().insert(tx).await.map(drop)
}

pub(super) async fn find(tenant: TenantId, tx: &Tx, id: DomainId) -> Result<Option<Model>, DbErr> {
    Entity::find_by_id(id)
        .filter(Column::TenantId.eq(tenant))
        .one(tx)
        .await
}

/// Newest first.
pub(super) async fn list(tenant: TenantId, tx: &Tx, page: PageRequest) -> Result<Vec<Model>, DbErr> {
    Entity::find()
        .filter(Column::TenantId.eq(tenant))
        .filter(Column::Id.lt(page.before_or_max()))
        .order_by_desc(Column::Id)
        .limit(page.fetch().unsigned_abs())
        .all(tx)
        .await
}

/// Whether a claim that was not proven is now. Fails with a unique violation where another tenant has proven the
/// domain.
pub(super) async fn prove(
    tenant: TenantId,
    tx: &Tx,
    id: DomainId,
    now: DateTime<Utc>,
) -> Result<bool, DbErr> {
    let proven = tx.execute_raw(raw_sql!(
        Postgres,
        "UPDATE tenant_domains SET verified_at = {now}
         WHERE tenant_id = {tenant} AND id = {id} AND verified_at IS NULL"
    ));
    Ok(proven.await?.rows_affected() == 1)
}

/// What was deleted, if it was there.
pub(super) async fn delete(tenant: TenantId, tx: &Tx, id: DomainId) -> Result<Option<Model>, DbErr> {
    let deleted = Model::find_by_statement(raw_sql!(
        Postgres,
        "DELETE FROM tenant_domains WHERE tenant_id = {tenant} AND id = {id} RETURNING *"
    ));
    deleted.one(tx).await
}
