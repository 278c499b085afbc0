//! The binary itself: killed, and asked to stop.

use std::process::Stdio;

use latchkey_shared::entity::DeliveryState;
use latchkey_testing::{Answer, Receiver};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use tokio::process::{Child, Command};

use crate::world::{DEADLINE, World};

fn start(world: &World) -> Child {
    Command::new(env!("CARGO_BIN_EXE_latchkey-worker"))
        .envs(world.bed.environment())
        .env("LATCHKEY__LOG__LEVEL", "warn")
        .stdout(Stdio::inherit())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

#[tokio::test]
async fn s30_a_worker_that_is_killed_amid_a_call_loses_nothing() {
    let (world, receiver) = (World::new().await, Receiver::start().await);
    world.endpoint(&receiver.url("/")).await;
    receiver.answer([Answer::Silence]);
    let mut killed = start(&world);
    world.publish("order.placed", json!({"number": 1})).await;
    let first = receiver.next().await;
    killed.kill().await.unwrap();

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
    let receiver = Receiver::slow(std::time::Duration::from_millis(500)).await;
    world.endpoint(&receiver.url("/")).await;
    let mut worker = start(&world);
    world.publish("order.placed", json!({})).await;
    receiver.next().await;
    let pid = Pid::from_raw(i32::try_from(worker.id().unwrap()).unwrap()).unwrap();
    kill_process(pid, Signal::TERM).unwrap();
    let status = tokio::time::timeout(DEADLINE, worker.wait()).await.expect("an end in time").unwrap();
    assert_eq!(status.code(), Some(0));
    assert_eq!(world.attempted(1).await.state, DeliveryState::Succeeded);
}
