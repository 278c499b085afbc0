//! The SQL behind the services. Every statement names the tenant, though row-level security would do so too.

use chrono::{DateTime, TimeDelta, Utc};
use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, DbErr, EntityTrait, FromQueryResult, PaginatorTrait,
    QueryFilter, QueryOrder, QuerySelect, QueryTrait, raw_sql,
};

use super::{
    model::{AttemptFilter, DeliveryFilter, EventFilter},
    work::{Claimed, FAILED, SUCCEEDED},
};
use crate::{
    entity::{Offence, attempt, delivery, event, tenant, webhook_endpoint as endpoint},
    id::{self, DeliveryId, EndpointId, EventId, TenantId, first_id},
    page::PageRequest,
    postgres::Tx,
};

/// The tenant's endpoints, after everyone else who is about to add one.
pub(super) async fn count_for_insert(tenant: TenantId, tx: &Tx) -> Result<u64, DbErr> {
    // One creation at a time, or two at the limit would both see one place left.
    tenant::Entity::find_by_id(tenant)
        .lock(sea_orm::sea_query::LockType::NoKeyUpdate)
        .one(tx)
        .await?;
    endpoint::Entity::find()
        .filter(endpoint::Column::TenantId.eq(tenant))
        .filter(endpoint::Column::DeletedAt.is_null())
        .count(tx)
        .await
}

/// The address ranges that are not public and that the tenant's endpoints may be called in all the same.
pub(super) async fn allowed_cidrs(tenant: TenantId, tx: &Tx) -> Result<Vec<String>, DbErr> {
    let own: Option<Vec<String>> = tenant::Entity::find_by_id(tenant)
        .select_only()
        .column(tenant::Column::WebhookCidrs)
        .into_tuple()
        .one(tx)
        .await?;
    Ok(own.unwrap_or_default())
}

pub(super) async fn endpoints(
    tenant: TenantId,
    tx: &Tx,
    page: PageRequest,
) -> Result<Vec<endpoint::Model>, DbErr> {
    endpoint::Entity::find()
        .filter(endpoint::Column::TenantId.eq(tenant))
        .filter(endpoint::Column::DeletedAt.is_null())
        .filter(endpoint::Column::Id.lt(page.before_or_max()))
        .order_by_desc(endpoint::Column::Id)
        .limit(page.fetch().unsigned_abs())
        .all(tx)
        .await
}

pub(super) async fn endpoint(
    tenant: TenantId,
    tx: &Tx,
    id: EndpointId,
) -> Result<Option<endpoint::Model>, DbErr> {
    find_endpoint(tenant, id).one(tx).await
}

/// The endpoint, held until the transaction ends.
pub(super) async fn endpoint_for_update(
    tenant: TenantId,
    tx: &Tx,
    id: EndpointId,
) -> Result<Option<endpoint::Model>, DbErr> {
    find_endpoint(tenant, id)
        .lock(sea_orm::sea_query::LockType::NoKeyUpdate)
        .one(tx)
        .await
}

fn find_endpoint(tenant: TenantId, id: EndpointId) -> sea_orm::Select<endpoint::Entity> {
    endpoint::Entity::find_by_id(id)
        .filter(endpoint::Column::TenantId.eq(tenant))
        .filter(endpoint::Column::DeletedAt.is_null())
}

#[derive(FromQueryResult)]
struct Cancelled {
    id: DeliveryId,
}

/// So many deliveries are cancelled by one statement, which holds up claims of others for tenths of a second.
const CANCELLED_AT_ONCE: i64 = 5_000;

/// How many deliveries [`cancel_pending`] would cancel by and by.
pub(super) async fn count_pending(
    tenant: TenantId,
    tx: &Tx,
    id: EndpointId,
    now: DateTime<Utc>,
) -> Result<u64, DbErr> {
    #[derive(FromQueryResult)]
    struct Count {
        pending: i64,
    }
    let count = Count::find_by_statement(raw_sql!(
        Postgres,
        "SELECT count(*) AS pending FROM deliveries
         WHERE tenant_id = {tenant} AND endpoint_id = {id} AND state = 'pending'
           AND (lease_until IS NULL OR lease_until < {now})"
    ));
    let pending = count.one(tx).await?.map_or(0, |count| count.pending);
    Ok(pending.unsigned_abs())
}

