//! What is lost on the way, and found again.

use std::time::Duration;

use chrono::TimeDelta;
use latchkey_shared::{
    entity::{DeliveryState, ErrorClass},
    id::DeliveryId,
    queue::{self, FULL_STREAM, Lane},
    retention,
    webhook::work::{self, Claimed, Finished, Next, Observed},
};
use latchkey_testing::Receiver;
use sea_orm::ConnectionTrait;
use serde_json::{Value, json};

use crate::{prove_retention::owner, world::World};

#[tokio::test]
async fn s30_a_queue_that_was_lost_is_filled_again() {
    const EVENTS: usize = 20;
    let (world, receiver) = (World::new().await, Receiver::start().await);
    world.endpoint(&receiver.url("/")).await;
    let ids = world.publish_many(EVENTS).await;
    world.lose_queue().await;
    let worker = world.worker().await;
    world.advance(16);
    let mut got = std::collections::BTreeSet::new();
    for _ in 0..EVENTS {
        got.insert(receiver.next().await.header("webhook-id").to_owned());
    }
    worker.stop().await;
    assert_eq!(got, ids);
}

#[tokio::test]
async fn s30_a_queue_that_is_lost_under_a_running_worker_is_filled_again() {
    let (world, receiver) = (World::new().await, Receiver::start().await);
    world.endpoint(&receiver.url("/")).await;
    let worker = world.worker().await;
    world.publish("order.placed", json!({})).await;
    receiver.next().await;
    world.lose_queue().await;
    world.publish("order.placed", json!({})).await;
    world.lose_queue().await;
    world.advance(16);
    receiver.next().await;
    worker.stop().await;
}

/// The delivery, claimed for a minute.
async fn claimed(world: &World, id: DeliveryId) -> Claimed {
    let claimed = work::claim(world.context(), vec![id.0], Duration::from_mins(1)).await;
    claimed.unwrap().remove(0)
}

/// A call without an answer.
fn failed(world: &World, claimed: &Claimed, next: Next) -> Finished {
    let started_at = world.context().clock.now();
    Finished {
        attempt: world.context().uuid(started_at),
        id: claimed.id,
        tenant_id: claimed.tenant_id,
        generation: claimed.generation,
        number: claimed.attempts + 1,
        next,
        observed: Observed {
            started_at,
            duration: Duration::ZERO,
            status: None,
            error_class: Some(ErrorClass::Timeout),
            error_detail: None,
            address: None,
            traceparent: None,
            response_headers: Value::Object(serde_json::Map::new()),
            response_body: None,
        },
    }
}

#[tokio::test]
async fn s30_what_a_dead_worker_had_claimed_is_called_when_its_lease_ends_and_not_before() {
    let (world, receiver) = (World::new().await, Receiver::start().await);
    world.endpoint(&receiver.url("/")).await;
    world.publish("order.placed", json!({})).await;
    let id = world.deliveries().await[0].id;
    let dead = claimed(&world, id).await;

    let worker = world.worker().await;
    world.advance(50);
    world.context().queue.push(Lane::Fresh, [id.0]);
    world.context().queue.push(Lane::Retry, [id.0]);
    settled(&world).await;
    assert!(receiver.rest().await.is_empty());

    world.advance(11);
    receiver.next().await;
    let delivery = world.attempted(1).await;
    assert_eq!(delivery.state, DeliveryState::Succeeded);

    // The first worker was not dead after all, only slow: what it saw is kept and changes nothing.
    let late = failed(&world, &dead, Next::Failed);
    for _ in 0..2 {
        work::record(world.context(), std::slice::from_ref(&late))
            .await
            .unwrap();
    }
    assert_eq!(world.attempted(1).await, delivery);
    assert_eq!(world.attempts(id).await.len(), 2);
    worker.stop().await;
}

#[tokio::test]
async fn s30_what_is_recorded_twice_has_happened_once() {
    let world = World::new().await;
    world.endpoint("http://127.0.0.1:9/").await;
    world.publish("order.placed", json!({})).await;
    let id = world.deliveries().await[0].id;
    let claimed = claimed(&world, id).await;
    let again = Next::Again(world.context().clock.now() + TimeDelta::minutes(5));
    let failed = failed(&world, &claimed, again);
    // The answer to the first may have been lost on its way.
    for _ in 0..2 {
        work::record(world.context(), std::slice::from_ref(&failed))
            .await
            .unwrap();
        assert_eq!(world.deliveries().await[0].attempts, 1);
        assert_eq!(world.attempts(id).await.len(), 1);
    }
}

#[tokio::test]
async fn s30_a_claim_is_one_workers() {
    let (world, receiver) = (World::new().await, Receiver::start().await);
    world.endpoint(&receiver.url("/")).await;
    world.publish_many(20).await;
    let ids: Vec<_> = world
        .deliveries()
        .await
        .iter()
        .map(|delivery| delivery.id.0)
        .collect();
    let claims = (0..20).map(|_| work::claim(world.context(), ids.clone(), Duration::from_mins(1)));
    let claimed = futures::future::join_all(claims).await;
    let total: usize = claimed.into_iter().map(|claimed| claimed.unwrap().len()).sum();
    assert_eq!(total, 20);
}

