//! What is sent on request: tests, single deliveries, and all that an endpoint has lost.

use std::collections::BTreeSet;

use chrono::TimeDelta;
use futures::future::join_all;
use latchkey_shared::{
    entity::{DeliveryState, ErrorClass},
    id::{DeliveryId, EndpointId},
    principal::Origin,
    retention,
    webhook::{self, Delivery, EndpointPatch, WebhookError},
};
use latchkey_testing::{Answer, Receiver};
use serde_json::json;

use crate::world::World;

async fn redeliver(world: &World, id: DeliveryId) -> Result<Delivery, WebhookError> {
    webhook::redeliver(world.context(), &world.proof(), &Origin::default(), id).await
}

async fn turn(world: &World, id: EndpointId, enabled: bool) {
    let patch = EndpointPatch {
        enabled: Some(enabled),
        ..EndpointPatch::default()
    };
    webhook::update_endpoint(world.context(), &world.proof(), &Origin::default(), id, patch)
        .await
        .unwrap();
}

async fn recover(world: &World, id: EndpointId) -> Result<u64, WebhookError> {
    let since = world.context().clock.now() - TimeDelta::days(1);
    webhook::recover(
        world.context(),
        &world.proof(),
        &Origin::default(),
        id,
        since,
        None,
    )
    .await
}

#[tokio::test]
async fn a_test_goes_to_its_endpoint_alone_whatever_that_asks_for() {
    let world = World::new().await;
    let (one, other) = (Receiver::start().await, Receiver::start().await);
    let id = world
        .endpoint_for(&one.url("/"), &["invoice.paid"])
        .await
        .endpoint
        .id;
    world.endpoint(&other.url("/")).await;
    let worker = world.worker().await;
    let send = || async { webhook::send_test(world.context(), &world.proof(), &Origin::default(), id).await };
    let delivery = send().await.unwrap();
    let body = one.next().await.json();
    assert_eq!(
        (&body["type"], &body["data"]["endpoint_id"]),
        (&json!("webhook.test"), &json!(id))
    );
    assert_eq!(world.attempted(1).await.id, delivery);
    turn(&world, id, false).await;
    assert!(matches!(send().await, Err(WebhookError::EndpointOff)));
    // The other endpoint hears that the first is off, and nothing else.
    assert_eq!(other.next().await.json()["type"], "webhook.endpoint.disabled");
    worker.stop().await;
    assert!(one.rest().await.is_empty() && other.rest().await.is_empty());
}

#[tokio::test]
async fn a_family_of_types_is_one_entry() {
    let world = World::new().await;
    let (family, everything) = (Receiver::start().await, Receiver::start().await);
    world.endpoint_for(&family.url("/"), &["invoice.*"]).await;
    world.endpoint_for(&everything.url("/"), &["*"]).await;
    let worker = world.worker().await;
    for name in [
        "invoice.paid",
        "invoices.paid",
        "invoice.line.added",
        "order.placed",
    ] {
        world.publish(name, json!({})).await;
    }
    for _ in 0..4 {
        everything.next().await;
    }
    let got = [family.next().await, family.next().await].map(|got| got.json()["type"].to_string());
    worker.stop().await;
    assert!(family.rest().await.is_empty());
    assert_eq!(
        BTreeSet::from(got),
        BTreeSet::from(["\"invoice.paid\"".to_owned(), "\"invoice.line.added\"".to_owned()])
    );
}

#[tokio::test]
async fn a_delivery_is_sent_once_more_with_the_same_id_and_bytes_and_a_schedule_of_its_own() {
    let (world, receiver) = (
        World::with(&[("webhooks.schedule", "5,300")]).await,
        Receiver::start().await,
    );
    receiver.answer([Answer::status(204), Answer::status(500), Answer::status(204)]);
    world.endpoint(&receiver.url("/")).await;
    let worker = world.worker().await;
    world.publish("order.placed", json!({"number": 1})).await;
    let first = receiver.next().await;
    let done = world
        .until(|delivery| delivery.state == DeliveryState::Succeeded)
        .await;

    let again = redeliver(&world, done.id).await.unwrap();
    assert_eq!((again.state, again.attempts), (DeliveryState::Pending, 1));
    let second = receiver.next().await;
    let failed = world.attempted(2).await;
    assert_eq!(failed.state, DeliveryState::Pending);
    let wait = failed.next_attempt_at.unwrap() - world.context().clock.now();
    assert!(
        wait <= TimeDelta::seconds(6),
        "the schedule's first wait, not its second: {wait}"
    );
    // It waits; asked for, it is due now.
    redeliver(&world, done.id).await.unwrap();
    let third = receiver.next().await;
    for got in [&second, &third] {
        assert_eq!(got.body, first.body);
        assert_eq!(got.header("webhook-id"), first.header("webhook-id"));
    }
    world
        .until(|delivery| delivery.state == DeliveryState::Succeeded)
        .await;
    let numbers: Vec<i32> = world
        .attempts(done.id)
        .await
        .iter()
        .map(|attempt| attempt.number)
        .collect();
    assert_eq!(numbers, [1, 2, 3]);
    worker.stop().await;
}

