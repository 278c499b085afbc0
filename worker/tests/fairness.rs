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
    let (hung, events) = Prove::size((500, 50), (5_000, 1_000));
    let mut world = World::new().await;
    let hanging = Receiver::slow(Duration::from_secs(15)).await;
    world.endpoint(&hanging.url("/")).await;
    world.backlog(hung, 0).await;
    world.turn_to("bravo").await;
    let receiver = Receiver::start().await;
    world.endpoint(&receiver.url("/")).await;
    let mut worker = RealProcess::worker(&world.bed).await;
    hanging.next().await;
    let mut waits = waits(&world, &receiver, events).await;
    let called = hanging.most_at_once();
    worker.kill().await;
    waits.sort();
    let (median, tail) = (waits[events / 2], waits[events * 99 / 100]);
    println!(
        "beside {hung} deliveries to an endpoint that hangs, {called} of them at once: {events} events from commit to \
         receipt: p50 {median:.2?}, p99 {tail:.2?}"
    );
    assert!(tail < Duration::from_secs(1), "{tail:?}");
    assert!(
        called <= 8,
        "{called} calls at once to an endpoint that has answered none"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn prove_fairness_a_flood_of_retries_moves_no_first_attempt() {
    let (hung, events) = Prove::size((500, 50), (5_000, 1_000));
    let mut world = World::new().await;
    let hanging = Receiver::slow(Duration::from_secs(15)).await;
    world.endpoint(&hanging.url("/")).await;
    world.backlog(hung, 1).await;
    world.turn_to("bravo").await;
    let receiver = Receiver::start().await;
    world.endpoint(&receiver.url("/")).await;
    let mut worker = RealProcess::worker(&world.bed).await;
    hanging.next().await;
    let mut waits = waits(&world, &receiver, events).await;
    worker.kill().await;
    waits.sort();
    let (median, tail) = (waits[events / 2], waits[events * 99 / 100]);
    println!(
        "beside {hung} retries to an endpoint that hangs: {events} events from commit to receipt: p50 {median:.2?}, \
         p99 {tail:.2?}"
    );
    assert!(tail < Duration::from_secs(1), "{tail:?}");
}

/// A tenant publishes more than the worker can deliver, to endpoints that answer at once.
#[tokio::test(flavor = "multi_thread")]
async fn prove_fairness_the_burst_of_one_tenant_moves_no_other_tenants_deliveries() {
    let (burst, events) = Prove::size((40, 50), (600, 200));
    let mut world = World::new().await;
    let crowd = Counting::default();
    let url = crowd.serve();
    for _ in 0..100 {
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
    let mut waits = waits(&world, &receiver, events).await;
    let left = burst * 100 - crowd.count();
    worker.kill().await;
    waits.sort();
    let (median, tail) = (waits[events / 2], waits[events * 99 / 100]);
    println!(
        "behind {} deliveries of another tenant, {left} of which were left in the end: {events} events from commit to \
         receipt: p50 {median:.2?}, p99 {tail:.2?}",
        burst * 100
    );
    // An unoptimised worker takes seconds for what the stream holds.
    if Prove::is_full() {
        assert!(tail < Duration::from_secs(1), "{tail:?}");
    }
}

/// How long events take from commit to receipt, one after the other.
async fn waits(world: &World, receiver: &Receiver, events: usize) -> Vec<Duration> {
    let mut waits = Vec::new();
    let mut ticks = tokio::time::interval(Duration::from_millis(50));
    for number in 0..events {
        ticks.tick().await;
        world.publish("order.placed", json!({ "number": number })).await;
        let committed = Instant::now();
        waits.push(receiver.next().await.at.saturating_duration_since(committed));
    }
    waits
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
