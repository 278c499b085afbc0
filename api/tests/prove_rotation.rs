//! Keys change and Redis forgets while requests come in: nobody notices.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use latchkey_api::key_file;
use latchkey_shared::{clock::SystemClock, crypto::signing::Algorithm, random::OsRandom};
use latchkey_testing::{Prove, RealProcess, TestBed};
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::support::{ADMIN, Api, text};

const SESSIONS: u32 = 25;
const HS256: &str = "k1:MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=\n";

/// Sessions that are used and refreshed on all processes in turn, until they are stopped.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
    failed: Arc<Mutex<Vec<(StatusCode, String)>>>,
    sessions: Vec<JoinHandle<()>>,
}

impl Load {
    pub(crate) async fn begin(api: &Api, processes: &[&RealProcess], per_second: u32) -> Self {
        let mut load = Self {
            stop: Arc::default(),
            answered: Arc::default(),
            failed: Arc::default(),
            sessions: Vec::new(),
        };
        let urls: Vec<String> = processes.iter().map(|process| process.base_url.clone()).collect();
        let pace = Duration::from_secs(1) * SESSIONS / per_second;
        for _ in 0..SESSIONS {
            let mut session = api.login("platform", ADMIN).await;
            let (stop, answered, failed) = (
                Arc::clone(&load.stop),
                Arc::clone(&load.answered),
                Arc::clone(&load.failed),
            );
            let (client, urls) = (api.client.clone(), urls.clone());
            load.sessions.push(tokio::spawn(async move {
                let mut pace = tokio::time::interval(pace);
                for (turn, url) in (1..).zip(urls.iter().cycle()) {
                    pace.tick().await;
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    let (status, body) = ask(&client, url, &session, turn % 10 == 0).await;
                    answered.fetch_add(1, Ordering::Relaxed);
                    if status != 200 {
                        failed.lock().unwrap().push((status, body.to_string()));
                    } else if body.get("access_token").is_some() {
                        session = body;
                    }
                }
            }));
        }
        load
    }

    pub(crate) async fn end(self) -> (u64, Vec<(StatusCode, String)>) {
        self.stop.store(true, Ordering::Relaxed);
        for session in self.sessions {
            session.await.unwrap();
        }
        let failed = self.failed.lock().unwrap().clone();
        (self.answered.load(Ordering::Relaxed), failed)
    }
}

async fn ask(client: &Client, url: &str, session: &Value, refresh: bool) -> (StatusCode, Value) {
    let request = if refresh {
        client
            .post(format!("{url}/v1/auth/refresh"))
            .json(&json!({ "refresh_token": session["refresh_token"] }))
    } else {
        client
            .get(format!("{url}/v1/auth/me"))
            .bearer_auth(text(session, "access_token"))
    };
    let answer = request.send().await.unwrap();
    (answer.status(), answer.json().await.unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s23_three_rotations_under_load_fail_no_request() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("keys");
    std::fs::write(&path, HS256).unwrap();
    let settings = [
        ("tokens.keys_file", path.to_str().unwrap()),
        ("log.level", "warn"),
    ];
    let bed = TestBed::with(&settings).await;
    let api = Api::start(&bed).await;
    api.admin().await;
    let (first, second) = (RealProcess::api(&bed).await, RealProcess::api(&bed).await);
    let load = Load::begin(&api, &[&first, &second], Prove::size(100, 500)).await;
    for algorithm in [Algorithm::EdDsa, Algorithm::Es256, Algorithm::Hs256] {
        tokio::time::sleep(Prove::size(Duration::from_secs(1), Duration::from_secs(10))).await;
        let key = key_file::generate(algorithm, &SystemClock, &OsRandom::new()).unwrap();
        key_file::rotate(&path, key, 4).unwrap();
    }
    tokio::time::sleep(Prove::size(Duration::from_secs(2), Duration::from_secs(10))).await;
    let (answered, failed) = load.end().await;
    println!(
        "{answered} requests while the signing key changed three times: {} failed",
        failed.len()
    );
    assert!(failed.is_empty(), "{failed:?}");
    let newest = key_file::read(&path).unwrap().current().id.clone();
    let token = text(&api.login("platform", ADMIN).await, "access_token");
    assert!(token_kid(&token).contains(&newest), "the newest key signs");
}

fn token_kid(token: &str) -> String {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    let header = URL_SAFE_NO_PAD.decode(token.split('.').next().unwrap()).unwrap();
    String::from_utf8(header).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s22_redis_forgets_under_load_and_nothing_fails_or_revives() {
    let bed = TestBed::with(&[("log.level", "warn")]).await;
    let api = Api::start(&bed).await;
    api.admin().await;
    let (first, second) = (RealProcess::api(&bed).await, RealProcess::api(&bed).await);
    let revoked = text(&api.login("platform", ADMIN).await, "access_token");
    api.post_as(&revoked, "/v1/auth/logout", json!({}))
        .await
        .expect(204);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let load = Load::begin(&api, &[&first, &second], Prove::size(100, 500)).await;
    for _ in 0..Prove::size(3, 20) {
        tokio::time::sleep(Duration::from_secs(1)).await;
        crate::revocation::flush(&bed).await;
        for process in [&first, &second] {
            let request = api.client.get(format!("{}/v1/auth/me", process.base_url));
            let answer = request.bearer_auth(&revoked).send().await.unwrap();
            assert_eq!(answer.status(), 401, "a revoked session came back");
        }
    }
    let (answered, failed) = load.end().await;
    println!(
        "{answered} requests while Redis was emptied again and again: {} failed",
        failed.len()
    );
    assert!(failed.is_empty(), "{failed:?}");
}
