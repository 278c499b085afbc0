//! A Redis that running processes lose under load, killed or gone silent, and that comes back.

use std::{
    collections::{BTreeSet, HashMap},
    time::{Duration, Instant},
};

use latchkey_testing::{PrivateRedis, RealProcess, Received, Receiver, TestBed};
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use tokio::{
    task::JoinHandle,
    time::{interval, sleep},
};
use tokio_util::sync::CancellationToken;

use crate::{
    prove_rotation::Load,
    service_accounts::delete_as,
    support::{Api, PASSWORD, text},
};

/// Nothing that is waited for takes longer, on the slowest machine.
const DEADLINE: Duration = Duration::from_secs(20);

/// How Redis goes away.
#[derive(Clone, Copy, Debug)]
enum Loss {
    /// As by `kill -9`: connections break, and it comes back with nothing in it.
    Killed,
    /// As on a machine that hangs: connections stay open, and nothing is answered.
    Silent,
}

async fn lose(redis: &mut PrivateRedis, loss: Loss) {
    match loss {
        Loss::Killed => redis.kill().await,
        Loss::Silent => redis.signal("STOP").await,
    }
}

async fn bring_back(redis: &mut PrivateRedis, loss: Loss) {
    match loss {
        Loss::Killed => *redis = PrivateRedis::start(redis.port).await,
        Loss::Silent => redis.signal("CONT").await,
    }
}

/// Waits until the process, which is ready all the while, says so of its Redis.
async fn until_redis_is(client: &Client, process: &RealProcess, word: &str) {
    let until = Instant::now() + DEADLINE;
    loop {
        let ready = client.get(format!("{}/health/ready", process.base_url));
        let answer = ready.send().await.unwrap();
        assert_eq!(answer.status(), 200);
        let said: Value = answer.json().await.unwrap();
        if said["redis"] == word {
            return;
        }
        assert!(Instant::now() < until, "not {word}: {said}");
        sleep(Duration::from_millis(20)).await;
    }
}

/// Something that opens a path.
struct Credential {
    text: String,
    path: &'static str,
}

impl Credential {
    async fn status(&self, client: &Client, base_url: &str) -> StatusCode {
        let request = client.get(format!("{base_url}{}", self.path));
        request.bearer_auth(&self.text).send().await.unwrap().status()
    }

