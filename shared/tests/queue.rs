//! The queue against a real Redis, by its public interface only.
//!
//! `LATCHKEY_TEST_REDIS_URL` names the server; each test has its own key prefix. The restart test
//! starts a `redis-server` of its own.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test says so by panicking"
)]
#![expect(
    clippy::disallowed_methods,
    reason = "ids that nobody else has, of rows that are not there"
)]

use std::{collections::HashSet, future::pending, time::Duration};

use latchkey_shared::queue::{
    self, ConsumerOptions, Depth, Job, Lane, Producer, QueueError, Settings, stream_key,
};
use latchkey_testing::PrivateRedis;
use redis::{Client, aio::MultiplexedConnection};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{
        mpsc::{self, UnboundedReceiver, UnboundedSender},
        watch,
    },
    task::JoinHandle,
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

const DEADLINE: Duration = Duration::from_secs(20);

fn settings() -> Settings {
    at(server_url())
}

fn server_url() -> String {
    std::env::var("LATCHKEY_TEST_REDIS_URL").expect("LATCHKEY_TEST_REDIS_URL is set")
}

fn at(url: impl redis::IntoConnectionInfo) -> Settings {
    let client = Client::open(url).unwrap();
    let prefix = format!("test-{}", Uuid::new_v4());
    Settings { client, prefix }
}

fn options() -> ConsumerOptions {
    ConsumerOptions {
        concurrency: 8,
        block: Duration::from_millis(100),
        batch: 4,
        min_idle: Duration::from_mins(1),
    }
}

fn ids(count: usize) -> Vec<Uuid> {
    std::iter::repeat_with(Uuid::new_v4).take(count).collect()
}

struct Worker {
    stop: CancellationToken,
    running: JoinHandle<Result<(), QueueError>>,
}

impl Worker {
    fn start<H, F>(settings: &Settings, options: ConsumerOptions, handler: H) -> Self
    where
        H: Fn(Job) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let stop = CancellationToken::new();
        let consumer = queue::consume(settings, Lane::Fresh, options).unwrap();
        let running = tokio::spawn(queue::run("test", consumer, stop.clone(), handler));
        Self { stop, running }
    }

    async fn stop(self) {
        self.stop.cancel();
        let ended = timeout(DEADLINE, self.running).await.expect("stops in time");
        ended.unwrap().unwrap();
    }
}

/// A handler that reports every job it is given.
fn report(
    to: UnboundedSender<Uuid>,
) -> impl Fn(Job) -> std::future::Ready<()> + Clone + Send + Sync + 'static {
    move |Job(id)| {
        to.send(id).unwrap();
        std::future::ready(())
    }
}

async fn next(reports: &mut UnboundedReceiver<Uuid>) -> Uuid {
    let report = timeout(DEADLINE, reports.recv()).await;
    report.expect("a job in time").expect("a live worker")
}

async fn take(reports: &mut UnboundedReceiver<Uuid>, count: usize) -> Vec<Uuid> {
    let mut taken = Vec::with_capacity(count);
    while taken.len() < count {
        taken.push(next(reports).await);
    }
    taken
}

fn set(ids: impl IntoIterator<Item = Uuid>) -> HashSet<Uuid> {
    ids.into_iter().collect()
}

async fn push(settings: &Settings, ids: &[Uuid]) {
    let producer = Producer::new(settings).unwrap();
    producer.push(Lane::Fresh, ids.iter().copied());
    producer.flush().await;
}

async fn connect(settings: &Settings) -> MultiplexedConnection {
    settings.client.get_multiplexed_async_connection().await.unwrap()
}

async fn depth(settings: &Settings) -> Depth {
    let mut connection = connect(settings).await;
    queue::depth(&mut connection, &settings.prefix, Lane::Fresh)
        .await
        .unwrap()
}

async fn consumers(settings: &Settings) -> Vec<String> {
    let reply: redis::streams::StreamInfoConsumersReply = redis::cmd("XINFO")
        .arg("CONSUMERS")
        .arg(stream_key(&settings.prefix, Lane::Fresh))
        .arg("workers")
        .query_async(&mut connect(settings).await)
        .await
        .unwrap();
    reply
        .consumers
        .into_iter()
        .map(|consumer| consumer.name)
        .collect()
}

