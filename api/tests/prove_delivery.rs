//! From a request to the customer's receiver, with real processes that are killed and a Redis that is emptied.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use futures::{StreamExt, stream};
use latchkey_testing::{Counting, Prove, RealProcess, Received, Receiver, TestBed};
use reqwest::Client;
use serde_json::json;

use crate::support::{Api, text};

/// A tenant with one endpoint, and an API process of its own.
struct World {
    bed: TestBed,
    api: RealProcess,
    helper: Api,
    client: Client,
    token: String,
    receiver: Receiver,
}

impl World {
    async fn new(settings: &[(&str, &str)]) -> Self {
        let quiet = [
            ("log.level", "warn"),
            ("worker.sweep_interval", "0.5"),
            ("worker.queue_grace", "3"),
        ];
        let bed = TestBed::with(&[&quiet[..], settings].concat()).await;
        let helper = Api::start(&bed).await;
        let admin = helper.admin().await;
        let (_, token) = helper.tenant(&admin, "acme").await;
        let receiver = Receiver::start().await;
        let endpoint = json!({ "url": receiver.url("/"), "event_types": ["order.placed"] });
        helper
            .post_as(&token, "/v1/webhooks/endpoints", endpoint)
            .await
            .expect(201);
        let api = RealProcess::api(&bed).await;
        let client = Client::builder().build().unwrap();
        Self {
            bed,
            api,
            helper,
            client,
            token,
            receiver,
        }
    }

    async fn publish(&self, number: usize) -> String {
        let request = self
            .client
            .post(format!("{}/v1/webhooks/events", self.api.base_url))
            .bearer_auth(&self.token)
            .json(&json!({ "type": "order.placed", "payload": { "number": number } }));
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 202);
        text(&answer.json().await.unwrap(), "event_id")
    }

    async fn publish_many(&self, count: usize) -> Vec<String> {
        let started = Instant::now();
        let ids: Vec<String> = stream::iter(0..count)
            .map(|number| self.publish(number))
            .buffer_unordered(64)
            .collect()
            .await;
        let took = started.elapsed();
        println!("{count} events accepted in {took:.2?}");
        ids
    }

    async fn redis_memory(&self) -> u64 {
        let mut connection = self.bed.context.redis.connection();
        let info: String = redis::cmd("INFO")
            .arg("memory")
            .query_async(&mut connection)
            .await
            .unwrap();
        let line = info
            .lines()
            .find(|line| line.starts_with("used_memory:"))
            .unwrap();
        line.trim_start_matches("used_memory:").trim().parse().unwrap()
    }

    /// Empties what this test has in Redis; under `./dev prove`, where nothing else uses it, everything.
    async fn flush(&self) {
        let mut connection = self.bed.context.redis.connection();
        if Prove::is_full() {
            redis::cmd("FLUSHALL").exec_async(&mut connection).await.unwrap();
            return;
        }
        let mine = format!("{}:*", self.bed.context.config.redis.key_prefix);
        let keys: Vec<String> = redis::cmd("KEYS")
            .arg(mine)
            .query_async(&mut connection)
            .await
            .unwrap();
        redis::cmd("DEL")
            .arg(keys)
            .exec_async(&mut connection)
            .await
            .unwrap();
    }
}

/// What the receiver got, by event: how often, and the bytes of the first.
#[derive(Default)]
struct Inbox(HashMap<String, (usize, Vec<u8>)>);

impl Inbox {
    fn take(&mut self, received: Received) {
        let entry = self
            .0
            .entry(received.header("webhook-id").to_owned())
            .or_default();
        if entry.0 > 0 {
            assert_eq!(entry.1, received.body, "a duplicate has other bytes");
        }
        *entry = (entry.0 + 1, received.body);
    }

    /// Receives until `count` events are there.
    async fn fill(&mut self, receiver: &Receiver, count: usize) {
        while self.0.len() < count {
            self.take(receiver.next().await);
        }
    }

    fn duplicates(&self) -> usize {
        self.0.values().map(|(times, _)| times - 1).sum()
    }

