//! How fast one worker works off a backlog, beside what a bare client could do, and what a delivery costs.

use std::time::{Duration, Instant};

use futures::{StreamExt, stream};
use latchkey_testing::{Counting, Prove, RealProcess};
use sea_orm::ConnectionTrait;
use tokio::time::sleep;

use crate::{
    prove_retention::{fill, owner},
    world::World,
};

/// As many calls at once as one tenant has in a worker: half of `worker.concurrency`.
const AT_ONCE: usize = 192;
/// As many rows as one statement writes before it is taken for stuck.
const MADE_AT_ONCE: usize = 100_000;
const MOST_MEMORY: u64 = 100 * 1024 * 1024;
const PENDING: &str = "SELECT count(*) FROM deliveries WHERE state = 'pending'";

/// Calls a second of a client that does nothing else, so many at once.
async fn bare(url: &str, count: usize, at_once: usize) -> f64 {
    let client = reqwest::Client::builder().build().unwrap();
    let began = Instant::now();
    let calls = stream::iter(0..count).map(|number| {
        let body = format!("{{\"number\":{number}}}");
        let request = client
            .post(url)
            .header("content-type", "application/json")
            .body(body);
        async move { assert_eq!(request.send().await.unwrap().status(), 204) }
    });
    calls.buffer_unordered(at_once).collect::<()>().await;
    rate(count, began.elapsed())
}

#[expect(clippy::cast_precision_loss, reason = "counts of deliveries are small")]
fn rate(count: usize, took: Duration) -> f64 {
    count as f64 / took.as_secs_f64()
}

/// A process's parent, and the processor time that it has used, its threads and all; with that of its children that have
/// ended, if `with_ended`. `None` where there is no such process any more.
fn processor_time(pid: u32, with_ended: bool) -> Option<(u32, Duration)> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let after_name = stat.rsplit_once(')').unwrap().1;
    let fields: Vec<u64> = after_name
        .split_whitespace()
        .skip(1)
        .map(|field| field.parse().unwrap_or(0))
        .collect();
    let ticks: u64 = fields[10..].iter().take(if with_ended { 4 } else { 2 }).sum();
    // The kernel tells of hundredths of a second, whatever its own clock.
    Some((
        u32::try_from(fields[0]).unwrap(),
        Duration::from_millis(ticks * 10),
    ))
}

