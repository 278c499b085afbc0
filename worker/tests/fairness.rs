//! No endpoint and no tenant makes the others wait.

use std::time::{Duration, Instant};

use latchkey_shared::{
    config::Rate,
    entity::DeliveryState,
    principal::Origin,
    webhook::{self, NewEndpoint},
};
use latchkey_testing::{Answer, Counting, Prove, RealProcess, Receiver};
use serde_json::json;

use crate::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn prove_fairness_an_endpoint_that_hangs_moves_no_other_tenants_deliveries() {
    beside_one_that_hangs("deliveries", 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn prove_fairness_a_flood_of_retries_moves_no_first_attempt() {
    beside_one_that_hangs("retries", 1).await;
}

/// So long events take while very many deliveries, each with so many attempts behind it, wait for another tenant's endpoint
/// that hangs.
async fn beside_one_that_hangs(what: &str, attempts: i32) {
    let (hung, events) = Prove::size((500, 50), (5_000, 1_000));
    let mut world = World::new().await;
    let hanging = Receiver::slow(Duration::from_secs(15)).await;
    world.endpoint(&hanging.url("/")).await;
    world.backlog(hung, attempts).await;
    world.turn_to("bravo").await;
    let receiver = Receiver::start().await;
    world.endpoint(&receiver.url("/")).await;
    let mut worker = RealProcess::worker(&world.bed).await;
    hanging.next().await;
    let (median, tail) = waits(&world, &receiver, events, Duration::from_millis(50)).await;
    let called = hanging.most_at_once();
    worker.kill().await;
    println!(
        "beside {hung} {what} to an endpoint that hangs, {called} of them at once: {events} events from commit to receipt: \
         p50 {median:.2?}, p99 {tail:.2?}"
    );
    assert!(tail < Duration::from_secs(1), "{tail:?}");
    assert!(
        called <= 8,
        "{called} calls at once to an endpoint that has answered none"
    );
}

/// A tenant publishes more than the worker can deliver, to endpoints that answer at once.
#[tokio::test(flavor = "multi_thread")]
async fn prove_fairness_the_burst_of_one_tenant_moves_no_other_tenants_deliveries() {
    let (burst, endpoints, events) = Prove::size((40, 100, 50), (600, 200, 200));
    let mut world = World::new().await;
    let crowd = Counting::default();
    let url = crowd.serve();
    for _ in 0..endpoints {
        world.endpoint(&url).await;
    }
    let acme = world.tenant;
    world.turn_to("bravo").await;
    let receiver = Receiver::start().await;
    world.endpoint(&receiver.url("/")).await;
    let bravo = std::mem::replace(&mut world.tenant, acme);
    let mut worker = RealProcess::worker(&world.bed).await;
    for number in 0..burst {
        world.publish("order.placed", json!({ "number": number })).await;
    }
    world.tenant = bravo;
    let (median, tail) = waits(&world, &receiver, events, Duration::from_millis(5)).await;
    let left = burst * endpoints - crowd.count();
    worker.kill().await;
    println!(
        "behind {} deliveries of another tenant, {left} of which were left in the end: {events} events from commit to \
         receipt: p50 {median:.2?}, p99 {tail:.2?}",
        burst * endpoints
    );
    // An unoptimised worker takes seconds for what the stream holds.
    if Prove::is_full() {
        assert!(tail < Duration::from_secs(1), "{tail:?}");
    }
}

/// How long events take from commit to receipt, one after the other and so far apart: the median and the 99th percentile.
async fn waits(world: &World, receiver: &Receiver, events: usize, apart: Duration) -> (Duration, Duration) {
    let mut waits = Vec::new();
    let mut ticks = tokio::time::interval(apart);
    for number in 0..events {
        ticks.tick().await;
        world.publish("order.placed", json!({ "number": number })).await;
        let committed = Instant::now();
        waits.push(receiver.next().await.at.saturating_duration_since(committed));
    }
    waits.sort();
    (waits[events / 2], waits[events * 99 / 100])
}

#[tokio::test]
async fn an_endpoint_is_called_no_more_often_than_its_limit_says() {
    // A busy machine is no outage, in which each worker would count for itself.
    let world = World::with(&[("limits.redis_timeout", "5")]).await;
    let receiver = Receiver::start().await;
    let limited = NewEndpoint {
        url: receiver.url("/"),
        rate_limit: Some(Rate {
            count: 3.try_into().unwrap(),
            window: Duration::from_hours(1),
        }),
        enabled: true,
        ..NewEndpoint::default()
    };
    webhook::create_endpoint(world.context(), &world.proof(), &Origin::default(), limited)
        .await
        .unwrap();
    world.backlog(10, 0).await;
    // The clock of the test stands still; the backlog is of the machine's.
    world.advance(60);
    // They share the limit.
    let workers = [world.worker().await, world.worker().await];
    let given_back =
        "SELECT count(*) FROM deliveries WHERE attempts = 0 AND lease_until IS NULL AND generation > 0
                      AND next_attempt_at > created_at";
    let deadline = Instant::now() + crate::world::DEADLINE;
    while world.count(given_back).await < 7 {
        assert!(Instant::now() < deadline, "{:?}", world.deliveries().await);
        tokio::task::yield_now().await;
    }
    for worker in workers {
        worker.stop().await;
    }
    assert_eq!(receiver.rest().await.len(), 3);
}

#[tokio::test]
async fn what_had_to_wait_for_its_turn_has_lost_no_attempt() {
    let world = World::with(&[("webhooks.timeout", "0.5")]).await;
    let receiver = Receiver::start().await;
    world.endpoint(&receiver.url("/")).await;
    receiver.answer(std::iter::repeat_n(Answer::Silence, 8));
    world.backlog(40, 0).await;
    let worker = world.worker().await;
    let deadline = Instant::now() + crate::world::DEADLINE;
    let waiting = "SELECT count(*) FROM deliveries WHERE state = 'pending' AND attempts = 0";
    let held = "SELECT count(*) FROM deliveries WHERE lease_until IS NOT NULL AND state = 'pending'";
    while world.count(waiting).await > 0 {
        assert!(Instant::now() < deadline);
        if world.count(held).await == 0 {
            world.advance(10);
        }
        tokio::task::yield_now().await;
    }
    worker.stop().await;
    let deliveries = world.deliveries().await;
    let done = deliveries
        .iter()
        .filter(|delivery| delivery.state == DeliveryState::Succeeded)
        .count();
    assert!(done >= 32, "{done}");
    let counted = "SELECT count(*) FROM deliveries d
                   WHERE attempts <> (SELECT count(*) FROM attempts a WHERE a.delivery_id = d.id)";
    assert_eq!(world.count(counted).await, 0);
}
