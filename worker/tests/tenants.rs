//! What the worker does for tenants that are suspended or gone.

use latchkey_testing::{RealProcess, Receiver};
use serde_json::json;
use tokio::time::Instant;

use crate::world::{DEADLINE, World};

#[tokio::test]
async fn the_events_of_a_suspended_tenant_are_delivered() {
    let (world, receiver) = (World::new().await, Receiver::start().await);
    world.endpoint(&receiver.url("/")).await;
    world.execute("UPDATE tenants SET status = 'suspended'").await;
    let event = world.publish("order.placed", json!({})).await;
    let worker = world.worker().await;
    assert_eq!(receiver.next().await.header("webhook-id"), event.to_string());
    worker.stop().await;
}

#[tokio::test]
async fn a_tenant_whose_grace_is_over_is_removed() {
    let world = World::new().await;
    world.publish_many(20).await;
    world
        .execute("UPDATE tenants SET status = 'deleting', delete_at = now()")
        .await;
    let rows = "SELECT (SELECT count(*) FROM tenants) + (SELECT count(*) FROM events) AS count";
    assert_eq!(world.count(rows).await, 21);
    let mut worker = RealProcess::worker(&world.bed).await;
    let deadline = Instant::now() + DEADLINE;
    while world.count(rows).await > 0 {
        assert!(Instant::now() < deadline, "{}", worker.printed());
        tokio::task::yield_now().await;
    }
    assert!(worker.terminate().await);
    let trail = "SELECT count(*) FROM audit_events WHERE action IN ('tenant.purge', 'tenant.purged')";
    assert_eq!(world.count(trail).await, 2);
}

#[tokio::test]
async fn what_a_worker_counts_is_written_before_it_ends() {
    let world = World::new().await;
    let context = world.bed.context.clone();
    world.publish_many(3).await;
    let worker = crate::world::Worker::start(context, latchkey_worker::SystemLookup::default());
    worker.stop().await;
    assert_eq!(
        world
            .count("SELECT sum(events)::bigint AS count FROM tenant_usage")
            .await,
        3
    );
}
