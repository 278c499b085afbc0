//! The binary itself: killed, asked to stop, asked how it is.

use std::{net, time::Duration};

use futures::future::join_all;
use latchkey_shared::{
    entity::{DeliveryState, ErrorClass},
    partition,
};
use latchkey_testing::{Answer, PrivateRedis, RealProcess, Receiver, Way};
use sea_orm::{ConnectionTrait, Database};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    process::Command,
    time::{Instant, sleep, timeout},
};

use crate::world::{DEADLINE, World};

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
async fn s30_a_worker_that_was_stopped_amid_a_call_writes_over_nobody_and_goes_on() {
    let (world, receiver) = (World::new().await, Receiver::start().await);
    world.endpoint(&receiver.url("/")).await;
    receiver.answer([Answer::Silence]);
    // Stopped while it makes one, it would hold the tables until PostgreSQL ends its transaction.
    partition::make_ahead(world.context()).await.unwrap();
    let stopped = RealProcess::worker_with(&world.bed, &[("webhooks.timeout", "1")]).await;
    let event = world.publish("order.placed", json!({"number": 1})).await;
    let first = receiver.next().await;
    stopped.signal("STOP").await;

    let worker = world.worker().await;
    let second = loop {
        // Longer than any lease; and again, because Redis may hand the job to the one that is stopped.
        world.advance(60);
        if let Ok(second) = timeout(Duration::from_secs(1), receiver.next()).await {
            break second;
        }
    };
    assert_eq!(
        (&second.body, second.header("webhook-id")),
        (&first.body, event.to_string().as_str())
    );
    let delivered = world.attempted(1).await;
    assert_eq!(delivered.state, DeliveryState::Succeeded);
    worker.stop().await;

    // It finds its call's time to be over, and writes that down beside what the other has done.
    stopped.signal("CONT").await;
    let deadline = Instant::now() + DEADLINE;
    while world.attempts(delivered.id).await.len() < 2 {
        assert!(Instant::now() < deadline, "{}", stopped.printed());
        sleep(Duration::from_millis(20)).await;
    }
    let late = world.attempts(delivered.id).await;
    let late = late.iter().find(|attempt| !attempt.succeeded).unwrap();
    assert_eq!(late.error_class, Some(ErrorClass::Timeout));
    let [after] = world.deliveries().await.try_into().unwrap();
    assert_eq!(after, delivered);
    world.publish("order.placed", json!({"number": 2})).await;
    assert_eq!(receiver.next().await.json()["data"]["number"], 2);
}

#[tokio::test]
async fn a_connection_that_is_of_no_more_use_is_closed() {
    let (world, listener) = (
        World::new().await,
        TcpListener::bind("127.0.0.1:0").await.unwrap(),
    );
    let url = format!("http://{}/", listener.local_addr().unwrap());
    world.endpoint(&url).await;
    let worker = RealProcess::worker_with(&world.bed, &[("worker.keep_alive", "1")]).await;
    world.publish("order.placed", json!({})).await;
    let (mut connection, _) = listener.accept().await.unwrap();
    let mut request = [0; 4096];
    assert!(connection.read(&mut request).await.unwrap() > 0);
    connection
        .write_all(b"HTTP/1.1 204 No Content\r\n\r\n")
        .await
        .unwrap();
    let rest = timeout(Duration::from_secs(10), connection.read_to_end(&mut Vec::new())).await;
    rest.expect("it is kept").unwrap();
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", worker.pid())).unwrap();
    let files = limits
        .lines()
        .find(|line| line.starts_with("Max open files"))
        .unwrap();
    let files: Vec<&str> = files.split_whitespace().collect();
    assert_eq!(files[3], files[4], "{files:?}");
}

