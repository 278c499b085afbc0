//! Sending on request: a test, and a delivery once more.

use chrono::{DateTime, Utc};
use sea_orm::{ConnectionTrait, DbErr, FromQueryResult, raw_sql};
use serde_json::json;

use super::{error::WebhookError, model::Delivery, service, store};
use crate::{
    audit,
    context::Context,
    id::{DeliveryId, EndpointId, EventId, TenantId},
    outbox::{self, event},
    permission::{Authorized, WebhooksWrite},
    postgres::Tx,
    principal::Origin,
    queue::Lane,
};

/// Sends a `webhook.test` to the endpoint, whatever it asks for, and to no other.
///
/// # Errors
/// [`WebhookError::NotFound`]; [`WebhookError::EndpointOff`].
pub async fn send_test(
    context: &Context,
    caller: &Authorized<WebhooksWrite>,
    origin: &Origin,
    id: EndpointId,
) -> Result<DeliveryId, WebhookError> {
    let tenant = caller.principal().tenant;
    let mut change = context.change(tenant, caller.actor(), origin).await?;
    let endpoint = store::endpoint_for_update(tenant, &change.tx, id)
        .await?
        .ok_or(WebhookError::NotFound)?;
    if !endpoint.enabled {
        return Err(WebhookError::EndpointOff);
    }
    let data = event::WebhookTest { endpoint_id: id };
    let delivery = outbox::emit_to(&mut change, id, &data).await?;
    service::record(
        &change,
        "webhook_endpoint.test",
        id,
        json!({ "delivery_id": delivery }),
    )
    .await?;
    change.commit().await?;
    Ok(delivery)
}

/// Sends a delivery once more: one that has come to its end goes through the whole schedule again, one that waits is due
/// now, and one that a worker is calling stays as it is.
///
/// # Errors
/// [`WebhookError::NotFound`]; [`WebhookError::EndpointOff`], also when the endpoint was deleted;
/// [`WebhookError::PayloadErased`].
pub async fn redeliver(
    context: &Context,
    caller: &Authorized<WebhooksWrite>,
    origin: &Origin,
    id: DeliveryId,
) -> Result<Delivery, WebhookError> {
    let tenant = caller.principal().tenant;
    let mut change = context.change(tenant, caller.actor(), origin).await?;
    let found = store::delivery(tenant, &change.tx, id)
        .await?
        .ok_or(WebhookError::NotFound)?;
    // The endpoint before its deliveries, as everywhere: it is not turned off while this happens.
    if !is_on(tenant, &change.tx, found.endpoint_id).await? {
        return Err(WebhookError::EndpointOff);
    }
    if !keep_payload(tenant, &change.tx, found.event_id).await? {
        return Err(WebhookError::PayloadErased);
    }
    let sweep_at = change.now + context.config.worker.queue_grace;
    if let Some(attempts) = make_due(tenant, &change.tx, id, change.now, sweep_at).await? {
        let lane = if attempts == 0 { Lane::Fresh } else { Lane::Retry };
        change.enqueue(lane, id.0);
    }
    let detail = json!({ "endpoint_id": found.endpoint_id, "state": found.state });
    let record = audit::Record::success("webhook_delivery.retry", "webhook_delivery", id.0, detail);
    audit::record(&change, record).await?;
    let delivery = store::delivery(tenant, &change.tx, id).await?;
    change.commit().await?;
    delivery.map(Delivery::from).ok_or(WebhookError::NotFound)
}

#[derive(FromQueryResult)]
struct Made {
    attempts: i32,
}

/// Whether something is sent to the endpoint; it stays so until the transaction ends.
pub(super) async fn is_on(tenant: TenantId, tx: &Tx, id: EndpointId) -> Result<bool, DbErr> {
    let on = tx
        .query_one_raw(raw_sql!(
            Postgres,
            "SELECT FROM webhook_endpoints
             WHERE tenant_id = {tenant} AND id = {id} AND enabled AND deleted_at IS NULL FOR SHARE"
        ))
        .await?;
    Ok(on.is_some())
}

/// Whether the event's payload is still there; it stays so until the transaction ends, and then as long as a delivery of
/// it is under way.
async fn keep_payload(tenant: TenantId, tx: &Tx, id: EventId) -> Result<bool, DbErr> {
    let whole = tx
        .query_one_raw(raw_sql!(
            Postgres,
            "SELECT FROM events WHERE tenant_id = {tenant} AND id = {id} AND NOT erased FOR SHARE"
        ))
        .await?;
    Ok(whole.is_some())
}

/// A worker that has the delivery in hand keeps it. The generation rises with each new round, so that a call of the one
/// before, late as it may be, says nothing of this one.
async fn make_due(
    tenant: TenantId,
    tx: &Tx,
    id: DeliveryId,
    now: DateTime<Utc>,
    sweep_at: DateTime<Utc>,
) -> Result<Option<i32>, DbErr> {
    let made = Made::find_by_statement(raw_sql!(
        Postgres,
        "UPDATE deliveries SET
             state = 'pending', next_attempt_at = {now}, sweep_at = {sweep_at}, lease_until = NULL,
             finished_at = NULL,
             generation = CASE WHEN state = 'pending' THEN generation ELSE generation + 1 END,
             earlier_attempts = CASE WHEN state = 'pending' THEN earlier_attempts ELSE attempts END
         WHERE tenant_id = {tenant} AND id = {id}
           AND (state || '' <> 'pending' OR lease_until IS NULL OR lease_until < {now})
         RETURNING attempts"
    ))
    .one(tx)
    .await?;
    Ok(made.map(|made| made.attempts))
}
