//! The outbox: what happened, written down in the very transaction in which it happened.
//!
//! An event is a row whose body is the text that receivers get, byte for byte. Together with it stands one
//! delivery for each endpoint of the tenant that is enabled and asks for the type. After the commit the
//! deliveries' ids go to the queue; what is lost on the way, the sweep finds again by `sweep_at`.
//!
//! What must never happen: an event of a change that did not commit; a change without its event; a body that is
//! made anew for a second attempt.

mod erase;
mod event_type;

use chrono::{DateTime, SecondsFormat, Utc};
use sea_orm::{FromQueryResult, raw_sql};
use serde::Serialize;
use uuid::Uuid;

pub(crate) use self::erase::erase_marked;
pub use self::event_type::{EventType, InvalidEventType, MAX_NAME, OwnEventType, is_subscribable};
use crate::{
    context::Change,
    error::Internal,
    id::{EventId, TenantId, UserId},
    queue::Lane,
};

/// The text that is stored, signed and sent.
#[derive(Serialize)]
struct Body<'a, T> {
    #[serde(rename = "type")]
    event_type: &'a str,
    timestamp: String,
    tenant_id: TenantId,
    data: &'a T,
}

/// Writes a built-in event and its deliveries, to be committed with the change or not at all. `about` is the user
/// whose data it holds.
///
/// # Errors
/// When `data` cannot be written as JSON or the database refuses; the change must not be committed then.
pub async fn emit(
    change: &mut Change<'_>,
    event_type: EventType,
    about: Option<UserId>,
    data: &impl Serialize,
) -> Result<EventId, Internal> {
    write(change, event_type.as_str(), about, data).await
}

/// Writes an event of a type of the tenant's own, as [`emit`] does.
///
/// # Errors
/// As [`emit`].
pub async fn emit_own(
    change: &mut Change<'_>,
    event_type: &OwnEventType,
    data: &impl Serialize,
) -> Result<EventId, Internal> {
    write(change, event_type.as_str(), None, data).await
}

#[derive(FromQueryResult)]
struct Written {
    id: Uuid,
}

async fn write(
    change: &mut Change<'_>,
    name: &str,
    about: Option<UserId>,
    data: &impl Serialize,
) -> Result<EventId, Internal> {
    let (tenant, now) = (change.tenant, change.now);
    let event = EventId(change.context.uuid(now));
    let body = Body {
        event_type: name,
        timestamp: timestamp(now),
        tenant_id: tenant,
        data,
    };
    let body = serde_json::to_string(&body)?;
    // The job is about to be queued; until then the sweep has nothing to do with it.
    let sweep_at = now + change.context.config.worker.queue_grace;
    let deliveries = Written::find_by_statement(raw_sql!(
        Postgres,
        "WITH event AS (
             INSERT INTO events (id, tenant_id, type, body, user_id, created_at)
             VALUES ({event}, {tenant}, {name}, {body}, {about}, {now}))
         INSERT INTO deliveries (id, tenant_id, event_id, endpoint_id, event_type, state,
                                 next_attempt_at, sweep_at, created_at)
         SELECT latchkey_uuid_v7({now}), {tenant}, {event}, id, {name}, 'pending', {now}, {sweep_at}, {now}
         FROM webhook_endpoints
         WHERE tenant_id = {tenant} AND enabled
           AND (cardinality(event_types) = 0 OR {name} = ANY(event_types))
         RETURNING id"
    ))
    .all(&change.tx)
    .await?;
    for delivery in deliveries {
        change.enqueue(Lane::Fresh, delivery.id);
    }
    Ok(event)
}

fn timestamp(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_has_its_four_fields_in_order_and_a_time_in_milliseconds() {
        let at = DateTime::from_timestamp_micros(1_767_225_600_123_999).unwrap();
        let data = serde_json::json!({"b": 1});
        let body = Body {
            event_type: "a.b",
            timestamp: timestamp(at),
            tenant_id: TenantId(Uuid::nil()),
            data: &data,
        };
        assert_eq!(
            serde_json::to_string(&body).unwrap(),
            r#"{"type":"a.b","timestamp":"2026-01-01T00:00:00.123Z","tenant_id":"00000000-0000-0000-0000-000000000000","data":{"b":1}}"#
        );
    }
}