/// Holds the endpoint as it is until the transaction ends, if it is off.
pub(super) async fn hold_off(tenant: TenantId, tx: &Tx, id: EndpointId) -> Result<bool, DbErr> {
    let held = tx
        .query_one_raw(raw_sql!(
            Postgres,
            "SELECT 1 AS held FROM webhook_endpoints
             WHERE tenant_id = {tenant} AND id = {id} AND NOT enabled FOR SHARE"
        ))
        .await?;
    Ok(held.is_some())
}

/// Cancels some of what is pending for the endpoint after that delivery, the oldest first; which was the last, or none
/// once nothing is left.
///
/// A delivery that a worker holds is left to it: the call is under way, and its outcome is the truth. Should
/// it fail, the next claim finds the endpoint turned off.
pub(super) async fn cancel_pending(
    tenant: TenantId,
    tx: &Tx,
    id: EndpointId,
    after: DeliveryId,
    now: DateTime<Utc>,
) -> Result<Option<DeliveryId>, DbErr> {
    // In the order of ids, as the worker locks them, so that neither waits for the other in a circle.
    let cancelled = Cancelled::find_by_statement(raw_sql!(
        Postgres,
        "WITH waiting AS MATERIALIZED (
             SELECT id FROM deliveries
             WHERE tenant_id = {tenant} AND endpoint_id = {id} AND state = 'pending' AND id > {after}
               AND (lease_until IS NULL OR lease_until < {now})
             ORDER BY id LIMIT {CANCELLED_AT_ONCE} FOR NO KEY UPDATE)
         UPDATE deliveries SET state = 'cancelled', next_attempt_at = NULL, lease_until = NULL,
                generation = generation + 1, finished_at = {now}
         WHERE tenant_id = {tenant} AND id = ANY(ARRAY(SELECT id FROM waiting))
           AND id >= (SELECT id FROM waiting ORDER BY id LIMIT 1)
           AND id <= (SELECT id FROM waiting ORDER BY id DESC LIMIT 1)
         RETURNING id"
    ))
    .all(tx)
    .await?;
    Ok(cancelled.into_iter().map(|row| row.id).max())
}

/// Turns the endpoint off, unless it is off already, or somebody has changed it, or it has answered, since it was called;
/// whether this call did it.
pub(super) async fn disable(
    tx: &Tx,
    called: &Claimed,
    reason: Offence,
    now: DateTime<Utc>,
) -> Result<bool, DbErr> {
    let (tenant, id, as_of, since) = (
        called.tenant_id,
        called.endpoint_id,
        called.updated_at,
        called.failing_since,
    );
    let (word, is_failing) = (reason.as_str(), reason == Offence::Failing);
    let changed = tx
        .execute_raw(raw_sql!(
            Postgres,
            "UPDATE webhook_endpoints SET enabled = false, disabled_reason = {word}, updated_at = {now}
             WHERE tenant_id = {tenant} AND id = {id} AND enabled AND updated_at = {as_of}
               AND (NOT {is_failing} OR failing_since = {since})"
        ))
        .await?;
    Ok(changed.rows_affected() == 1)
}

pub(super) async fn events(
    tenant: TenantId,
    tx: &Tx,
    filter: &EventFilter,
    page: PageRequest,
) -> Result<Vec<event::Model>, DbErr> {
    let EventFilter {
        event_type,
        since,
        until,
    } = filter;
    event::Entity::find()
        .filter(event::Column::TenantId.eq(tenant))
        .filter(event::Column::Id.lt(page.before_or_max()))
        .apply_if(event_type.as_deref(), |query, name| {
            query.filter(event::Column::EventType.eq(name))
        })
        .filter(span(event::Column::Id, event::Column::CreatedAt, *since, *until))
        .order_by_desc(event::Column::Id)
        .limit(page.fetch().unsigned_abs())
        .all(tx)
        .await
}

/// What was made in a span. Ids bear the same instants, to the millisecond, and decide which partitions are opened.
fn span(
    id: impl ColumnTrait,
    created_at: impl ColumnTrait,
    since: Option<DateTime<Utc>>,
    until: Option<DateTime<Utc>>,
) -> Condition {
    let after = |at| [id.gte(first_id(at)), created_at.gte(at)];
    let before = |at| {
        [
            id.lt(first_id(at + TimeDelta::milliseconds(1))),
            created_at.lt(at),
        ]
    };
    let both = since.map(after).into_iter().chain(until.map(before)).flatten();
    both.fold(Condition::all(), Condition::add)
}

