//! One event to very many endpoints: told at once, spread by and by, to each exactly once.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use futures::future::join_all;
use latchkey_shared::{
    outbox::{self, AT_ONCE, Payload, event::UserRegistered, fan_out},
    principal::{Actor, Origin},
    retention,
};
use latchkey_testing::{Prove, RealProcess, Receiver};
use serde_json::json;
use tokio::time::Instant as Deadline;

use crate::world::{DEADLINE, World};

const DELIVERIES: &str = "SELECT count(*) FROM deliveries";
const ENDPOINTS_WITH_ONE: &str =
    "SELECT count(*) FROM (SELECT FROM deliveries GROUP BY event_id, endpoint_id HAVING count(*) = 1) e";

/// Endpoints that nobody calls.
async fn add_endpoints(world: &World, count: i64) {
    world
        .execute(&format!(
            "INSERT INTO webhook_endpoints (id, tenant_id, url, event_types, header_names, sealed_headers, enabled,
                                            sealed_secret, created_at, updated_at)
             SELECT gen_random_uuid(), '{}', 'http://127.0.0.1:9/', '{{}}', '{{}}', '', true, '', now(), now()
             FROM generate_series(1, {count})",
            world.tenant
        ))
        .await;
}

async fn spread_all(world: &World) {
    while fan_out::step(world.context()).await.unwrap().is_some() {}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_gets_to_ten_thousand_endpoints() {
    let endpoints = Prove::size(500, 10_000);
    let (world, receiver) = (World::new().await, Receiver::start().await);
    for number in 0..endpoints {
        world.endpoint(&receiver.url(&format!("/{number}"))).await;
    }
    let worker = RealProcess::worker(&world.bed).await;
    let memory = worker.memory();
    let began = Instant::now();
    let event = world
        .publish("order.placed", json!({ "number": 1 }))
        .await
        .to_string();
    let told = began.elapsed();
    let mut calls = BTreeMap::<String, usize>::new();
    let mut most = memory;
    for _ in 0..endpoints {
        let got = receiver.next().await;
        assert_eq!(got.header("webhook-id"), event);
        *calls.entry(got.path).or_default() += 1;
        most = most.max(worker.memory());
    }
    let (took, grown) = (began.elapsed(), (most - memory) / 1024 / 1024);
    println!(
        "{endpoints} endpoints: told in {told:.1?}, all called in {took:.1?}; the worker grew by {grown} MiB to {} MiB",
        most / 1024 / 1024
    );
    assert_eq!(calls.len(), endpoints);
    assert!(told < Duration::from_millis(300), "{told:?}");
    assert!(most < 100 * 1024 * 1024, "{most} bytes");
    assert!(receiver.rest().await.is_empty(), "an endpoint was called twice");
    assert_eq!(world.count("SELECT count(*) FROM fanouts").await, 0);
    assert_eq!(
        world.count(ENDPOINTS_WITH_ONE).await,
        i64::try_from(endpoints).unwrap()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s30_a_fan_out_that_is_killed_goes_on_and_gives_each_endpoint_one_delivery() {
    let endpoints = 1_100;
    let (world, receiver) = (World::new().await, Receiver::start().await);
    for number in 0..endpoints {
        world.endpoint(&receiver.url(&format!("/{number}"))).await;
    }
    let mut killed = RealProcess::worker(&world.bed).await;
    world.publish("order.placed", json!({})).await;
    receiver.next().await;
    killed.kill().await;
    assert_eq!(
        world.count("SELECT count(*) FROM fanouts").await,
        1,
        "{}",
        killed.printed()
    );

    let worker = world.worker().await;
    // Longer than any lease.
    world.advance(60);
    let deadline = Deadline::now() + DEADLINE;
    let succeeded = "SELECT count(*) FROM deliveries WHERE state = 'succeeded'";
    while world.count(succeeded).await < endpoints {
        assert!(Deadline::now() < deadline);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    worker.stop().await;
    assert_eq!(world.count(DELIVERIES).await, endpoints);
    assert_eq!(world.count(ENDPOINTS_WITH_ONE).await, endpoints);
}

#[tokio::test]
async fn workers_that_spread_at_once_write_each_delivery_once() {
    let world = World::new().await;
    add_endpoints(&world, 2_100).await;
    for _ in 0..3 {
        world.publish("order.placed", json!({})).await;
    }
    let contexts = join_all((0..4).map(|_| world.bed.another_process())).await;
    while world.count("SELECT count(*) FROM fanouts").await > 0 {
        for step in join_all(contexts.iter().map(fan_out::step)).await {
            step.unwrap();
        }
    }
    assert_eq!(world.count(DELIVERIES).await, 6_300);
    assert_eq!(world.count(ENDPOINTS_WITH_ONE).await, 6_300);
}

#[tokio::test]
async fn up_to_two_hundred_endpoints_get_an_event_at_once() {
    let world = World::new().await;
    add_endpoints(&world, AT_ONCE).await;
    world.publish("order.placed", json!({})).await;
    assert_eq!(world.count(DELIVERIES).await, AT_ONCE);
    add_endpoints(&world, 1).await;
    world.publish("order.placed", json!({})).await;
    assert_eq!(world.count(DELIVERIES).await, AT_ONCE);
    spread_all(&world).await;
    assert_eq!(world.count(DELIVERIES).await, 2 * AT_ONCE + 1);
    // As if they had been written with the event.
    let beside = "SELECT count(*) FROM deliveries d JOIN events e ON e.id = d.event_id WHERE e.created_at = d.created_at";
    assert_eq!(world.count(beside).await, 2 * AT_ONCE + 1);
}

#[tokio::test]
async fn events_written_together_are_spread_where_their_deliveries_are_very_many() {
    let world = World::new().await;
    add_endpoints(&world, 100).await;
    let written = async |events: usize| {
        let (context, origin) = (world.context(), Origin::default());
        let mut change = context
            .change(world.tenant, Actor::System, &origin)
            .await
            .unwrap();
        let data: Vec<_> = (0..events).map(|_| UserRegistered::example()).collect();
        outbox::emit_each(&mut change, None, &data).await.unwrap();
        change.commit().await.unwrap();
        world.count(DELIVERIES).await
    };
    assert_eq!(written(20).await, 2_000);
    assert_eq!(written(21).await, 2_000, "the second ones are yet to be spread");
    spread_all(&world).await;
    assert_eq!(world.count(DELIVERIES).await, 4_100);
    assert_eq!(world.count(ENDPOINTS_WITH_ONE).await, 4_100);
}

#[tokio::test]
async fn the_burst_of_one_tenant_keeps_no_other_waiting() {
    let mut world = World::new().await;
    add_endpoints(&world, AT_ONCE + 1).await;
    for _ in 0..60 {
        world.publish("order.placed", json!({})).await;
    }
    world.turn_to("globex").await;
    add_endpoints(&world, AT_ONCE + 1).await;
    world.publish("order.placed", json!({})).await;
    // By lot: not to be drawn in thirty turns happens once in a thousand million times.
    for _ in 0..30 {
        fan_out::step(world.context()).await.unwrap();
    }
    let of_globex = format!("{DELIVERIES} WHERE tenant_id = '{}'", world.tenant);
    assert_eq!(world.count(&of_globex).await, AT_ONCE + 1);
    assert!(
        world.count("SELECT count(*) FROM fanouts").await > 0,
        "the burst goes on"
    );
}

#[tokio::test]
async fn an_event_goes_to_those_who_were_there_and_still_are() {
    let world = World::new().await;
    add_endpoints(&world, AT_ONCE + 3).await;
    let change = async |set: &str, offset: i64| {
        world
            .execute(&format!(
                "UPDATE webhook_endpoints SET {set}
                 WHERE id = (SELECT id FROM webhook_endpoints ORDER BY id OFFSET {offset} LIMIT 1)"
            ))
            .await;
    };
    change("enabled = false", 0).await;
    change("event_types = ARRAY['invoice.paid']", 1).await;
    world.publish("order.placed", json!({})).await;
    change("enabled = true", 0).await;
    change("event_types = ARRAY['order.placed']", 1).await;
    change("enabled = false", 2).await;
    add_endpoints(&world, 10).await;
    spread_all(&world).await;
    assert_eq!(world.count(DELIVERIES).await, AT_ONCE);
}

#[tokio::test]
async fn an_event_that_is_being_spread_keeps_its_bytes() {
    let world = World::new().await;
    add_endpoints(&world, AT_ONCE + 1).await;
    world.publish("order.placed", json!({ "name": "Ada" })).await;
    world.execute("UPDATE events SET erase = true").await;
    let with_data = "SELECT count(*) FROM events WHERE body LIKE '%Ada%'";
    retention::delete_expired(world.context(), 10).await.unwrap();
    assert_eq!(world.count(with_data).await, 1);
    spread_all(&world).await;
    retention::delete_expired(world.context(), 10).await.unwrap();
    assert_eq!(world.count(with_data).await, 1);
    world.execute("UPDATE deliveries SET state = 'succeeded'").await;
    retention::delete_expired(world.context(), 10).await.unwrap();
    assert_eq!(world.count(with_data).await, 0);
}
