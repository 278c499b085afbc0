//! How an endpoint has answered of late.

use chrono::{DateTime, TimeDelta, Utc};
use sea_orm::{DbErr, FromQueryResult, raw_sql};

use super::{error::WebhookError, store};
use crate::{
    context::Context,
    entity::ErrorClass,
    id::{EndpointId, TenantId},
    permission::{Authorized, WebhooksRead},
    postgres::Tx,
};

/// No more deliveries than that are looked at, however busy the endpoint is.
const NEWEST: i64 = 1_000;

/// The calls of the last 24 hours for the endpoint's newest 1,000 deliveries.
#[derive(Clone, Debug, PartialEq, FromQueryResult)]
pub struct Health {
    /// How many calls.
    pub attempts: i64,
    /// How many of them the endpoint took.
    pub succeeded: i64,
    /// Half of the calls took no longer, in milliseconds; none without a call.
    pub p50_ms: Option<i32>,
    /// All but one in a hundred took no longer, in milliseconds; none without a call.
    pub p99_ms: Option<i32>,
    /// When a call last failed.
    pub last_error_at: Option<DateTime<Utc>>,
    /// The kind of that failure.
    pub last_error_class: Option<ErrorClass>,
    /// What it said.
    pub last_error_detail: Option<String>,
    /// The HTTP status, if there was an answer.
    pub last_error_status: Option<i16>,
}

/// How the endpoint has answered in the last 24 hours.
///
/// # Errors
/// When the tenant has no such endpoint.
pub async fn get_health(
    context: &Context,
    caller: &Authorized<WebhooksRead>,
    id: EndpointId,
) -> Result<Health, WebhookError> {
    let tenant = caller.principal().tenant;
    let tx = context.postgres.tenant(tenant).await?;
    store::endpoint(tenant, &tx, id)
        .await?
        .ok_or(WebhookError::NotFound)?;
    let since = context.clock.now() - TimeDelta::days(1);
    health(tenant, &tx, id, since)
        .await?
        .ok_or(WebhookError::NotFound)
}

async fn health(
    tenant: TenantId,
    tx: &Tx,
    id: EndpointId,
    since: DateTime<Utc>,
) -> Result<Option<Health>, DbErr> {
    Health::find_by_statement(raw_sql!(
        Postgres,
        "WITH newest AS MATERIALIZED (
             SELECT id FROM deliveries WHERE tenant_id = {tenant} AND endpoint_id = {id}
             ORDER BY id DESC LIMIT {NEWEST}),
         calls AS MATERIALIZED (
             SELECT a.id, a.started_at, a.duration_ms, a.outcome, a.error_class, a.error_detail, a.status
             FROM newest JOIN attempts a ON a.tenant_id = {tenant} AND a.delivery_id = newest.id
             WHERE a.started_at >= {since}),
         failure AS (
             SELECT * FROM calls WHERE outcome = 'failed' ORDER BY started_at DESC, id DESC LIMIT 1),
         figures AS (
             SELECT count(*) AS attempts, count(*) FILTER (WHERE outcome = 'succeeded') AS succeeded,
                    percentile_disc(0.5) WITHIN GROUP (ORDER BY duration_ms) AS p50_ms,
                    percentile_disc(0.99) WITHIN GROUP (ORDER BY duration_ms) AS p99_ms
             FROM calls)
         SELECT figures.*, failure.started_at AS last_error_at, failure.error_class AS last_error_class,
                failure.error_detail AS last_error_detail, failure.status AS last_error_status
         FROM figures LEFT JOIN failure ON true"
    ))
    .one(tx)
    .await
}