/// What bears the instant of the event, as each of its deliveries does: one partition is opened.
fn beside(id: impl ColumnTrait, event: EventId) -> Condition {
    let (first, last) = id::span(&[event.0]);
    Condition::all().add(id.gte(first)).add(id.lte(last))
}

pub(super) async fn event(tenant: TenantId, tx: &Tx, id: EventId) -> Result<Option<event::Model>, DbErr> {
    event::Entity::find_by_id(id)
        .filter(event::Column::TenantId.eq(tenant))
        .one(tx)
        .await
}

pub(super) async fn deliveries(
    tenant: TenantId,
    tx: &Tx,
    filter: &DeliveryFilter,
    page: PageRequest,
) -> Result<Vec<delivery::Model>, DbErr> {
    let DeliveryFilter {
        event_id,
        endpoint_id,
        state,
        event_type,
        since,
        until,
    } = filter;
    delivery::Entity::find()
        .filter(delivery::Column::TenantId.eq(tenant))
        .filter(delivery::Column::Id.lt(page.before_or_max()))
        .apply_if(*event_id, |query, event| {
            query
                .filter(delivery::Column::EventId.eq(event))
                .filter(beside(delivery::Column::Id, event))
        })
        .apply_if(*endpoint_id, |query, id| {
            query.filter(delivery::Column::EndpointId.eq(id))
        })
        .apply_if(*state, |query, state| {
            query.filter(delivery::Column::State.eq(state))
        })
        .apply_if(event_type.as_deref(), |query, name| {
            query.filter(delivery::Column::EventType.eq(name))
        })
        .filter(span(
            delivery::Column::Id,
            delivery::Column::CreatedAt,
            *since,
            *until,
        ))
        .order_by_desc(delivery::Column::Id)
        .limit(page.fetch().unsigned_abs())
        .all(tx)
        .await
}

pub(super) async fn delivery(
    tenant: TenantId,
    tx: &Tx,
    id: DeliveryId,
) -> Result<Option<delivery::Model>, DbErr> {
    delivery::Entity::find_by_id(id)
        .filter(delivery::Column::TenantId.eq(tenant))
        .one(tx)
        .await
}

pub(super) async fn attempts(
    tenant: TenantId,
    tx: &Tx,
    delivery: DeliveryId,
    page: PageRequest,
) -> Result<Vec<attempt::Model>, DbErr> {
    attempt::Entity::find()
        .filter(attempt::Column::TenantId.eq(tenant))
        .filter(attempt::Column::DeliveryId.eq(delivery))
        .filter(attempt::Column::Id.lt(page.before_or_max()))
        .order_by_desc(attempt::Column::Id)
        .limit(page.fetch().unsigned_abs())
        .all(tx)
        .await
}

pub(super) async fn attempts_of_endpoint(
    tenant: TenantId,
    tx: &Tx,
    endpoint: EndpointId,
    filter: &AttemptFilter,
    page: PageRequest,
) -> Result<Vec<attempt::Model>, DbErr> {
    let AttemptFilter {
        succeeded,
        error_class,
        since,
        until,
    } = filter;
    let outcome = succeeded.map(|succeeded| if succeeded { SUCCEEDED } else { FAILED });
    attempt::Entity::find()
        .filter(attempt::Column::TenantId.eq(tenant))
        .filter(attempt::Column::EndpointId.eq(endpoint))
        .filter(attempt::Column::Id.lt(page.before_or_max()))
        .apply_if(outcome, |query, outcome| {
            query.filter(attempt::Column::Outcome.eq(outcome))
        })
        .apply_if(*error_class, |query, class| {
            query.filter(attempt::Column::ErrorClass.eq(class))
        })
        .filter(span(
            attempt::Column::Id,
            attempt::Column::StartedAt,
            *since,
            *until,
        ))
        .order_by_desc(attempt::Column::Id)
        .limit(page.fetch().unsigned_abs())
        .all(tx)
        .await
}