/// Looks again and again until `what` is so.
async fn eventually(what: impl AsyncFn() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !what().await {
        assert!(Instant::now() < deadline, "not in time");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Pushes `id` until some push of it has got through to a handler.
async fn push_until_handled(producer: &Producer, reports: &mut UnboundedReceiver<Uuid>, id: Uuid) {
    eventually(async || {
        producer.push(Lane::Fresh, [id]);
        producer.flush().await;
        !reports.is_empty()
    })
    .await;
    while let Ok(handled) = reports.try_recv() {
        assert_eq!(handled, id);
    }
}

#[tokio::test]
async fn every_job_is_handled_once_and_leaves_nothing_behind() {
    let settings = settings();
    let (to, mut reports) = mpsc::unbounded_channel();
    let worker = Worker::start(&settings, options(), report(to));
    let pushed = ids(500);
    push(&settings, &pushed).await;

    let handled = take(&mut reports, pushed.len()).await;
    assert_eq!(set(handled), set(pushed));
    eventually(async || depth(&settings).await == Depth::default()).await;
    worker.stop().await;
    assert!(reports.try_recv().is_err(), "no job ran twice");
    assert!(
        consumers(&settings).await.is_empty(),
        "the consumer removed itself"
    );
}

#[tokio::test]
async fn lanes_are_apart() {
    let settings = settings();
    let producer = Producer::new(&settings).unwrap();
    producer.push(Lane::Fresh, ids(1));
    producer.push(Lane::Mail, ids(2));
    producer.flush().await;
    let mut connection = connect(&settings).await;
    for (lane, length) in [(Lane::Fresh, 1), (Lane::Retry, 0), (Lane::Mail, 2)] {
        let depth = queue::depth(&mut connection, &settings.prefix, lane)
            .await
            .unwrap();
        assert_eq!(
            depth,
            Depth {
                lag: length,
                pending: 0,
                length
            }
        );
    }
}

#[tokio::test]
async fn a_dead_consumers_jobs_are_taken_over_and_its_name_removed() {
    let settings = settings();
    let pushed = ids(20);
    push(&settings, &pushed).await;
    let (to, mut begun) = mpsc::unbounded_channel();
    let dying = Worker::start(&settings, options(), move |Job(id)| {
        to.send(id).unwrap();
        pending()
    });
    take(&mut begun, 8).await;
    dying.running.abort();
    let dead = consumers(&settings).await;
    assert_eq!(dead.len(), 1);

    let (to, mut reports) = mpsc::unbounded_channel();
    let soon = ConsumerOptions {
        min_idle: Duration::from_millis(300),
        ..options()
    };
    let worker = Worker::start(&settings, soon, report(to));
    let mut missing = set(pushed);
    while !missing.is_empty() {
        missing.remove(&next(&mut reports).await);
    }
    eventually(async || depth(&settings).await == Depth::default()).await;
    eventually(async || !consumers(&settings).await.contains(&dead[0])).await;
    worker.stop().await;
}

#[tokio::test]
async fn a_deleted_stream_is_created_again() {
    let settings = settings();
    let (to, mut reports) = mpsc::unbounded_channel();
    let worker = Worker::start(&settings, options(), report(to));
    let (first, second) = (ids(10), ids(10));
    push(&settings, &first).await;
    take(&mut reports, first.len()).await;

    let key = stream_key(&settings.prefix, Lane::Fresh);
    redis::cmd("DEL")
        .arg(key)
        .exec_async(&mut connect(&settings).await)
        .await
        .unwrap();
    push(&settings, &second).await;
    let handled = take(&mut reports, second.len()).await;
    assert_eq!(set(handled), set(second));
    worker.stop().await;
}

#[tokio::test]
async fn a_restart_of_redis_is_waited_out() {
    let port = PrivateRedis::free_port();
    let settings = at(format!("redis://127.0.0.1:{port}"));
    let producer = Producer::new(&settings).unwrap();
    let (to, mut reports) = mpsc::unbounded_channel();
    let worker = Worker::start(&settings, options(), report(to));

    // The server is not there at first, then comes, goes and comes back with nothing in it.
    producer.push(Lane::Fresh, ids(1));
    producer.flush().await;
    for id in ids(2) {
        let mut server = PrivateRedis::start(port).await;
        push_until_handled(&producer, &mut reports, id).await;
        server.kill().await;
        while reports.try_recv().is_ok() {}
    }
    worker.stop().await;
}

#[tokio::test]
async fn connections_that_fall_silent_are_replaced() {
    let (proxy, silence) = proxy(settings().client.get_connection_info().addr().to_string()).await;
    let producer = Producer::new(&proxy).unwrap();
    let (to, mut reports) = mpsc::unbounded_channel();
    let worker = Worker::start(&proxy, options(), report(to));
    for id in ids(2) {
        push_until_handled(&producer, &mut reports, id).await;
        silence.send(()).unwrap();
        while reports.try_recv().is_ok() {}
    }
    worker.stop().await;
}

/// A way to Redis on which, at a word, the connections there are stay open but pass nothing more.
async fn proxy(server: String) -> (Settings, watch::Sender<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    // The same password leads through it.
    let mut url = url::Url::parse(&server_url()).unwrap();
    url.set_host(Some("127.0.0.1")).unwrap();
    url.set_port(Some(listener.local_addr().unwrap().port())).unwrap();
    let settings = at(url);
    let (silence, silent) = watch::channel(());
    tokio::spawn(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            let mut far = TcpStream::connect(&server).await.unwrap();
            let mut silent = silent.clone();
            silent.mark_unchanged();
            tokio::spawn(async move {
                tokio::select! {
                    _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
                    _ = silent.changed() => pending().await,
                }
            });
        }
    });
    (settings, silence)
}

