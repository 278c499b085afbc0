//! The binary itself: killed, asked to stop, asked how it is.

use std::time::Duration;

use latchkey_shared::entity::DeliveryState;
use latchkey_testing::{Answer, RealProcess, Receiver};
use serde_json::json;

use crate::world::World;

#[tokio::test]
async fn s30_a_worker_that_is_killed_amid_a_call_loses_nothing() {
    let (world, receiver) = (World::new().await, Receiver::start().await);
    world.endpoint(&receiver.url("/")).await;
    receiver.answer([Answer::Silence]);
    let mut killed = RealProcess::worker(&world.bed).await;
    world.publish("order.placed", json!({"number": 1})).await;
    let first = receiver.next().await;
    killed.kill().await;

    let worker = world.worker().await;
    // Longer than any lease.
    world.advance(60);
    let second = receiver.next().await;
    assert_eq!(second.body, first.body);
    assert_eq!(second.header("webhook-id"), first.header("webhook-id"));
    assert_eq!(world.attempted(1).await.state, DeliveryState::Succeeded);
    worker.stop().await;
}

#[tokio::test]
async fn s38_a_worker_that_is_asked_to_stop_finishes_its_calls_and_exits_0() {
    let world = World::new().await;
    let receiver = Receiver::slow(Duration::from_millis(500)).await;
    world.endpoint(&receiver.url("/")).await;
    let mut worker = RealProcess::worker(&world.bed).await;
    world.publish("order.placed", json!({})).await;
    receiver.next().await;
    assert!(worker.terminate().await, "{}", worker.printed());
    assert_eq!(world.attempted(1).await.state, DeliveryState::Succeeded);
}

#[tokio::test]
async fn s35_metrics_and_logs_tell_of_calls_and_of_no_secret() {
    let (world, receiver) = (World::new().await, Receiver::start().await);
    let endpoint = world.endpoint(&receiver.url("/canary-4")).await;
    receiver.answer([Answer::status(500)]);
    let worker = RealProcess::worker_with(&world.bed, &[("log.level", "trace")]).await;
    world.publish("order.placed", json!({"token": "canary-4"})).await;
    world.attempted(1).await;

    let metrics = async || {
        reqwest::get(&worker.metrics_url)
            .await
            .unwrap()
            .text()
            .await
            .unwrap()
    };
    // Its first sweep says how much is overdue.
    while !metrics().await.contains("latchkey_deliveries_overdue_seconds ") {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let metrics = metrics().await;
    let counted = r#"latchkey_delivery_attempts_total{outcome="failed",error_class="http_status"} 1"#;
    assert!(metrics.contains(counted), "{metrics}");
    for name in [
        "latchkey_deliveries_in_flight 0",
        "latchkey_queue_jobs{",
        "latchkey_delivery_call_seconds_bucket{",
    ] {
        assert!(metrics.contains(name), "no {name} in {metrics}");
    }
    let live = reqwest::get(format!("{}/health/live", worker.base_url))
        .await
        .unwrap();
    assert_eq!(live.status(), 200);
    let (printed, secret) = (worker.printed(), endpoint.secret.expose().clone());
    for text in [&metrics, &printed] {
        assert!(!text.contains("canary-4") && !text.contains(&secret), "{text}");
    }
}
