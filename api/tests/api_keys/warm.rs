//! What the check of a key costs, and what made-up keys cost.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use latchkey_shared::{
    api_key::{KeyEnvironment, KeyText, Keyring},
    random::OsRandom,
};
use latchkey_testing::{Prove, RealProcess};
use serde_json::json;

use super::World;

/// The statements that the process has sent to PostgreSQL, those in the background among them.
async fn statements(process: &RealProcess) -> u64 {
    let text = reqwest::get(&process.metrics_url)
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    let line = text
        .lines()
        .find(|line| line.starts_with("latchkey_postgres_statements_total"))
        .unwrap_or_else(|| panic!("{text}"));
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_warm_key_asks_nobody_and_a_made_up_one_is_refused_without_asking() {
    let world = World::with(&[("log.level", "warn")]).await;
    let (key, _) = world.key(&["api_keys:verify"]).await;
    let process = RealProcess::api(&world.bed).await;
    let verify = async |key: &str, asked: &str| {
        let request = world
            .api
            .client
            .post(format!("{}/v1/api-keys/verify", process.base_url));
        let answer = request
            .bearer_auth(key)
            .json(&json!({ "key": asked }))
            .send()
            .await
            .unwrap();
        answer.status().as_u16()
    };
    assert_eq!(verify(&key, &key).await, 200);
    // The first use is written at once.
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    let mut broken = key.clone();
    broken.replace_range(20..21, if &key[20..21] == "a" { "b" } else { "a" });
    let requests = Prove::size(500, 20_000);
    let (before, started) = (statements(&process).await, std::time::Instant::now());
    for _ in 0..requests {
        assert_eq!(verify(&key, &key).await, 200);
        assert_eq!(verify(&broken, &key).await, 401);
        assert_eq!(verify(&key, &broken).await, 200);
    }
    let sent = statements(&process).await - before;
    // Signals are polled twice a second, two statements each; what was seen and used is written twice a minute.
    let background = 20 + 8 * started.elapsed().as_secs();
    println!(
        "{} warm checks in {:?}: {sent} statements, {background} allowed",
        requests * 3,
        started.elapsed()
    );
    assert!(sent <= background, "{sent} statements, {background} allowed");
}

#[tokio::test]
async fn made_up_keys_fill_no_more_than_a_bounded_memory() {
    let world = World::new().await;
    let context = &world.bed.context;
    let keyring = Keyring::new(&context.signals);
    let (real, _) = world.key(&[]).await;
    let real = KeyText::parse(&real).unwrap();
    assert!(keyring.find(context, &real).await.unwrap().is_some());
    let (found, random) = (Arc::new(AtomicU64::new(0)), OsRandom::new());
    let keys = Prove::size(12_000, 100_000);
    for _ in 0..keys / 100 {
        let texts: Vec<KeyText> = (0..100)
            .map(|_| KeyText::new(KeyEnvironment::Live, &random))
            .collect();
        let looked_up = texts.iter().map(|text| keyring.find(context, text));
        for known in futures::future::join_all(looked_up).await {
            found.fetch_add(u64::from(known.unwrap().is_some()), Ordering::Relaxed);
        }
    }
    let (known, unknown) = keyring.sizes();
    println!("{keys} made-up keys: {known} keys and {unknown} strangers are remembered");
    assert_eq!(found.load(Ordering::Relaxed), 0);
    // The real one is remembered for half a minute.
    assert!(known <= 1 && unknown <= 10_000, "{known} and {unknown}");
}

#[tokio::test]
async fn s35_no_key_reaches_the_log() {
    let world = World::new().await;
    let (key, _) = world.key(&["api_keys:verify", "api_keys:write"]).await;
    let process = RealProcess::api_with(&world.bed, &[("log.level", "trace")]).await;
    let post = async |path: &str, body: serde_json::Value| {
        let request = world.api.client.post(format!("{}{path}", process.base_url));
        let answer = request
            .header("x-api-key", &key)
            .json(&body)
            .send()
            .await
            .unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    let (status, created) = post("/v1/api-keys", super::request(&[], json!({}))).await;
    let created: serde_json::Value = serde_json::from_str(&created).unwrap();
    let made = created["key"].as_str().unwrap();
    assert_eq!(status, 201);
    assert_eq!(post("/v1/api-keys/verify", json!({ "key": made })).await.0, 200);
    // A body that cannot be read, too, and a key in a field where none belongs.
    assert_eq!(post("/v1/api-keys/verify", json!({ "key": [made] })).await.0, 422);
    assert_eq!(
        post("/v1/api-keys", super::request(&[made], json!({}))).await.0,
        422
    );
    assert_eq!(post("/v1/api-keys/leaks", json!({ "keys": [made] })).await.0, 202);
    let printed = process.printed();
    assert!(
        printed.contains("/v1/api-keys/verify"),
        "nothing was logged: {printed}"
    );
    for secret in [&key, made] {
        let digits = &secret[8..51];
        assert!(!printed.contains(digits), "a key is in the log");
    }
}