/// What the worker and PostgreSQL have used together.
async fn used(world: &World, worker: &RealProcess) -> Duration {
    let backend = world.count("SELECT pg_backend_pid()::bigint AS count").await;
    let (postmaster, _) = processor_time(u32::try_from(backend).unwrap(), false).unwrap();
    let processes = std::fs::read_dir("/proc").unwrap();
    let pids = processes.filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
    let backends = pids
        .filter_map(|pid| processor_time(pid, false))
        .filter(|(parent, _)| *parent == postmaster);
    let backends: Duration = backends.map(|(_, time)| time).sum();
    let whole = |pid, with_ended| processor_time(pid, with_ended).unwrap().1;
    backends + whole(postmaster, true) + whole(worker.pid(), false)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backlog_is_drained_and_told_beside_a_bare_client() {
    let count = Prove::size(2_000, 100_000);
    let world = World::with(&[("log.level", "warn"), ("worker.sweep_interval", "1")]).await;
    let receiver = Counting::default();
    let url = receiver.serve();
    let one_by_one = bare(&url, count / 10, 1).await;
    let floor = bare(&url, count / 2, AT_ONCE).await;
    let (before, connected) = (receiver.count(), receiver.connections());

    world.endpoint(&url).await;
    world.backlog(count, 0).await;
    let began = Instant::now();
    let worker = RealProcess::worker(&world.bed).await;
    let mut most = worker.memory();
    while receiver.count() < before + count {
        assert!(
            began.elapsed() < Duration::from_mins(10),
            "{} are left",
            before + count - receiver.count()
        );
        sleep(Duration::from_millis(50)).await;
        most = most.max(worker.memory());
    }
    while world.count(PENDING).await > 0 {
        sleep(Duration::from_millis(10)).await;
    }
    let drained = rate(count, began.elapsed());
    let cost = processor_time(worker.pid(), false).unwrap().1 / u32::try_from(count).unwrap();
    println!(
        "{count} deliveries: {drained:.0}/s; a bare client makes {one_by_one:.0} calls a second one by one: {:.2}, \
         {floor:.0} with {AT_ONCE} at once: {:.2}; {cost:.0?} of the worker's processor time each, at most {} MiB of memory",
        drained / one_by_one,
        drained / floor,
        most / 1024 / 1024
    );
    assert_eq!(receiver.count(), before + count, "a delivery was called twice");
    let connections = receiver.connections() - connected;
    assert!(connections <= 2 * AT_ONCE, "{connections} connections");
    let recorded = "SELECT count(*) FROM attempts WHERE outcome = 'succeeded' AND number = 1";
    assert_eq!(world.count(recorded).await, i64::try_from(count).unwrap());
    assert!(most < MOST_MEMORY, "{} MiB", most / 1024 / 1024);
}

/// A database of its own, and where its deliveries go.
struct Place {
    name: &'static str,
    world: World,
    receiver: Counting,
    costs: Vec<Duration>,
}

impl Place {
    /// With so many deliveries that wait, and days of history with so many deliveries each.
    async fn new(name: &'static str, waiting: usize, days: i64, deliveries: i64) -> Self {
        let place = Self {
            name,
            world: World::with(&[("log.level", "warn"), ("worker.sweep_interval", "1")]).await,
            receiver: Counting::default(),
            costs: Vec::new(),
        };
        place.world.endpoint(&place.receiver.serve()).await;
        for day in 0..days {
            fill(&place.world, 10 + day, deliveries).await;
        }
        place.add(waiting).await;
        place.tidy("VACUUM (ANALYZE) events, deliveries, attempts").await;
        place
    }

    async fn add(&self, waiting: usize) {
        for made in (0..waiting).step_by(MADE_AT_ONCE) {
            self.world.backlog(MADE_AT_ONCE.min(waiting - made), 0).await;
        }
    }

    /// So that PostgreSQL has nothing of its own to do while it is measured.
    async fn tidy(&self, vacuum: &str) {
        owner(&self.world).await.execute_unprepared(vacuum).await.unwrap();
        self.world.bed.checkpoint().await;
    }

    /// What a delivery costs the worker and PostgreSQL while so many more are worked off.
    async fn measure(&mut self, drained: usize) {
        self.add(drained).await;
        self.tidy("VACUUM events, deliveries, attempts").await;
        let (world, receiver) = (&self.world, &self.receiver);
        let worker = RealProcess::worker(&world.bed).await;
        // Warm: its connections are made, and its statements are planned.
        let begin = receiver.count() + drained / 5;
        wait_for(receiver, begin).await;
        let (before, from) = (used(world, &worker).await, receiver.count());
        wait_for(receiver, begin + drained * 3 / 5).await;
        let (after, to) = (used(world, &worker).await, receiver.count());
        self.costs
            .push(after.saturating_sub(before) / u32::try_from(to - from).unwrap());
    }

    fn cost(&mut self) -> Duration {
        self.costs.sort();
        self.costs[self.costs.len() / 2]
    }
}

async fn wait_for(receiver: &Counting, count: usize) {
    let began = Instant::now();
    while receiver.count() < count {
        assert!(
            began.elapsed() < Duration::from_mins(5),
            "{} of {count}",
            receiver.count()
        );
        sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delivery_costs_little_more_beside_a_long_backlog_and_a_long_history() {
    let (backlog, days, deliveries) = Prove::size((20_000, 1, 2_000), (1_000_000, 10, 100_000));
    let (rounds, drained) = Prove::size((1, 1_000), (7, 20_000));
    let mut places = [
        Place::new("alone", 1_000, 0, 0).await,
        Place::new("beside a backlog", backlog, 0, 0).await,
        Place::new("beside a history", 1_000, days, deliveries).await,
    ];
    // In turns, so that what else the machine does weighs on all alike.
    for _ in 0..rounds {
        for place in &mut places {
            place.measure(drained).await;
        }
    }
    let costs = places.each_mut().map(Place::cost);
    for (place, cost) in places.iter().zip(costs) {
        println!("{}: {cost:.0?} a delivery, of {:.0?}", place.name, place.costs);
    }
    println!(
        "{backlog} waiting: {:.2}; {} attempts behind: {:.2}",
        costs[1].as_secs_f64() / costs[0].as_secs_f64(),
        days * deliveries * 10,
        costs[2].as_secs_f64() / costs[0].as_secs_f64()
    );
    if Prove::is_full() {
        assert!(costs.iter().all(|cost| *cost <= costs[0] * 5 / 4), "{costs:?}");
    }
}
