//! The SQL of the tenants' own event types.

use sea_orm::{
    ColumnTrait, DbErr, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect, TryInsertResult,
    sea_query::LockType,
};

use crate::{
    entity::{event_type, tenant},
    id::{EventTypeId, TenantId},
    page::PageRequest,
    postgres::Tx,
};

/// The tenant's own, newest first.
pub(super) async fn list(
    tenant: TenantId,
    tx: &Tx,
    page: PageRequest,
) -> Result<Vec<event_type::Model>, DbErr> {
    event_type::Entity::find()
        .filter(event_type::Column::TenantId.eq(tenant))
        .filter(event_type::Column::Id.lt(page.before_or_max()))
        .order_by_desc(event_type::Column::Id)
        .limit(page.fetch().unsigned_abs())
        .all(tx)
        .await
}

/// How many the tenant has, after everyone else who is about to add one.
pub(super) async fn count_for_insert(tenant: TenantId, tx: &Tx) -> Result<u64, DbErr> {
    // One creation at a time, or two at the limit would both see one place left.
    tenant::Entity::find_by_id(tenant)
        .lock(LockType::NoKeyUpdate)
        .one(tx)
        .await?;
    event_type::Entity::find()
        .filter(event_type::Column::TenantId.eq(tenant))
        .count(tx)
        .await
}

/// Writes the row unless the name is taken; says whether it did.
pub(super) async fn insert(tx: &Tx, row: event_type::ActiveModel) -> Result<bool, DbErr> {
    let written = event_type::Entity::insert(row)
        .on_conflict_do_nothing_on([event_type::Column::TenantId, event_type::Column::Name])
        .exec_without_returning(tx)
        .await?;
    Ok(matches!(written, TryInsertResult::Inserted(1)))
}

/// The tenant's own of that name, held until the transaction ends.
pub(super) async fn hold(tenant: TenantId, tx: &Tx, name: &str) -> Result<Option<event_type::Model>, DbErr> {
    event_type::Entity::find()
        .filter(event_type::Column::TenantId.eq(tenant))
        .filter(event_type::Column::Name.eq(name))
        .lock(LockType::Update)
        .one(tx)
        .await
}

pub(super) async fn delete(tenant: TenantId, tx: &Tx, id: EventTypeId) -> Result<(), DbErr> {
    event_type::Entity::delete_by_id(id)
        .filter(event_type::Column::TenantId.eq(tenant))
        .exec(tx)
        .await?;
    Ok(())
}
