//! Workers that share a queue: each delivery is called once, while they come and go.

use std::{
    collections::{HashMap, HashSet},
    time::{Duration, Instant},
};

use latchkey_testing::{Prove, RealProcess, Received, Receiver};

use crate::world::World;

/// What receivers saw, by event.
#[derive(Default)]
struct Seen(HashMap<String, usize>);

impl Seen {
    async fn take(&mut self, receiver: &Receiver, until: usize) {
        while self.0.len() < until {
            let Received { headers, .. } = receiver.next().await;
            let id = headers["webhook-id"].to_str().unwrap().to_owned();
            *self.0.entry(id).or_default() += 1;
        }
    }

    fn calls(&self) -> usize {
        self.0.values().sum()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_that_join_and_leave_under_load_lose_nothing_and_call_nothing_twice() {
    let count = Prove::size(1_500, 30_000);
    let world = World::with(&[("log.level", "warn")]).await;
    // Slow enough that there are calls under way whenever a worker comes or goes.
    let receiver = Receiver::slow(Duration::from_millis(20)).await;
    world.endpoint(&receiver.url("/")).await;
    world.backlog(count, 0).await;
    let began = Instant::now();
    let mut leaving = RealProcess::worker(&world.bed).await;
    let staying = RealProcess::worker(&world.bed).await;
    let mut seen = Seen::default();
    seen.take(&receiver, count / 3).await;
    let joining = RealProcess::worker(&world.bed).await;
    seen.take(&receiver, count / 2).await;
    assert!(leaving.terminate().await, "{}", leaving.printed());
    seen.take(&receiver, count).await;
    let took = began.elapsed();
    let pending = "SELECT count(*) FROM deliveries WHERE state <> 'succeeded' OR lease_until IS NOT NULL";
    while world.count(pending).await > 0 {
        assert!(began.elapsed() < took + Duration::from_secs(20));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let calls = seen.calls() + receiver.rest().await.len();
    println!(
        "{count} deliveries, two workers, a third that joins and one that leaves: {calls} calls in {took:.1?}"
    );
    assert_eq!(calls, count, "a delivery was called twice");
    let recorded = "SELECT count(*) FROM attempts";
    assert_eq!(world.count(recorded).await, i64::try_from(count).unwrap());
    // Each of them has worked: it says so itself.
    let mut worked = HashSet::new();
    for worker in [&staying, &joining] {
        let metrics = reqwest::get(&worker.metrics_url)
            .await
            .unwrap()
            .text()
            .await
            .unwrap();
        if metrics.contains(r#"latchkey_delivery_attempts_total{outcome="succeeded"#) {
            worked.insert(worker.pid());
        }
    }
    assert_eq!(worked.len(), 2);
}
