//! Calls that fail, and what becomes of them.

use chrono::TimeDelta;
use latchkey_shared::{
    entity::{DeliveryState, ErrorClass},
    principal::Origin,
    webhook::{self, EndpointPatch},
};
use latchkey_testing::{Answer, Receiver};
use serde_json::json;

use crate::world::World;

#[tokio::test]
async fn a_failed_call_is_made_again_with_the_same_id_and_bytes() {
    let (world, receiver) = (World::new().await, Receiver::start().await);
    let endpoint = world.endpoint(&receiver.url("/")).await;
    let body = b"no\0pe".to_vec();
    receiver.answer([
        Answer::Status(500, vec![("x-why", "because".to_owned())], body),
        Answer::status(503),
    ]);
    let worker = world.worker().await;
    world.publish("order.placed", json!({"number": 1})).await;

    let first = receiver.next().await;
    let waiting = world.attempted(1).await;
    assert_eq!(waiting.state, DeliveryState::Pending);
    let wait = waiting.next_attempt_at.unwrap() - world.context().clock.now();
    assert!(
        wait > TimeDelta::seconds(2) && wait <= TimeDelta::seconds(6),
        "{wait}"
    );
    world.advance(6);
    let second = receiver.next().await;
    world.attempted(2).await;
    world.advance(360);
    let third = receiver.next().await;
    let delivery = world.attempted(3).await;
    worker.stop().await;

    for again in [&second, &third] {
        assert_eq!(again.body, first.body);
        assert_eq!(again.header("webhook-id"), first.header("webhook-id"));
    }
    // The library itself refuses a timestamp that is minutes away: only the second is near the machine's time.
    let verifier = standardwebhooks::Webhook::new(endpoint.secret.expose()).unwrap();
    verifier.verify(&second.body, &second.headers).unwrap();
    assert_eq!(delivery.state, DeliveryState::Succeeded);
    let attempts = world.attempts(delivery.id).await;
    let seen: Vec<_> = attempts
        .iter()
        .map(|one| (one.number, one.status, one.error_class))
        .collect();
    assert_eq!(
        seen,
        [
            (1, Some(500), Some(ErrorClass::HttpStatus)),
            (2, Some(503), Some(ErrorClass::HttpStatus)),
            (3, Some(204), None)
        ]
    );
    assert_eq!(attempts[0].response_headers["x-why"], "because");
    assert_eq!(attempts[0].response_body.as_deref(), Some("no\u{fffd}pe"));
}

#[tokio::test]
async fn after_the_last_attempt_it_has_failed() {
    let (world, receiver) = (
        World::with(&[("webhooks.schedule", "1,1")]).await,
        Receiver::start().await,
    );
    world.endpoint(&receiver.url("/")).await;
    receiver.answer([500, 500, 500].map(Answer::status));
    let worker = world.worker().await;
    world.publish("order.placed", json!({})).await;
    for attempts in 1..=3 {
        receiver.next().await;
        world.attempted(attempts).await;
        world.advance(2);
    }
    let delivery = world.attempted(3).await;
    assert_eq!((delivery.state, delivery.attempts), (DeliveryState::Failed, 3));
    assert!(delivery.finished_at.is_some() && delivery.next_attempt_at.is_none());
    worker.stop().await;
    assert!(receiver.rest().await.is_empty());
}

#[tokio::test]
async fn an_endpoint_that_answers_410_is_turned_off_and_the_others_hear_of_it() {
    let world = World::new().await;
    let (gone, other) = (Receiver::start().await, Receiver::start().await);
    let endpoint = world
        .endpoint_for(&gone.url("/"), &["order.placed"])
        .await
        .endpoint;
    world
        .endpoint_for(&other.url("/"), &["webhook.endpoint.disabled"])
        .await;
    gone.answer([Answer::status(410)]);
    let worker = world.worker().await;
    world.publish("order.placed", json!({})).await;

    let told = other.next().await.json();
    assert_eq!(told["data"]["endpoint_id"], endpoint.id.to_string());
    assert_eq!(told["data"]["reason"], "gone");
    let endpoint = webhook::get_endpoint(world.context(), &world.proof(), endpoint.id)
        .await
        .unwrap();
    assert_eq!(
        (endpoint.enabled, endpoint.disabled_reason.as_deref()),
        (false, Some("gone"))
    );
    world.publish("order.placed", json!({})).await;
    worker.stop().await;
    assert_eq!(gone.rest().await.len(), 1);
    let audited = "SELECT count(*) FROM audit_events WHERE action = 'webhook_endpoint.disable' AND actor_kind = 'system'";
    assert_eq!(world.count(audited).await, 1);
    assert_eq!(
        world
            .count("SELECT count(*) FROM deliveries WHERE state = 'failed'")
            .await,
        1
    );
}

#[tokio::test]
async fn what_waits_for_an_endpoint_that_is_turned_off_is_cancelled() {
    let (world, receiver) = (World::new().await, Receiver::start().await);
    let endpoint = world.endpoint(&receiver.url("/")).await.endpoint;
    receiver.answer([Answer::status(500)]);
    let worker = world.worker().await;
    world.publish("order.placed", json!({})).await;
    world.attempted(1).await;
    let off = EndpointPatch {
        enabled: Some(false),
        ..EndpointPatch::default()
    };
    webhook::update_endpoint(
        world.context(),
        &world.proof(),
        &Origin::default(),
        endpoint.id,
        off,
    )
    .await
    .unwrap();
    let delivery = world
        .until(|delivery| delivery.state == DeliveryState::Cancelled)
        .await;
    assert_eq!((delivery.attempts, delivery.next_attempt_at), (1, None));
    world.advance(60);
    worker.stop().await;
    assert_eq!(receiver.rest().await.len(), 1);
}

#[tokio::test]
async fn a_call_under_way_when_its_endpoint_is_turned_off_is_not_made_again() {
    let (world, receiver) = (
        World::with(&[("webhooks.timeout", "1")]).await,
        Receiver::start().await,
    );
    let endpoint = world.endpoint(&receiver.url("/")).await.endpoint;
    receiver.answer([Answer::Silence]);
    let worker = world.worker().await;
    world.publish("order.placed", json!({})).await;
    receiver.next().await;
    webhook::delete_endpoint(world.context(), &world.proof(), &Origin::default(), endpoint.id)
        .await
        .unwrap();
    world.attempted(1).await;
    world.advance(60);
    world
        .until(|delivery| delivery.state == DeliveryState::Cancelled)
        .await;
    worker.stop().await;
    assert!(receiver.rest().await.is_empty());
}
