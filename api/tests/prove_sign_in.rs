//! Sign-ins come as fast as the machine can hash, and nobody else waits for them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use latchkey_shared::{
    config,
    crypto::password::{Hasher, Memory},
    secret::Secret,
    seed::{Seed, seed},
};
use latchkey_testing::{Prove, RealProcess, TestBed};
use reqwest::Client;
use sea_orm::{ConnectionTrait, Database};
use serde_json::{Value, json};

use crate::{
    prove_flood::{latencies, p99},
    support::{PASSWORD, text},
};

/// So many sign in at a time, each as one of their people after the other.
const CLIENTS: usize = 16;
const TENANT: &str = "seed-000005";

/// Hashes a second of that many threads that do nothing else, with the settings and the kept memory of the server's.
fn hash_ceiling(settings: &config::Passwords, during: Duration) -> f64 {
    let hasher = Hasher::new(settings).unwrap();
    let measure = || {
        let (mut memory, password) = (Memory::default(), Secret::new(PASSWORD.to_owned()));
        let mut hash = || hasher.hash(&password, &[7; 16], &mut memory).unwrap();
        // The first one takes the memory.
        hash();
        let (started, mut count) = (Instant::now(), 0.0);
        while started.elapsed() < during {
            hash();
            count += 1.0;
        }
        count / started.elapsed().as_secs_f64()
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..settings.threads).map(|_| scope.spawn(measure)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sign_ins_reach_nine_tenths_of_the_hash_ceiling() {
    let samples = Prove::size(100, 2000);
    let settings = [
        ("passwords.memory_kib", "19456"),
        ("passwords.iterations", "2"),
        ("passwords.queue", "64"),
        ("log.level", "warn"),
    ];
    let bed = TestBed::with(&settings).await;
    // Enough rows, and statistics of them, that the database looks things up as it does on a platform in use.
    let people = Prove::size(2 * CLIENTS, 25 * CLIENTS);
    let request = Seed {
        tenants: 10,
        users: u32::try_from(people).unwrap() + 1,
        password: Secret::new(PASSWORD.to_owned()),
    };
    seed(&bed.context, request).await.unwrap();
    let api = RealProcess::api(&bed).await;
    let client = Client::builder().build().unwrap();
    let login = |person: usize, device: Option<&str>| {
        let email = format!("user-{person}@{TENANT}.test");
        client
            .post(format!("{}/v1/auth/login", api.base_url))
            .header("x-tenant-id", TENANT)
            .json(&json!({ "email": email, "password": PASSWORD, "device_token": device }))
    };
    // The first does not sign in again: the oldest of too many sessions ends.
    let answer = login(1, None).send().await.unwrap();
    let owner = text(&answer.json::<Value>().await.unwrap(), "access_token");
    // All threads have their memory, all connections are there, and every device is known from here on.
    let warm = (0..CLIENTS).map(|first| async move {
        let mut known = Vec::new();
        for person in (first + 2..people + 2).step_by(CLIENTS) {
            let answer = login(person, None).send().await.unwrap();
            let session = answer.json::<Value>().await.unwrap();
            known.push(login(person, Some(&text(&session, "device_token"))));
        }
        known
    });
    let clients = futures::future::join_all(warm).await;
    let db = Database::connect(&bed.owner_url).await.unwrap();
    db.execute_unprepared("ANALYZE").await.unwrap();
    db.close().await.unwrap();
    let me = format!("{}/v1/auth/me", api.base_url);
    let ceiling = async || {
        let passwords = bed.context.config.passwords.clone();
        let during = Prove::size(Duration::from_millis(500), Duration::from_secs(10));
        tokio::task::spawn_blocking(move || hash_ceiling(&passwords, during))
            .await
            .unwrap()
    };
    let before = ceiling().await;
    let mut idle = latencies(&client, &me, &owner, samples).await;

    let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let started = Instant::now();
    let flood: Vec<_> = clients
        .into_iter()
        .map(|known| {
            let (stop, done) = (Arc::clone(&stop), Arc::clone(&done));
            tokio::spawn(async move {
                for request in known.iter().cycle() {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let answer = request.try_clone().unwrap().send().await.unwrap();
                    assert_eq!(answer.status(), 200);
                    done.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    let mut busy = latencies(&client, &me, &owner, samples).await;
    let (done, took) = (done.load(Ordering::Relaxed), started.elapsed());
    stop.store(true, Ordering::Relaxed);
    for task in flood {
        task.await.unwrap();
    }
    // The machine is not always as fast as it was a minute ago.
    let ceiling = f64::midpoint(before, ceiling().await);

    #[expect(clippy::cast_precision_loss, reason = "a few thousand")]
    let rate = done as f64 / took.as_secs_f64();
    let (idle, busy) = (p99(&mut idle), p99(&mut busy));
    println!(
        "{rate:.1} sign-ins a second, {:.2} of the {ceiling:.1} hashes that {} threads could compute; me p99: idle \
         {idle:?}, meanwhile {busy:?}",
        rate / ceiling,
        bed.context.config.passwords.threads
    );
    assert!(done > 0, "nobody was signed in");
    // How long things take on a busy machine with an unoptimised build says nothing; the proof is run by itself.
    if Prove::is_full() {
        assert!(
            rate >= 0.9 * ceiling,
            "{rate:.1} against a ceiling of {ceiling:.1}"
        );
        assert!(
            busy <= Duration::from_millis(10).max(idle * 2),
            "{busy:?} against {idle:?} idle"
        );
    }
}
