//! The outbox: what happened, written down in the very transaction in which it happened.
//!
//! An event is a row whose body is the text that receivers get, byte for byte. Together with it stands one
//! delivery for each endpoint of the tenant that is enabled and asks for the type. After the commit the
//! deliveries' ids go to the queue; what is lost on the way, the sweep finds again by `sweep_at`. For more endpoints than
//! [`AT_ONCE`] the event is written alone, with a note of who gets it, and the worker writes the deliveries ([`fan_out`]).
//!
//! A delivery's id bears the instant of its event's: see `partition`.
//!
//! What must never happen: an event of a change that did not commit; a change without its event; a body that is
//! made anew for a second attempt.

mod direct;
mod erase;
pub mod event;
mod event_type;
pub mod fan_out;
mod payload;

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use sea_orm::{FromQueryResult, raw_sql};
use serde::Serialize;
use uuid::Uuid;

pub(crate) use self::{direct::emit_to, erase::erase_marked, payload::mark_old};
pub use self::{
    event::Payload,
    event_type::{
        EventType, InvalidEventType, MAX_NAME, OwnEventType, asked_by, is_built_in, is_pattern,
        is_subscribable,
    },
};
use crate::{
    clock::Timestamp,
    context::Change,
    error::Internal,
    id::{EventId, TenantId, UserId},
    queue::Lane,
    trace::TraceContext,
    usage::Counter,
};

/// With more endpoints than that, an event's deliveries are not written in its own transaction.
pub const AT_ONCE: i64 = 200;
/// Nor are those of events that are written together, where they come to more than that.
const ROWS_AT_ONCE: i64 = 2_000;

/// The text that is stored, signed and sent.
#[derive(Serialize, JsonSchema)]
struct Body<'a, T> {
    /// The type of the event.
    #[serde(rename = "type")]
    event_type: &'a str,
    /// When it happened.
    #[schemars(with = "DateTime<Utc>")]
    timestamp: String,
    /// The tenant that it happened in.
    tenant_id: TenantId,
    /// What happened.
    data: &'a T,
}

/// Writes a built-in event and its deliveries, to be committed with the change or not at all. `about` is the user
/// whose data it holds.
///
/// # Errors
/// When `data` cannot be written as JSON or the database refuses; the change must not be committed then.
pub async fn emit<P: Payload>(
    change: &mut Change<'_>,
    about: Option<UserId>,
    data: &P,
) -> Result<EventId, Internal> {
    count(change, P::TYPE, 1);
    let name = P::TYPE.as_str();
    let event = prepare(change, name, data)?;
    let id = event.id;
    write_each(change, name, About::One(about), vec![event]).await?;
    Ok(id)
}

/// As [`emit`], of many events of one type about one user, in one statement.
///
/// # Errors
/// As [`emit`].
pub async fn emit_each<P: Payload>(
    change: &mut Change<'_>,
    about: Option<UserId>,
    data: &[P],
) -> Result<(), Internal> {
    count(change, P::TYPE, data.len());
    let name = P::TYPE.as_str();
    let events = prepare_each(change, name, data)?;
    write_each(change, name, About::One(about), events).await
}

/// As [`emit`], of many events of one type, each about a user of its own, in one statement.
///
/// # Errors
/// As [`emit`].
pub async fn emit_about_each<P: Payload>(
    change: &mut Change<'_>,
    data: &[(UserId, P)],
) -> Result<(), Internal> {
    let name = P::TYPE.as_str();
    let events = prepare_each(change, name, data.iter().map(|(_, data)| data))?;
    let users = data.iter().map(|(user, _)| user.0).collect();
    write_each(change, name, About::Each(users), events).await
}

/// Writes events of a type of the tenant's own, each caused in a trace of its own, as [`emit_each`] does; their ids, in the
/// order of their data.
///
/// # Errors
/// As [`emit`].
pub async fn emit_own(
    change: &mut Change<'_>,
    event_type: &OwnEventType,
    data: Vec<(impl Serialize, Option<TraceContext>)>,
) -> Result<Vec<EventId>, Internal> {
    let name = event_type.as_str();
    let events = data
        .into_iter()
        .map(|(data, trace)| {
            Ok(Prepared {
                trace,
                ..prepare(change, name, &data)?
            })
        })
        .collect::<Result<Vec<_>, Internal>>()?;
    let ids = events.iter().map(|event| event.id).collect();
    write_each(change, name, About::One(None), events).await?;
    Ok(ids)
}

/// What some events say of the tenant's usage.
fn count(change: &mut Change<'_>, event_type: EventType, times: usize) {
    match event_type {
        EventType::SessionCreated => change.count(Counter::SignIns, times),
        EventType::UserRegistered => change.count(Counter::Registrations, times),
        _ => {}
    }
}