#[tokio::test]
async fn of_a_hundred_who_ask_at_once_there_comes_one_call() {
    let (world, receiver) = (World::new().await, Receiver::start().await);
    let id = world.endpoint(&receiver.url("/")).await.endpoint.id;
    let worker = world.worker().await;
    world.publish("order.placed", json!({})).await;
    receiver.next().await;
    let done = world
        .until(|delivery| delivery.state == DeliveryState::Succeeded)
        .await;
    worker.stop().await;

    let asked = join_all((0..100).map(|_| redeliver(&world, done.id))).await;
    assert!(asked.iter().all(Result::is_ok));
    let (one, other) = (world.worker().await, world.worker().await);
    receiver.next().await;
    world
        .until(|delivery| delivery.state == DeliveryState::Succeeded)
        .await;
    one.stop().await;
    other.stop().await;
    assert!(receiver.rest().await.is_empty());
    assert_eq!(world.attempts(done.id).await.len(), 2);
    let audited = "SELECT count(*) FROM audit_events WHERE action = 'webhook_delivery.retry'";
    assert_eq!(world.count(audited).await, 100);

    turn(&world, id, false).await;
    assert!(matches!(
        redeliver(&world, done.id).await,
        Err(WebhookError::EndpointOff)
    ));
    webhook::delete_endpoint(world.context(), &world.proof(), &Origin::default(), id)
        .await
        .unwrap();
    assert!(matches!(
        redeliver(&world, done.id).await,
        Err(WebhookError::EndpointOff)
    ));
}

#[tokio::test]
async fn what_an_endpoint_lost_while_it_was_off_comes_back_once() {
    let (world, receiver) = (World::new().await, Receiver::start().await);
    let id = world.endpoint(&receiver.url("/")).await.endpoint.id;
    receiver.answer([Answer::status(410)]);
    let worker = world.worker().await;
    let mut lost = BTreeSet::from([world.publish("order.placed", json!({})).await.to_string()]);
    receiver.next().await;
    world
        .until(|delivery| delivery.state == DeliveryState::Failed)
        .await;
    worker.stop().await;
    let off = "SELECT count(*) FROM webhook_endpoints WHERE NOT enabled AND disabled_reason = 'gone'";
    assert_eq!(world.count(off).await, 1);
    assert!(matches!(
        recover(&world, id).await,
        Err(WebhookError::EndpointOff)
    ));
    turn(&world, id, true).await;
    lost.extend(world.publish_many(3).await);
    turn(&world, id, false).await;
    turn(&world, id, true).await;

    world.advance(1);
    assert_eq!(recover(&world, id).await.unwrap(), 4);
    assert_eq!(
        recover(&world, id).await.unwrap(),
        0,
        "what is under way is not brought back again"
    );
    let worker = world.worker().await;
    let mut got = BTreeSet::new();
    for _ in 0..4 {
        got.insert(receiver.next().await.header("webhook-id").to_owned());
    }
    worker.stop().await;
    assert_eq!(got, lost);
    assert!(receiver.rest().await.is_empty());
}

#[tokio::test]
async fn a_long_span_is_brought_back_in_chunks_from_where_the_last_one_ended() {
    let world = World::new().await;
    let id = world.endpoint("http://127.0.0.1:9/").await.endpoint.id;
    world.publish("order.placed", json!({})).await;
    world
        .execute(
            "INSERT INTO deliveries (id, tenant_id, event_id, endpoint_id, event_type, state, attempts, sweep_at, created_at)
             SELECT latchkey_uuid_v7(created_at), tenant_id, event_id, endpoint_id, event_type, 'failed', 3, sweep_at, created_at
             FROM deliveries, generate_series(1, 2500)",
        )
        .await;
    world.advance(1);
    let failed = "SELECT count(*) FROM deliveries WHERE state = 'failed'";
    let open = "SELECT count(*) FROM webhook_recoveries";
    assert_eq!(recover(&world, id).await.unwrap(), 2500);
    assert_eq!((world.count(failed).await, world.count(open).await), (1500, 1));
    assert!(webhook::recover::go_on(world.context()).await.unwrap());
    assert_eq!((world.count(failed).await, world.count(open).await), (500, 1));
    assert!(webhook::recover::go_on(world.context()).await.unwrap());
    assert_eq!((world.count(failed).await, world.count(open).await), (0, 0));
    assert!(!webhook::recover::go_on(world.context()).await.unwrap());
    let anew =
        "SELECT count(*) FROM deliveries WHERE state = 'pending' AND earlier_attempts = 3 AND attempts = 3";
    assert_eq!(world.count(anew).await, 2500);
}

