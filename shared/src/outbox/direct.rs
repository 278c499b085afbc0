//! Events for one endpoint alone.

use sea_orm::{ConnectionTrait, raw_sql};

use super::{Payload, Prepared, prepare};
use crate::{
    context::Change,
    error::Internal,
    id::{DeliveryId, EndpointId},
    queue::Lane,
    usage::Counter,
};

/// As [`super::emit`], to this endpoint whatever it asks for, and to no other.
///
/// # Errors
/// As [`super::emit`].
pub(crate) async fn emit_to<P: Payload>(
    change: &mut Change<'_>,
    endpoint: EndpointId,
    data: &P,
) -> Result<DeliveryId, Internal> {
    change.count(Counter::Events, 1);
    let (tenant, now, name) = (change.tenant, change.now, P::TYPE.as_str());
    let Prepared {
        id: event,
        body,
        trace,
    } = prepare(change, name, data)?;
    let traceparent = trace.map(|trace| trace.to_string());
    let delivery = DeliveryId(change.context.uuid(now));
    let sweep_at = now + change.context.config.worker.queue_grace;
    change
        .tx
        .execute_raw(raw_sql!(
            Postgres,
            "INSERT INTO events (id, tenant_id, type, body, traceparent, created_at)
             VALUES ({event}, {tenant}, {name}, {body}, {traceparent}, {now})"
        ))
        .await?;
    change
        .tx
        .execute_raw(raw_sql!(
            Postgres,
            "INSERT INTO deliveries (id, tenant_id, event_id, endpoint_id, event_type, state,
                                     next_attempt_at, sweep_at, created_at)
             VALUES ({delivery}, {tenant}, {event}, {endpoint}, {name}, 'pending', {now}, {sweep_at}, {now})"
        ))
        .await?;
    change.enqueue(Lane::Fresh, delivery.0);
    Ok(delivery)
}