/// An event that is to be written.
struct Prepared {
    id: EventId,
    /// The text that receivers get.
    body: String,
    trace: Option<TraceContext>,
}

fn prepare(change: &Change<'_>, name: &str, data: &impl Serialize) -> Result<Prepared, serde_json::Error> {
    let body = Body {
        event_type: name,
        timestamp: Timestamp(change.now).text(),
        tenant_id: change.tenant,
        data,
    };
    Ok(Prepared {
        id: EventId(change.context.uuid(change.now)),
        body: serde_json::to_string(&body)?,
        trace: change.origin.trace,
    })
}

fn prepare_each(
    change: &Change<'_>,
    name: &str,
    data: impl IntoIterator<Item = impl Serialize>,
) -> Result<Vec<Prepared>, serde_json::Error> {
    data.into_iter()
        .map(|data| prepare(change, name, &data))
        .collect()
}

/// Whose data events hold.
enum About {
    /// All of them the same user's, or none's.
    One(Option<UserId>),
    /// A user for each event.
    Each(Vec<Uuid>),
}

#[derive(FromQueryResult)]
struct Written {
    id: Uuid,
}

async fn write_each(
    change: &mut Change<'_>,
    name: &str,
    about: About,
    events: Vec<Prepared>,
) -> Result<(), Internal> {
    change.count(Counter::Events, events.len());
    let many = i64::try_from(events.len()).map_err(Internal::fault)?;
    let (tenant, now, asked) = (change.tenant, change.now, asked_by(name));
    // `unnest` fills the shorter list up with nulls.
    let (user, users) = match about {
        About::One(user) => (user, Vec::new()),
        About::Each(users) => (None, users),
    };
    let (mut ids, mut bodies, mut traces) = (Vec::new(), Vec::new(), Vec::new());
    for Prepared { id, body, trace } in events {
        ids.push(id.0);
        bodies.push(body);
        traces.push(trace.map(|trace| trace.to_string()).unwrap_or_default());
    }
    // The job is about to be queued; until then the sweep has nothing to do with it.
    let queued = change.context.queue.admits(tenant);
    let sweep_at = if queued {
        now + change.context.config.worker.queue_grace
    } else {
        now
    };
    let deliveries = Written::find_by_statement(raw_sql!(
        Postgres,
        "WITH wanting AS MATERIALIZED (
             SELECT array_agg(p.id ORDER BY p.id) AS ids,
                    count(*) > {AT_ONCE} OR count(*) * {many} > {ROWS_AT_ONCE} AS later
             FROM webhook_endpoints p
             WHERE p.tenant_id = {tenant} AND p.enabled AND p.deleted_at IS NULL
               AND (cardinality(p.event_types) = 0 OR p.event_types && {asked}::text[])),
         written AS (
             INSERT INTO events (id, tenant_id, type, body, user_id, traceparent, created_at)
             SELECT id, {tenant}, {name}, body, coalesce(about, {user}), nullif(trace, ''), {now}
             FROM unnest({ids}::uuid[], {bodies}::text[], {users}::uuid[], {traces}::text[]) AS e (id, body, about, trace)
             RETURNING id),
         spread_later AS (
             INSERT INTO fanouts (id, tenant_id, event_ids, event_type, endpoint_ids, created_at, touched_at)
             SELECT latchkey_uuid_beside(e.first), {tenant}, e.ids, {name}, w.ids, {now}, {now}
             FROM wanting w,
                  (SELECT array_agg(id) AS ids, (array_agg(id))[1] AS first FROM written) e
             WHERE w.later AND e.first IS NOT NULL)
         INSERT INTO deliveries (id, tenant_id, event_id, endpoint_id, event_type, state,
                                 next_attempt_at, sweep_at, created_at)
         SELECT latchkey_uuid_beside(e.id), {tenant}, e.id, p.id, {name}, 'pending', {now}, {sweep_at}, {now}
         FROM written e CROSS JOIN wanting w CROSS JOIN unnest(w.ids) AS p (id)
         WHERE NOT w.later
         RETURNING id"
    ))
    .all(&change.tx)
    .await?;
    if queued {
        change.context.queue.charge(tenant, deliveries.len());
        for delivery in deliveries {
            change.enqueue(Lane::Fresh, delivery.id);
        }
    }
    Ok(())
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
            timestamp: Timestamp(at).text(),
            tenant_id: TenantId(Uuid::nil()),
            data: &data,
        };
        assert_eq!(
            serde_json::to_string(&body).unwrap(),
            r#"{"type":"a.b","timestamp":"2026-01-01T00:00:00.123Z","tenant_id":"00000000-0000-0000-0000-000000000000","data":{"b":1}}"#
        );
    }
}
