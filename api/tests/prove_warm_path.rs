//! What a request costs in round trips, counted on the wire.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use latchkey_testing::{Prove, RealProcess, TestBed};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use url::Url;

use crate::support::{ADMIN, Api, text};

/// Stands before a server and counts what clients send at a time: one round trip each, because none of ours sends
/// again before it has an answer.
struct Wire {
    url: String,
    sent: Arc<AtomicU64>,
}

impl Wire {
    async fn before(url: &str) -> Self {
        let mut url = Url::parse(url).unwrap();
        let server = format!("{}:{}", url.host_str().unwrap(), url.port().unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        url.set_port(Some(listener.local_addr().unwrap().port())).unwrap();
        let sent = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&sent);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(&server).await.unwrap();
                tokio::spawn(pass(client, server, Arc::clone(&count)));
            }
        });
        Self {
            url: url.into(),
            sent,
        }
    }

    fn sent(&self) -> u64 {
        self.sent.load(Ordering::SeqCst)
    }
}

/// PostgreSQL's message of that name. Alone it is the pool's check of a connection that came back: no request waits
/// for it.
const SYNC: &[u8] = b"S\0\0\0\x04";

async fn pass(client: TcpStream, server: TcpStream, sent: Arc<AtomicU64>) {
    client.set_nodelay(true).unwrap();
    server.set_nodelay(true).unwrap();
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    tokio::spawn(async move { tokio::io::copy(&mut from_server, &mut to_client).await });
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(length @ 1..) = from_client.read(&mut buffer).await {
        if &buffer[..length] != SYNC {
            sent.fetch_add(1, Ordering::SeqCst);
        }
        if to_server.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}

/// The process follows signals beside its requests: four round trips to PostgreSQL and two to Redis a second, at two
/// polls of each; twice that is allowed for.
fn background(elapsed: Duration) -> u64 {
    40 + elapsed.as_secs() * 16
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_warm_request_makes_no_round_trip_and_a_refresh_two() {
    let bed = TestBed::with(&[("log.level", "warn")]).await;
    Api::start(&bed).await.admin().await;
    let (postgres, redis) = (
        Wire::before(&bed.app_url()).await,
        Wire::before(bed.context.config.redis.url.expose()).await,
    );
    let settings = [
        ("postgres.url", postgres.url.as_str()),
        ("redis.url", redis.url.as_str()),
        // Each connection learns a statement once: with one there is no more to learn after the first refresh.
        ("postgres.max_connections", "2"),
    ];
    let process = RealProcess::api_with(&bed, &settings).await;
    let api = Api::start_another(&bed).await;
    let session = api.login("platform", ADMIN).await;
    let token = text(&session, "access_token");
    let client = &api.client;
    let me = || async {
        let request = client.get(format!("{}/v1/auth/me", process.base_url));
        let answer = request.bearer_auth(&token).send().await.unwrap();
        assert_eq!(answer.status(), 200);
    };
    me().await;
    // About another user, whose account is remembered as one's own is.
    let platform = api.admin().await;
    api.tenant(&platform, "acme").await;
    let owner = api.login("acme", "owner@acme.test").await;
    api.user("acme", "ada@example.com").await;
    let ada = text(&api.login("acme", "ada@example.com").await["user"], "id");
    let question = serde_json::json!({ "permission": "users:read", "user_id": ada });
    let check = async || {
        let request = client.post(format!("{}/v1/authz/check", process.base_url));
        let request = request.bearer_auth(text(&owner, "access_token")).json(&question);
        assert_eq!(request.send().await.unwrap().status(), 200);
    };
    check().await;

    let requests = Prove::size(1_000, 20_000);
    let (before, started) = ((postgres.sent(), redis.sent()), Instant::now());
    for _ in 0..requests {
        me().await;
        check().await;
    }
    let (trips, allowed) = (
        (postgres.sent() - before.0, redis.sent() - before.1),
        background(started.elapsed()),
    );
    println!(
        "{requests} warm requests for oneself and as many questions about another in {:?}: {} round trips to PostgreSQL and {} to Redis, all of them in the background",
        started.elapsed(),
        trips.0,
        trips.1
    );
    assert!(
        trips.0 <= allowed && trips.1 <= allowed,
        "{trips:?} against {allowed}"
    );

    let mut refresh = text(&session, "refresh_token");
    let mut go_on = async || {
        let body = serde_json::json!({ "refresh_token": refresh });
        let request = client.post(format!("{}/v1/auth/refresh", process.base_url));
        let answer = request.json(&body).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        refresh = text(&answer.json().await.unwrap(), "refresh_token");
    };
    for _ in 0..20 {
        go_on().await;
    }
    let refreshes = Prove::size(300, 2_000);
    let (before, started) = (postgres.sent(), Instant::now());
    for _ in 0..refreshes {
        go_on().await;
    }
    let (trips, allowed) = (postgres.sent() - before, background(started.elapsed()));
    println!(
        "{refreshes} refreshes in {:?}: {trips} round trips to PostgreSQL, up to {allowed} of them in the background",
        started.elapsed()
    );
    // To begin, to state the tenant, two of its own, to commit.
    assert!(
        trips <= refreshes * 5 + allowed,
        "{trips} round trips, {allowed} allowed beside five each"
    );
}