    /// Asks until it opens nothing, which it does not for longer than a revocation may take without Redis.
    async fn until_refused(&self, client: &Client, process: &RealProcess, revoked: Instant) {
        loop {
            match self.status(client, &process.base_url).await.as_u16() {
                401 => return,
                status => assert_eq!(status, 200, "{}", self.path),
            }
            let took = revoked.elapsed();
            assert!(took < Duration::from_secs(5), "{} is still open", self.path);
            sleep(Duration::from_millis(20)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s22_redis_goes_away_under_load_and_nothing_fails_or_revives() {
    let mut redis = PrivateRedis::start(PrivateRedis::free_port()).await;
    let bed = TestBed::with(&[("redis.url", &redis.url()), ("log.level", "warn")]).await;
    let api = Api::start(&bed).await;
    let admin = api.admin().await;
    let (_, owner) = api.tenant(&admin, "acme").await;
    let (process, client) = (RealProcess::api(&bed).await, &api.client);
    let load = Load::begin(&api, &[&process], 50).await;
    let mut ended = Vec::new();
    for loss in [Loss::Killed, Loss::Silent] {
        let session = text(&api.login("acme", "owner@acme.test").await, "access_token");
        let body = json!({ "name": "Export", "environment": "live", "scopes": ["webhooks:read"] });
        let key = api.post_as(&owner, "/v1/api-keys", body).await.expect(201);
        let credentials = [
            (session.clone(), "/v1/auth/me"),
            (text(&key, "key"), "/v1/webhooks/endpoints"),
        ]
        .map(|(text, path)| Credential { text, path });
        for credential in &credentials {
            // The process that will have to forget it has it in memory.
            assert_eq!(credential.status(client, &process.base_url).await, 200);
        }

        lose(&mut redis, loss).await;
        until_redis_is(client, &process, "unavailable").await;
        let revoked = Instant::now();
        api.post_as(&session, "/v1/auth/logout", json!({}))
            .await
            .expect(204);
        let key = format!("/v1/api-keys/{}", text(&key["api_key"], "id"));
        delete_as(&api, &owner, &key).await.expect(204);
        for credential in &credentials {
            credential.until_refused(client, &process, revoked).await;
        }
        let login = client
            .post(format!("{}/v1/auth/login", process.base_url))
            .header("x-tenant-id", "acme")
            .json(&json!({ "email": "owner@acme.test", "password": PASSWORD }));
        assert_eq!(login.send().await.unwrap().status(), 200, "{loss:?}");
        // For the load.
        sleep(Duration::from_secs(2)).await;

        bring_back(&mut redis, loss).await;
        until_redis_is(client, &process, "ok").await;
        ended.extend(credentials);
        for credential in &ended {
            for url in [&process.base_url, &api.base_url] {
                let status = credential.status(client, url).await;
                assert_eq!(status, 401, "{loss:?}: {} is open again", credential.path);
            }
        }
    }
    let (answered, failed) = load.end().await;
    println!(
        "{answered} requests while Redis was killed and while it was silent: {} failed",
        failed.len()
    );
    assert!(failed.is_empty(), "{failed:?}");
    process.assert_no_error();
}

/// Publishes one event after the other until it is stopped; gives the ids of what was accepted, and what was not.
fn publish(
    process: &RealProcess,
    token: &str,
    stop: CancellationToken,
) -> JoinHandle<(BTreeSet<String>, Vec<String>)> {
    let client = Client::builder().build().unwrap();
    let request = client
        .post(format!("{}/v1/webhooks/events", process.base_url))
        .bearer_auth(token);
    tokio::spawn(async move {
        let (mut accepted, mut refused) = (BTreeSet::new(), Vec::new());
        let mut pace = interval(Duration::from_millis(20));
        for number in 0_u64.. {
            pace.tick().await;
            if stop.is_cancelled() {
                break;
            }
            let event = json!({ "type": "order.placed", "payload": { "number": number } });
            let answer = request.try_clone().unwrap().json(&event).send().await.unwrap();
            let status = answer.status();
            let body: Value = answer.json().await.unwrap();
            if status == 202 {
                accepted.insert(text(&body, "event_id"));
            } else {
                refused.push(format!("{status}: {body}"));
            }
        }
        (accepted, refused)
    })
}

/// Notes an event that has arrived, each time with the same bytes.
fn note(arrived: &mut HashMap<String, Vec<u8>>, received: &Received) {
    let id = received.header("webhook-id").to_owned();
    let first = arrived.entry(id).or_insert_with(|| received.body.clone());
    assert_eq!(*first, received.body, "a duplicate has other bytes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s30_redis_goes_away_under_load_and_every_accepted_event_arrives() {
    let mut redis = PrivateRedis::start(PrivateRedis::free_port()).await;
    let url = redis.url();
    let settings = [
        ("redis.url", url.as_str()),
        ("log.level", "warn"),
        ("worker.sweep_interval", "0.5"),
        ("worker.queue_grace", "3"),
    ];
    let bed = TestBed::with(&settings).await;
    let (api, receiver) = (Api::start(&bed).await, Receiver::start().await);
    let admin = api.admin().await;
    let (_, owner) = api.tenant(&admin, "acme").await;
    let endpoint = json!({ "url": receiver.url("/"), "event_types": ["order.placed"] });
    api.post_as(&owner, "/v1/webhooks/endpoints", endpoint)
        .await
        .expect(201);
    let (process, _worker) = tokio::join!(RealProcess::api(&bed), RealProcess::worker(&bed));
    let stop = CancellationToken::new();
    let publishing = publish(&process, &owner, stop.clone());
    let mut arrived = HashMap::new();
    for loss in [Loss::Killed, Loss::Silent] {
        // The worker is in the midst of it.
        note(&mut arrived, &receiver.next().await);
        lose(&mut redis, loss).await;
        until_redis_is(&api.client, &process, "unavailable").await;
        // For what is published meanwhile.
        sleep(Duration::from_secs(2)).await;
        bring_back(&mut redis, loss).await;
        until_redis_is(&api.client, &process, "ok").await;
    }
    stop.cancel();
    let (accepted, refused) = publishing.await.unwrap();
    assert!(refused.is_empty(), "{refused:?}");
    let kept = "SELECT count(*) FROM events WHERE type = 'order.placed'";
    assert_eq!(
        api.scalar(kept).await,
        i64::try_from(accepted.len()).unwrap(),
        "what was accepted is in PostgreSQL"
    );

    while arrived.len() < accepted.len() {
        note(&mut arrived, &receiver.next().await);
    }
    let pending = "SELECT count(*) FROM deliveries WHERE state <> 'succeeded'";
    let until = Instant::now() + DEADLINE;
    while api.scalar(pending).await > 0 {
        assert!(Instant::now() < until, "deliveries are still pending");
        sleep(Duration::from_millis(100)).await;
    }
    for received in receiver.rest().await {
        note(&mut arrived, &received);
    }
    let arrived: BTreeSet<String> = arrived.into_keys().collect();
    assert_eq!(arrived, accepted);
    println!(
        "{} events while Redis was killed and while it was silent: none lost",
        accepted.len()
    );
    process.assert_no_error();
}
