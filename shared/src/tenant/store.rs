//! The SQL of tenants.

use sea_orm::{
    ActiveModelTrait, ActiveValue::Set, ColumnTrait, DbErr, EntityTrait, QueryFilter, QueryOrder, QuerySelect,
};

use super::Tenant;
use crate::{
    entity::{tenant, tenant_domain},
    id::TenantId,
    page::PageRequest,
    postgres::Tx,
};

pub(crate) async fn find(tx: &Tx, id: TenantId) -> Result<Option<tenant::Model>, DbErr> {
    tenant::Entity::find_by_id(id).one(tx).await
}

pub(crate) async fn find_by_slug(tx: &Tx, slug: &str) -> Result<Option<tenant::Model>, DbErr> {
    tenant::Entity::find()
        .filter(tenant::Column::Slug.eq(slug))
        .one(tx)
        .await
}

pub(crate) async fn find_by_domain(tx: &Tx, domain: &str) -> Result<Option<tenant::Model>, DbErr> {
    let proven = tenant_domain::Entity::find()
        .filter(tenant_domain::Column::Domain.eq(domain))
        .filter(tenant_domain::Column::VerifiedAt.is_not_null());
    match proven.one(tx).await? {
        Some(row) => find(tx, row.tenant_id).await,
        None => Ok(None),
    }
}

/// Newest first.
pub(crate) async fn list(tx: &Tx, page: PageRequest) -> Result<Vec<tenant::Model>, DbErr> {
    tenant::Entity::find()
        .filter(tenant::Column::Id.lt(page.before_or_max()))
        .order_by_desc(tenant::Column::Id)
        .limit(page.fetch().unsigned_abs())
        .all(tx)
        .await
}

/// Fails with a unique violation where the slug is taken.
pub(crate) async fn insert(tx: &Tx, tenant: &Tenant, settings: serde_json::Value) -> Result<(), DbErr> {
    let row = tenant::ActiveModel {
        id: Set(tenant.id),
        slug: Set(tenant.slug.clone()),
        name: Set(tenant.name.clone()),
        status: Set(tenant.status),
        settings: Set(settings),
        created_at: Set(tenant.created_at),
        updated_at: Set(tenant.updated_at),
    };
    row.insert(tx).await.map(drop)
}