#[tokio::test]
async fn s37_a_worker_with_unsafe_settings_names_every_fault_and_does_not_start() {
    let world = World::new().await;
    // Both databases, to a worker that has begun.
    let databases = net::TcpListener::bind("127.0.0.1:0").unwrap();
    databases.set_nonblocking(true).unwrap();
    let there = databases.local_addr().unwrap();
    let mut worker = Command::new(env!("CARGO_BIN_EXE_latchkey-worker"));
    worker
        .env_clear()
        .envs(world.bed.environment())
        .env("LATCHKEY__SERVER__ENVIRONMENT", "production")
        .env("LATCHKEY__SERVER__PUBLIC_URL", "http://id.example.com")
        .env("LATCHKEY__WEBHOOKS__ALLOWED_CIDRS", "0.0.0.0/0")
        .env("LATCHKEY__WORKER__CONCURENCY", "8")
        .env("LATCHKEY__POSTGRES__URL", format!("postgres://u:p@{there}/none"))
        .env("LATCHKEY__REDIS__URL", format!("redis://{there}/0"))
        .kill_on_drop(true);
    let output = timeout(DEADLINE, worker.output()).await.unwrap().unwrap();
    let told = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert_eq!(output.status.code(), Some(1), "{told}");
    for fault in [
        "server.public_url: ",
        "server.trusted_proxies: ",
        "mail.transport: ",
        "passwords: ",
        "webhooks.allowed_cidrs: ",
        "worker.concurency: is not a setting",
    ] {
        assert!(told.contains(&format!("\n{fault}")), "{fault} in {told}");
    }
    assert!(databases.accept().is_err(), "it has started to start");
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

/// Waits until the worker's readiness is so: its status, and what it says of PostgreSQL and Redis.
async fn until_ready_is(worker: &RealProcess, status: u16, [postgres, redis]: [&str; 2]) {
    let word = if status == 200 { "ready" } else { "not_ready" };
    let expected = json!({ "status": word, "postgres": postgres, "redis": redis });
    let deadline = Instant::now() + DEADLINE;
    loop {
        let answer = reqwest::get(format!("{}/health/ready", worker.base_url)).await;
        let answer = answer.unwrap();
        let told = (answer.status().as_u16(), answer.json::<Value>().await.unwrap());
        if told == (status, expected.clone()) {
            return;
        }
        assert!(Instant::now() < deadline, "{told:?}, not {status}: {expected}");
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_is_ready_while_both_databases_answer_and_alive_in_any_case() {
    let mut redis = PrivateRedis::start(PrivateRedis::free_port()).await;
    let world = World::with(&[("redis.url", &redis.url())]).await;
    let mut way = Way::to(&world.bed.app_url()).await;
    let worker = RealProcess::worker_with(&world.bed, &[("postgres.url", &way.url)]).await;
    until_ready_is(&worker, 200, ["ok", "ok"]).await;

    redis.kill().await;
    until_ready_is(&worker, 503, ["ok", "unavailable"]).await;
    way.close().await;
    until_ready_is(&worker, 503, ["unavailable", "unavailable"]).await;
    let live = reqwest::get(format!("{}/health/live", worker.base_url)).await;
    let live = live.unwrap();
    assert_eq!(
        (live.status().as_u16(), live.text().await.unwrap().as_str()),
        (200, "ok")
    );

    let _again = PrivateRedis::start(redis.port).await;
    until_ready_is(&worker, 503, ["unavailable", "ok"]).await;
    way.open().await;
    until_ready_is(&worker, 200, ["ok", "ok"]).await;

    let older = "DELETE FROM seaql_migrations WHERE version <> (SELECT min(version) FROM seaql_migrations)";
    let owner = Database::connect(&world.bed.owner_url).await.unwrap();
    owner.execute_unprepared(older).await.unwrap();
    until_ready_is(&worker, 503, ["wrong_version", "ok"]).await;
}

/// How often it was asked whether it is there, which nothing asks but readiness.
async fn pings(redis: &PrivateRedis) -> u64 {
    let client = redis::Client::open(redis.url()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let mut info = redis::cmd("INFO");
    let told: String = info
        .arg("commandstats")
        .query_async(&mut connection)
        .await
        .unwrap();
    let calls = told
        .lines()
        .find_map(|line| line.strip_prefix("cmdstat_ping:calls="));
    calls.map_or(0, |calls| calls.split(',').next().unwrap().parse().unwrap())
}

#[tokio::test]
async fn however_often_readiness_is_asked_for_the_databases_are_asked_once_a_second() {
    let redis = PrivateRedis::start(PrivateRedis::free_port()).await;
    let world = World::with(&[("redis.url", &redis.url())]).await;
    let worker = RealProcess::worker(&world.bed).await;
    let client = reqwest::Client::builder().build().unwrap();
    let (before, begun) = (pings(&redis).await, Instant::now());
    for _ in 0..10 {
        let asked = (0..50).map(|_| client.get(format!("{}/health/ready", worker.base_url)).send());
        for answer in join_all(asked).await {
            assert_eq!(answer.unwrap().status(), 200);
        }
    }
    let (asked, seconds) = (pings(&redis).await - before, begun.elapsed().as_secs());
    assert!((1..=seconds + 1).contains(&asked), "{asked} in {seconds} s");
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
