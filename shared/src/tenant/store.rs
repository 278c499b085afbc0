//! The SQL of tenants.

use chrono::{DateTime, Utc};
use sea_orm::{
    ActiveModelTrait, ActiveValue::Set, ColumnTrait, ConnectionTrait, DbErr, EntityTrait, FromQueryResult,
    QueryFilter, QueryOrder, QuerySelect, raw_sql, sea_query::LockType,
};
use serde_json::Value;

use super::{Tenant, TenantFilter, TenantStatus};
use crate::{
    entity::{tenant, tenant_domain},
    id::TenantId,
    page::PageRequest,
    postgres::Tx,
    version::Version,
};

pub(crate) async fn find(tx: &Tx, id: TenantId) -> Result<Option<tenant::Model>, DbErr> {
    tenant::Entity::find_by_id(id).one(tx).await
}

/// The tenant, which nobody else changes until the transaction ends. What names it can be written meanwhile.
pub(super) async fn hold(tx: &Tx, id: TenantId) -> Result<Option<tenant::Model>, DbErr> {
    let found = tenant::Entity::find_by_id(id).lock(LockType::NoKeyUpdate);
    found.one(tx).await
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

/// Those that pass the filter, newest first.
pub(super) async fn list(
    tx: &Tx,
    filter: &TenantFilter,
    page: PageRequest,
) -> Result<Vec<tenant::Model>, DbErr> {
    let TenantFilter { status, slug } = filter;
    let mut rows = tenant::Entity::find().filter(tenant::Column::Id.lt(page.before_or_max()));
    if let Some(status) = status {
        rows = rows.filter(tenant::Column::Status.eq(*status));
    }
    if let Some(slug) = slug {
        rows = rows.filter(tenant::Column::Slug.eq(slug.as_str()));
    }
    rows.order_by_desc(tenant::Column::Id)
        .limit(page.fetch().unsigned_abs())
        .all(tx)
        .await
}

/// Fails with a unique violation where the slug is taken.
pub(super) async fn insert(tx: &Tx, tenant: &Tenant, settings: Value) -> Result<(), DbErr> {
    let row = tenant::ActiveModel {
        id: Set(tenant.id),
        slug: Set(tenant.slug.clone()),
        name: Set(tenant.name.clone()),
        status: Set(tenant.status),
        settings: Set(settings),
        version: Set(tenant.version),
        rate_limits: Set(Value::Object(serde_json::Map::new())),
        webhook_cidrs: Set(tenant.webhook_cidrs.clone()),
        delete_at: Set(tenant.delete_at),
        created_at: Set(tenant.created_at),
        updated_at: Set(tenant.updated_at),
    };
    row.insert(tx).await.map(drop)
}

pub(super) async fn set_status(
    tx: &Tx,
    id: TenantId,
    status: TenantStatus,
    delete_at: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> Result<(), DbErr> {
    let changed = tx.execute_raw(raw_sql!(
        Postgres,
        "UPDATE tenants SET status = {status}, delete_at = {delete_at}, version = version + 1, updated_at = {now}
         WHERE id = {id}"
    ));
    changed.await.map(drop)
}

pub(super) async fn update(
    tx: &Tx,
    id: TenantId,
    name: String,
    rate_limits: Value,
    webhook_cidrs: Vec<String>,
    now: DateTime<Utc>,
) -> Result<Option<tenant::Model>, DbErr> {
    let changed = tenant::Model::find_by_statement(raw_sql!(
        Postgres,
        "UPDATE tenants SET name = {name}, rate_limits = {rate_limits}, webhook_cidrs = {webhook_cidrs},
             version = version + 1, updated_at = {now}
         WHERE id = {id} RETURNING *"
    ));
    changed.one(tx).await
}

/// Nothing where the tenant has another version by now.
pub(super) async fn set_settings(
    tx: &Tx,
    tenant: TenantId,
    version: Version,
    settings: Value,
    now: DateTime<Utc>,
) -> Result<Option<tenant::Model>, DbErr> {
    let changed = tenant::Model::find_by_statement(raw_sql!(
        Postgres,
        "UPDATE tenants SET settings = {settings}, version = version + 1, updated_at = {now}
         WHERE id = {tenant} AND version = {version} RETURNING *"
    ));
    changed.one(tx).await
}