#[tokio::test]
async fn s30_a_call_that_could_not_be_recorded_at_once_is_not_made_again() {
    let (world, receiver) = (World::new().await, Receiver::start().await);
    world.endpoint(&receiver.url("/")).await;
    let owner = owner(&world).await;
    let worker = world.worker().await;
    owner
        .execute_unprepared("ALTER TABLE attempts RENAME TO attempts_away")
        .await
        .unwrap();
    world.publish("order.placed", json!({})).await;
    receiver.next().await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    owner
        .execute_unprepared("ALTER TABLE attempts_away RENAME TO attempts")
        .await
        .unwrap();
    // The clock of the test stands still: no lease ends.
    let delivery = world.attempted(1).await;
    worker.stop().await;
    assert_eq!(delivery.state, DeliveryState::Succeeded);
    assert_eq!(world.attempts(delivery.id).await.len(), 1);
    assert!(receiver.rest().await.is_empty());
}

#[tokio::test]
async fn deliveries_of_an_event_that_are_claimed_together_share_its_bytes() {
    let world = World::new().await;
    for _ in 0..3 {
        world.endpoint("http://127.0.0.1:9/").await;
    }
    world
        .publish("order.placed", json!({ "text": "a".repeat(1_000) }))
        .await;
    world.publish("order.placed", json!({ "text": "b" })).await;
    let ids = world
        .deliveries()
        .await
        .iter()
        .map(|delivery| delivery.id.0)
        .collect();
    let claimed = work::claim(world.context(), ids, Duration::from_mins(1))
        .await
        .unwrap();
    let bytes: std::collections::BTreeSet<_> = claimed.iter().map(|one| one.body().as_ptr()).collect();
    assert_eq!((claimed.len(), bytes.len()), (6, 2));
}

#[tokio::test]
async fn the_burst_of_one_tenant_is_not_queued_before_everybody_elses_work() {
    let mut world = World::new().await;
    for _ in 0..100 {
        world.endpoint("http://127.0.0.1:9/").await;
    }
    let length = async |world: &World| {
        let context = world.context();
        context.queue.flush().await;
        let prefix = &context.config.redis.key_prefix;
        let depth = queue::depth(&mut context.redis.connection(), prefix, Lane::Fresh).await;
        depth.unwrap().length
    };
    for number in 0..30 {
        world.publish("order.placed", json!({ "number": number })).await;
        length(&world).await;
    }
    let queued = length(&world).await;
    assert!(
        (FULL_STREAM..2 * FULL_STREAM).contains(&queued),
        "{queued} of 3000"
    );
    world.turn_to("globex").await;
    world.endpoint("http://127.0.0.1:9/").await;
    world.publish("order.placed", json!({})).await;
    assert_eq!(length(&world).await, queued + 1, "another's is");
    // The sweep has nothing to wait for.
    let waiting = work::sweep(world.context(), false, 10_000).await.unwrap();
    assert_eq!(waiting.len(), 3_000 - queued);
}

#[tokio::test]
async fn what_has_expired_is_deleted_and_nothing_else() {
    let world = World::new().await;
    let tenant = world.tenant;
    world
        .execute(&format!(
            "INSERT INTO signals SELECT gen_random_uuid(), '{tenant}', 'tenant_changed', '{tenant}', now() + at, now() + at
                 FROM unnest(ARRAY['-2 hours', '-1 hour', '1 hour']::interval[]) AS at;
             INSERT INTO one_time_tokens
                 SELECT at::text::bytea, '{tenant}', 'verify_email', gen_random_uuid(), 'a@example.com', now(), now() + at
                 FROM unnest(ARRAY['-1 hour', '1 hour']::interval[]) AS at"
        ))
        .await;
    assert_eq!(retention::delete_expired(world.context(), 1).await.unwrap(), 1);
    assert_eq!(retention::delete_expired(world.context(), 10).await.unwrap(), 1);
    assert_eq!(retention::delete_expired(world.context(), 10).await.unwrap(), 0);
    assert_eq!(world.count("SELECT count(*) FROM signals").await, 1);
    assert_eq!(world.count("SELECT count(*) FROM one_time_tokens").await, 1);
}

/// Waits until every job that was pushed has run.
async fn settled(world: &World) {
    world.context().queue.flush().await;
    for lane in Lane::ALL {
        let prefix = &world.context().config.redis.key_prefix;
        let mut connection = world.context().redis.connection();
        while queue::depth(&mut connection, prefix, lane).await.unwrap().length > 0 {
            tokio::task::yield_now().await;
        }
    }
}
