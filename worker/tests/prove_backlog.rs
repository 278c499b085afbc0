//! How fast an event gets to its receiver, and how fast a backlog is worked off.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use latchkey_shared::{entity::DeliveryState, webhook::work};
use latchkey_testing::{Prove, RealProcess, Receiver};
use sea_orm::ConnectionTrait;
use serde_json::json;

use crate::{prove_retention::owner, world::World};

async fn drains(attempts: i32) {
    let count = Prove::size(2_000, 20_000);
    let settings = [("worker.sweep_interval", "1"), ("log.level", "warn")];
    let (world, receiver) = (World::with(&settings).await, Receiver::start().await);
    world.endpoint(&receiver.url("/")).await;
    world.backlog(count, attempts).await;
    let mut worker = RealProcess::worker(&world.bed).await;
    let began = Instant::now();
    let mut ids = HashMap::<String, usize>::new();
    for _ in 0..count {
        *ids.entry(receiver.next().await.header("webhook-id").to_owned())
            .or_default() += 1;
    }
    let took = began.elapsed();
    assert!(worker.terminate().await, "{}", worker.printed());
    println!("{count} deliveries with {attempts} attempts behind them: {took:.2?}");
    assert_eq!(ids.len(), count);
    assert!(receiver.rest().await.is_empty(), "a delivery was called twice");
    for wrong in [
        "SELECT count(*) FROM deliveries WHERE state <> 'succeeded' OR lease_until IS NOT NULL",
        "SELECT count(*) FROM attempts WHERE error_class IS NOT NULL",
    ] {
        assert_eq!(world.count(wrong).await, 0, "{wrong}");
    }
    worker.assert_no_error();
}

#[tokio::test(flavor = "multi_thread")]
async fn s31_events_that_gathered_while_no_worker_lived_are_worked_off() {
    drains(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s31_retries_that_are_due_at_once_are_worked_off() {
    drains(1).await;
}

/// The median of sweeps for retries, of which there are none.
async fn empty_sweep(world: &World) -> Duration {
    let mut took = Vec::new();
    for _ in 0..41 {
        let began = Instant::now();
        assert!(work::sweep(world.context(), true, 100).await.unwrap().is_empty());
        took.push(began.elapsed());
    }
    took.sort();
    took[20]
}

#[tokio::test(flavor = "multi_thread")]
async fn first_attempts_and_retries_are_found_without_walking_past_each_other() {
    let count = Prove::size(5_000, 1_000_000);
    let world = World::new().await;
    world.endpoint("http://127.0.0.1:9/").await;
    let alone = empty_sweep(&world).await;
    for made in (0..count).step_by(100_000) {
        world.backlog(100_000.min(count - made), 0).await;
    }
    owner(&world)
        .await
        .execute_unprepared("ANALYZE deliveries")
        .await
        .unwrap();
    let beside = empty_sweep(&world).await;
    println!("a sweep that finds no retry: {alone:.2?} alone, {beside:.2?} beside {count} first attempts");
    world.backlog(1, 1).await;
    let (retries, first) = (
        work::sweep(world.context(), true, 100).await.unwrap(),
        work::sweep(world.context(), false, 100).await.unwrap(),
    );
    assert_eq!((retries.len(), first.len()), (1, 100));
    assert!(!first.contains(&retries[0]));
    if Prove::is_full() {
        assert!(beside < alone * 3, "{beside:.2?} against {alone:.2?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_is_with_its_receiver_in_no_time() {
    let count = Prove::size(50, 1_000);
    let (world, receiver) = (World::new().await, Receiver::start().await);
    world.endpoint(&receiver.url("/")).await;
    let worker = world.worker().await;
    world.publish("order.placed", json!({})).await;
    receiver.next().await;
    let mut ticks = tokio::time::interval(Duration::from_millis(20));
    let mut waits = Vec::new();
    for number in 0..count {
        ticks.tick().await;
        let began = Instant::now();
        world.publish("order.placed", json!({ "number": number })).await;
        waits.push(receiver.next().await.at - began);
    }
    worker.stop().await;
    waits.sort();
    let (median, tail) = (waits[count / 2], waits[count * 99 / 100]);
    println!(
        "{count} events at 50/s, from before the request's transaction to the receiver: p50 {median:.2?}, p99 {tail:.2?}"
    );
    if Prove::is_full() {
        assert!(median < Duration::from_millis(10), "{median:?}");
    }
    assert!(
        world
            .deliveries()
            .await
            .iter()
            .all(|delivery| delivery.state == DeliveryState::Succeeded)
    );
}