    fn assert_holds(&self, ids: &[String]) {
        for id in ids {
            assert!(self.0.contains_key(id), "the event {id} was lost");
        }
        assert_eq!(self.0.len(), ids.len(), "an event that nobody published");
    }
}

/// Waits until the worker has written down all it knows.
async fn settled(world: &World, count: usize) {
    let deadline = Instant::now() + Duration::from_mins(1);
    let succeeded = "SELECT count(*) FROM deliveries WHERE state = 'succeeded'";
    while world.helper.scalar(succeeded).await < i64::try_from(count).unwrap() {
        assert!(Instant::now() < deadline, "deliveries are still pending");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn s31_events_accepted_without_a_worker_all_arrive_once_one_is_started() {
    let count = Prove::size(300, 20_000);
    let world = World::new(&[]).await;
    let base_line = world.redis_memory().await;
    let ids = world.publish_many(count).await;
    let loaded = world.redis_memory().await;
    let started = Instant::now();
    let mut worker = RealProcess::worker(&world.bed).await;
    let mut inbox = Inbox::default();
    inbox.fill(&world.receiver, count).await;
    println!(
        "{count} events drained in {:.2?}, start of the worker included",
        started.elapsed()
    );
    settled(&world, count).await;
    let after = world.redis_memory().await;
    println!(
        "Redis memory: {base_line} before, {loaded} loaded, {after} after; worker memory {} MiB",
        worker.memory() >> 20
    );
    inbox.assert_holds(&ids);
    assert_eq!(inbox.duplicates(), 0);
    if Prove::is_full() {
        assert!(
            after < base_line + 512 * 1024,
            "Redis holds on to {} bytes",
            after - base_line
        );
    }
    assert!(worker.terminate().await);
    worker.assert_no_error();
    world.api.assert_no_error();
}

#[tokio::test(flavor = "multi_thread")]
async fn s30_a_worker_that_is_killed_loses_no_event() {
    let count = Prove::size(300, 20_000);
    // Short leases, so that what the dead worker held comes back soon.
    let world = World::new(&[("webhooks.timeout", "2")]).await;
    let ids = world.publish_many(count).await;
    let mut first = RealProcess::worker(&world.bed).await;
    let mut inbox = Inbox::default();
    inbox.fill(&world.receiver, count / 3).await;
    first.kill().await;
    let second = RealProcess::worker(&world.bed).await;
    inbox.fill(&world.receiver, count).await;
    settled(&world, count).await;
    for received in world.receiver.rest().await {
        inbox.take(received);
    }
    inbox.assert_holds(&ids);
    println!(
        "{count} events, a worker killed after a third: none lost, {} sent twice",
        inbox.duplicates()
    );
    second.assert_no_error();
}

#[tokio::test(flavor = "multi_thread")]
async fn s30_a_flush_of_redis_loses_no_event() {
    let count = Prove::size(300, 20_000);
    let world = Arc::new(World::new(&[]).await);
    let ids = world.publish_many(count).await;
    let worker = RealProcess::worker(&world.bed).await;
    let mut inbox = Inbox::default();
    inbox.fill(&world.receiver, count / 3).await;
    world.flush().await;
    inbox.fill(&world.receiver, count).await;
    settled(&world, count).await;
    for received in world.receiver.rest().await {
        inbox.take(received);
    }
    inbox.assert_holds(&ids);
    println!(
        "{count} events, Redis flushed after a third: none lost, {} sent twice",
        inbox.duplicates()
    );
    worker.assert_no_error();
}

#[tokio::test(flavor = "multi_thread")]
async fn s30_an_api_process_that_is_killed_loses_no_event_it_has_accepted() {
    let count = Prove::size(200, 5_000);
    let mut world = World::new(&[]).await;
    let _worker = RealProcess::worker(&world.bed).await;
    let request = world
        .client
        .post(format!("{}/v1/webhooks/events", world.api.base_url))
        .bearer_auth(&world.token);
    let publish = move |number: usize| {
        let event = json!({ "type": "order.placed", "payload": { "number": number } });
        request.try_clone().unwrap().json(&event).send()
    };
    let publishing = stream::iter(0..count)
        .map(publish)
        .buffer_unordered(32)
        .collect::<Vec<_>>();
    let publishing = tokio::spawn(publishing);
    let mut inbox = Inbox::default();
    inbox.fill(&world.receiver, count / 4).await;
    world.api.kill().await;
    let mut accepted = Vec::new();
    for answer in publishing.await.unwrap().into_iter().flatten() {
        if let Ok(body) = answer.json().await {
            accepted.push(text(&body, "event_id"));
        }
    }
    // An event whose answer was lost is committed as well: it arrives too.
    let committed = world
        .helper
        .scalar("SELECT count(*) FROM events WHERE type = 'order.placed'")
        .await;
    let committed = usize::try_from(committed).unwrap();
    inbox.fill(&world.receiver, committed).await;
    println!(
        "{} events accepted, {committed} committed and received when the API was killed",
        accepted.len()
    );
    for id in &accepted {
        assert!(inbox.0.contains_key(id), "the event {id} was lost");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_reaches_its_receiver_within_milliseconds() {
    let count = Prove::size(50, 1_500);
    let world = World::new(&[]).await;
    let worker = RealProcess::worker(&world.bed).await;
    world.publish(0).await;
    world.receiver.next().await;
    let mut pace = tokio::time::interval(Duration::from_millis(20));
    let mut took = Vec::with_capacity(count);
    for number in 0..count {
        pace.tick().await;
        let started = Instant::now();
        let (_, received) = tokio::join!(world.publish(number), world.receiver.next());
        took.push(received.at.duration_since(started));
    }
    took.sort_unstable();
    let (p50, p99) = (took[count / 2], took[count * 99 / 100]);
    println!("{count} events at 50/s, from the request to the receiver: p50 {p50:.2?}, p99 {p99:.2?}");
    if Prove::is_full() {
        assert!(p50 < Duration::from_millis(10), "p50 {p50:?}");
        assert!(p99 < Duration::from_millis(50), "p99 {p99:?}");
    }
    worker.assert_no_error();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_arrive_as_fast_as_they_are_published() {
    let count = Prove::size(500, 50_000);
    let world = World::new(&[]).await;
    let receiver = Counting::default();
    let endpoint = json!({ "url": receiver.serve(), "event_types": ["parcel.moved"] });
    world
        .helper
        .post_as(&world.token, "/v1/webhooks/endpoints", endpoint)
        .await
        .expect(201);
    let worker = RealProcess::worker(&world.bed).await;
    let body = json!({ "type": "parcel.moved", "payload": { "to": "Lisbon", "weight_grams": 1_250 } });
    let request = world
        .client
        .post(format!("{}/v1/webhooks/events", world.api.base_url))
        .bearer_auth(&world.token)
        .json(&body);
    let started = Instant::now();
    let publishing = stream::iter(0..count).map(|_| async {
        let answer = request.try_clone().unwrap().send().await.unwrap();
        assert_eq!(answer.status(), 202);
    });
    publishing.buffer_unordered(64).collect::<()>().await;
    let published = started.elapsed();
    while receiver.count() < count {
        assert!(
            started.elapsed() < Duration::from_mins(5),
            "{} arrived",
            receiver.count()
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let arrived = started.elapsed();
    settled(&world, count).await;
    #[expect(clippy::cast_precision_loss, reason = "a few ten thousand")]
    let rate = count as f64 / arrived.as_secs_f64();
    println!(
        "{count} events from 64 callers: the last was accepted after {published:.2?} and arrived after {arrived:.2?}; \
         {rate:.0}/s from the request to the receiver"
    );
    assert_eq!(receiver.count(), count, "an event arrived twice");
    if Prove::is_full() {
        assert!(rate >= 2_500.0, "{rate:.0}/s");
    }
    worker.assert_no_error();
    world.api.assert_no_error();
}