#[tokio::test]
async fn a_long_recovery_holds_up_no_other() {
    let mut world = World::new().await;
    for slug in ["long", "short"] {
        world.turn_to(slug).await;
        let id = world.endpoint("http://127.0.0.1:9/").await.endpoint.id;
        world.publish("order.placed", json!({})).await;
        let lost = if slug == "long" { 5000 } else { 1500 };
        world
            .execute(&format!(
                "INSERT INTO deliveries (id, tenant_id, event_id, endpoint_id, event_type, state, attempts, sweep_at, created_at)
                 SELECT latchkey_uuid_v7(created_at), tenant_id, event_id, endpoint_id, event_type, 'failed', 3, sweep_at, created_at
                 FROM deliveries, generate_series(1, {lost}) WHERE endpoint_id = '{id}'"
            ))
            .await;
        world.advance(1);
        assert_eq!(recover(&world, id).await.unwrap(), lost);
    }
    assert!(webhook::recover::go_on(world.context()).await.unwrap());
    let open = "SELECT count(*) FROM webhook_recoveries";
    assert_eq!(
        world.count(open).await,
        1,
        "the short one is done after its second chunk"
    );
    assert_eq!(
        world
            .count("SELECT count(*) FROM deliveries WHERE state = 'failed'")
            .await,
        3000
    );
}

#[tokio::test]
async fn what_has_been_erased_is_not_sent_anew() {
    let world = World::new().await;
    let id = world.endpoint("http://127.0.0.1:9/").await.endpoint.id;
    world.publish("order.placed", json!({ "name": "Ada" })).await;
    let [delivery] = world.deliveries().await.try_into().unwrap();
    for part in [
        "UPDATE deliveries SET state = 'failed', finished_at = now()",
        "UPDATE events SET erase = true",
    ] {
        world.execute(part).await;
    }
    retention::delete_expired(world.context(), 10).await.unwrap();
    world.advance(1);
    let again = redeliver(&world, delivery.id).await;
    assert!(matches!(again, Err(WebhookError::PayloadErased)), "{again:?}");
    assert_eq!(recover(&world, id).await.unwrap(), 0);
    let event = webhook::get_event(world.context(), &world.proof(), delivery.event_id)
        .await
        .unwrap();
    assert!(event.payload_erased && event.payload == *json!({ "erased": true }).as_object().unwrap());
    assert_eq!(world.deliveries().await[0].state, DeliveryState::Failed);
}

/// Either the payload goes first, and there is nothing to send; or the request does, and the payload stays until it is sent.
#[tokio::test]
async fn an_erasure_and_a_request_to_send_anew_do_not_cross() {
    let world = World::new().await;
    world.endpoint("http://127.0.0.1:9/").await;
    for round in 0..10 {
        world.publish("order.placed", json!({ "round": round })).await;
    }
    for part in [
        "UPDATE deliveries SET state = 'failed', finished_at = now()",
        "UPDATE events SET erase = true",
    ] {
        world.execute(part).await;
    }
    let deliveries = world.deliveries().await;
    let erasing = async {
        for _ in 0..10 {
            retention::delete_expired(world.context(), 1).await.unwrap();
        }
    };
    let asking = join_all(deliveries.iter().map(|delivery| redeliver(&world, delivery.id)));
    let (asked, ()) = futures::join!(asking, erasing);
    let granted = asked.iter().filter(|asked| asked.is_ok()).count();
    let whole = "SELECT count(*) FROM deliveries d JOIN events e ON e.id = d.event_id
                 WHERE d.state = 'pending' AND e.body LIKE '%round%' AND NOT e.erased";
    assert_eq!(world.count(whole).await, i64::try_from(granted).unwrap());
}

#[tokio::test]
async fn an_endpoints_health_is_that_of_its_calls_of_a_day() {
    let (world, receiver) = (World::new().await, Receiver::start().await);
    let id = world.endpoint(&receiver.url("/")).await.endpoint.id;
    let health = || async {
        webhook::get_health(world.context(), &world.proof(), id)
            .await
            .unwrap()
    };
    let none = health().await;
    assert_eq!((none.attempts, none.p50_ms, none.last_error_at), (0, None, None));
    receiver.answer([Answer::status(500), Answer::status(204)]);
    let worker = world.worker().await;
    world.publish("order.placed", json!({})).await;
    let failed = world.attempted(1).await;
    redeliver(&world, failed.id).await.unwrap();
    world
        .until(|delivery| delivery.state == DeliveryState::Succeeded)
        .await;
    worker.stop().await;
    let some = health().await;
    assert_eq!((some.attempts, some.succeeded), (2, 1));
    assert_eq!(some.last_error_class, Some(ErrorClass::HttpStatus));
    assert_eq!(some.last_error_status, Some(500));
    assert!(some.p50_ms <= some.p99_ms && some.p99_ms.is_some());
    world.advance(25 * 3600);
    assert_eq!(health().await.attempts, 0);
}
