//! How fast the queue is: jobs pushed without a worker, then drained by a handler that does nothing.
//!
//! `LATCHKEY_TEST_REDIS_URL=redis://127.0.0.1:6379 cargo bench --bench queue`

#![expect(
    clippy::disallowed_methods,
    reason = "ids that nobody else has, of rows that are not there"
)]

use std::{
    error::Error,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use latchkey_shared::queue::{self, ConsumerOptions, Lane, Producer, Settings};
use redis::aio::MultiplexedConnection;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

const JOBS: usize = 200_000;
/// Less than the producer accepts without refusing any.
const PUSH: usize = 20_000;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let client = redis::Client::open(std::env::var("LATCHKEY_TEST_REDIS_URL")?)?;
    let settings = Settings {
        prefix: format!("bench-{}", Uuid::new_v4()),
        client,
    };
    let mut connection = settings.client.get_multiplexed_async_connection().await?;
    for concurrency in [500, 100] {
        let before = used_memory(&mut connection).await?;
        let pushed = push(&settings).await?;
        let full = used_memory(&mut connection).await?;
        let drained = drain(&settings, concurrency).await?;
        let after = used_memory(&mut connection).await?;
        println!(
            "concurrency {concurrency}: pushed {pushed:.0} jobs/s, drained {drained:.0} jobs/s; \
             Redis memory {before} kB before, {full} kB full, {after} kB after"
        );
        let left = queue::depth(&mut connection, &settings.prefix, Lane::Fresh).await?;
        assert_eq!(left, queue::Depth::default(), "everything is done and gone");
    }
    let key = queue::stream_key(&settings.prefix, Lane::Fresh);
    redis::cmd("DEL").arg(key).exec_async(&mut connection).await?;
    Ok(())
}

async fn push(settings: &Settings) -> Result<f64, Box<dyn Error>> {
    let producer = Producer::new(settings)?;
    let begun = Instant::now();
    for _ in 0..JOBS / PUSH {
        producer.push(Lane::Fresh, std::iter::repeat_with(Uuid::new_v4).take(PUSH));
        producer.flush().await;
    }
    Ok(per_second(begun))
}

async fn drain(settings: &Settings, concurrency: usize) -> Result<f64, Box<dyn Error>> {
    let options = ConsumerOptions {
        concurrency,
        ..ConsumerOptions::default()
    };
    let consumer = queue::consume(settings, Lane::Fresh, options)?;
    let (finished, done) = (Arc::new(AtomicUsize::new(0)), CancellationToken::new());
    let handler = {
        let done = done.clone();
        move |_| {
            let (finished, done) = (Arc::clone(&finished), done.clone());
            async move {
                if finished.fetch_add(1, Ordering::Relaxed) + 1 == JOBS {
                    done.cancel();
                }
            }
        }
    };
    let begun = Instant::now();
    let worker = tokio::spawn(queue::run("bench", consumer, done.clone(), handler));
    done.cancelled().await;
    let rate = per_second(begun);
    worker.await??;
    Ok(rate)
}

#[expect(clippy::cast_precision_loss, reason = "far fewer jobs than 2^52")]
fn per_second(begun: Instant) -> f64 {
    JOBS as f64 / begun.elapsed().as_secs_f64()
}

async fn used_memory(connection: &mut MultiplexedConnection) -> Result<u64, Box<dyn Error>> {
    let info: redis::InfoDict = redis::cmd("INFO").arg("memory").query_async(connection).await?;
    Ok(info.get::<u64>("used_memory").ok_or("no used_memory")? / 1024)
}
