//! A flood of sign-ins costs neither memory nor other people's time.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use latchkey_testing::{Prove, RealProcess, TestBed};
use reqwest::Client;
use serde_json::json;

use crate::support::{ADMIN, Api, PASSWORD, text};

const THREADS: usize = 2;
const FLOOD: usize = 50 * THREADS;
const HASH_BYTES: u64 = 19_456 * 1024;

pub(crate) fn p99(sample: &mut [Duration]) -> Duration {
    sample.sort_unstable();
    sample[sample.len() * 99 / 100]
}

/// Asks one after the other, a little apart, as one person's page would.
pub(crate) async fn latencies(client: &Client, url: &str, token: &str, samples: usize) -> Vec<Duration> {
    let mut took = Vec::with_capacity(samples);
    // Seldom enough that asking does not itself keep the machine busy.
    let mut pace = tokio::time::interval(Duration::from_millis(20));
    for _ in 0..samples {
        pace.tick().await;
        let started = Instant::now();
        let answer = client.get(url).bearer_auth(token).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        took.push(started.elapsed());
    }
    took
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s08_a_flood_of_sign_ins_is_bounded_and_slows_nobody_else() {
    let samples = Prove::size(100, 2000);
    let settings = [
        ("passwords.memory_kib", "19456"),
        ("passwords.iterations", "2"),
        ("passwords.threads", "2"),
        ("passwords.queue", "16"),
        ("log.level", "warn"),
    ];
    let bed = TestBed::with(&settings).await;
    let helper = Api::start(&bed).await;
    helper.admin().await;
    // Otherwise the flood's sign-ins end the session that asks beside them.
    helper
        .execute(r#"UPDATE tenants SET settings = settings || '{"sessions": {"max_per_user": 65535}}'"#)
        .await;
    let api = RealProcess::api(&bed).await;
    let client = Client::builder().build().unwrap();
    let body = json!({ "email": ADMIN, "password": PASSWORD });
    let login = || {
        client
            .post(format!("{}/v1/auth/login", api.base_url))
            .header("x-tenant-id", "platform")
            .json(&body)
    };
    let session = login().send().await.unwrap().json().await.unwrap();
    let (token, me) = (
        text(&session, "access_token"),
        format!("{}/v1/auth/me", api.base_url),
    );
    // Both threads have their memory from here on.
    futures::future::join_all((0..THREADS * 2).map(|_| login().send())).await;

    let mut idle = latencies(&client, &me, &token, samples).await;
    let memory_before = api.memory();
    let (stop, done, refused) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicUsize::new(0)),
        Arc::new(AtomicUsize::new(0)),
    );
    let flood = (0..FLOOD).map(|_| {
        let (request, stop, done, refused) = (
            login(),
            Arc::clone(&stop),
            Arc::clone(&done),
            Arc::clone(&refused),
        );
        tokio::spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                let answer = request.try_clone().unwrap().send().await.unwrap();
                if answer.status() == 503 {
                    refused.fetch_add(1, Ordering::Relaxed);
                    let wait: u64 = answer.headers()["retry-after"].to_str().unwrap().parse().unwrap();
                    tokio::time::sleep(Duration::from_secs(wait)).await;
                } else {
                    assert_eq!(answer.status(), 200);
                    done.fetch_add(1, Ordering::Relaxed);
                }
            }
        })
    });
    let flood: Vec<_> = flood.collect();
    let mut busy = latencies(&client, &me, &token, samples).await;
    let memory = api.memory();
    stop.store(true, Ordering::Relaxed);
    for task in flood {
        task.await.unwrap();
    }

    let (idle, busy) = (p99(&mut idle), p99(&mut busy));
    let grown = memory.saturating_sub(memory_before);
    let (done, refused) = (done.load(Ordering::Relaxed), refused.load(Ordering::Relaxed));
    println!(
        "me p99: idle {idle:?}, under {FLOOD} sign-ins at once {busy:?}; {done} signed in, {refused} told to come \
         back; memory {} MiB, grown by {} MiB",
        memory >> 20,
        grown >> 20
    );
    assert!(refused > 0, "the excess is refused");
    assert!(done > 0, "the others are served");
    assert!(
        grown < HASH_BYTES,
        "the flood took {grown} bytes: more than one more hash's memory"
    );
    // How long things take on a busy machine with an unoptimised build says nothing; the proof is run by itself.
    if Prove::is_full() {
        assert!(
            busy <= Duration::from_millis(10).max(idle * 2),
            "{busy:?} against {idle:?} idle"
        );
    }
}