#[tokio::test]
async fn a_graceful_stop_finishes_what_runs_and_hands_back_what_does_not() {
    let settings = settings();
    let pushed = ids(20);
    push(&settings, &pushed).await;
    let (to, mut begun) = mpsc::unbounded_channel();
    let (finished, mut reports) = mpsc::unbounded_channel();
    let gate = CancellationToken::new();
    let worker = Worker::start(&settings, options(), {
        let gate = gate.clone();
        move |Job(id)| {
            let (to, finished, gate) = (to.clone(), finished.clone(), gate.clone());
            async move {
                to.send(id).unwrap();
                gate.cancelled().await;
                finished.send(id).unwrap();
            }
        }
    });
    let running = take(&mut begun, 8).await;
    eventually(async || depth(&settings).await.pending > running.len()).await;

    worker.stop.cancel();
    gate.cancel();
    worker.stop().await;

    let finished = set(take(&mut reports, running.len()).await);
    assert_eq!(finished, set(running));
    assert!(reports.try_recv().is_err(), "nothing was begun after the stop");
    assert_eq!(
        depth(&settings).await,
        Depth {
            lag: 12,
            pending: 0,
            length: 12
        }
    );
    assert!(consumers(&settings).await.is_empty());

    let (to, mut reports) = mpsc::unbounded_channel();
    let next_worker = Worker::start(&settings, options(), report(to));
    let rest = set(take(&mut reports, 12).await);
    assert_eq!(&rest | &finished, set(pushed));
    next_worker.stop().await;
}

#[tokio::test]
async fn a_panicking_handler_costs_its_own_job_only() {
    let settings = settings();
    let pushed = ids(30);
    let bad = pushed[3];
    let (to, mut reports) = mpsc::unbounded_channel();
    let worker = Worker::start(&settings, options(), move |Job(id)| {
        assert_ne!(id, bad, "on purpose");
        to.send(id).unwrap();
        std::future::ready(())
    });
    push(&settings, &pushed).await;
    take(&mut reports, pushed.len() - 1).await;
    eventually(async || depth(&settings).await == Depth::default()).await;
    worker.stop().await;
}

#[tokio::test]
async fn a_foreign_entry_is_dropped_and_does_not_stop_the_lane() {
    let settings = settings();
    redis::cmd("XADD")
        .arg(stream_key(&settings.prefix, Lane::Fresh))
        .arg("*")
        .arg(&["not", "ours", "more", "fields"])
        .exec_async(&mut connect(&settings).await)
        .await
        .unwrap();
    let pushed = ids(1);
    push(&settings, &pushed).await;
    let (to, mut reports) = mpsc::unbounded_channel();
    let worker = Worker::start(&settings, options(), report(to));
    assert_eq!(next(&mut reports).await, pushed[0]);
    eventually(async || depth(&settings).await == Depth::default()).await;
    worker.stop().await;
}

#[tokio::test]
async fn a_stream_that_nobody_reads_does_not_grow_for_ever() {
    let settings = settings();
    for _ in 0..15 {
        push(&settings, &ids(10_000)).await;
    }
    let held: u64 = redis::cmd("XLEN")
        .arg(stream_key(&settings.prefix, Lane::Fresh))
        .query_async(&mut connect(&settings).await)
        .await
        .unwrap();
    assert!((100_000..101_000).contains(&held), "{held}");
}

#[tokio::test]
async fn a_backlog_built_up_without_workers_drains() {
    let settings = settings();
    let pushed = ids(20_000);
    push(&settings, &pushed).await;
    assert_eq!(
        depth(&settings).await,
        Depth {
            lag: 20_000,
            pending: 0,
            length: 20_000
        }
    );
    let (to, mut reports) = mpsc::unbounded_channel();
    let many = ConsumerOptions {
        concurrency: 200,
        batch: 100,
        ..options()
    };
    let worker = Worker::start(&settings, many, report(to));
    let handled = take(&mut reports, pushed.len()).await;
    assert_eq!(set(handled), set(pushed));
    eventually(async || depth(&settings).await == Depth::default()).await;
    worker.stop().await;
}
