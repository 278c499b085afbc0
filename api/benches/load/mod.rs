//! What the benchmarks of the API share: a server, somebody signed in, and many connections that ask.

use std::{error::Error, future::pending, sync::Arc, time::Duration};

use latchkey_api::connections::{self, Patience};
use latchkey_shared::{
    auth::{Auth, bootstrap::bootstrap},
    secret::Secret,
    signal, telemetry,
    user::Email,
};
use latchkey_testing::TestBed;
use metrics_exporter_prometheus::PrometheusHandle;
use poem::Endpoint;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

const EMAIL: &str = "admin@platform.test";
const PASSWORD: &str = "correct horse battery staple";
pub(crate) const ROUNDS: usize = 15;
const CONNECTIONS: usize = 32;
const ROUND: Duration = Duration::from_secs(1);

pub(crate) type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// The median of several ratios of rates, one a round; a first round warms up.
pub(crate) async fn compare(name: &str, least: (&str, &str), whole: (&str, &str)) -> Outcome<f64> {
    let mut ratios = Vec::new();
    for round in 0..=ROUNDS {
        let (floor, reached) = (rate(least.0, least.1).await?, rate(whole.0, whole.1).await?);
        if round > 0 {
            println!("bare {floor:.0}/s, {name} {reached:.0}/s: {:.2}", reached / floor);
            ratios.push(reached / floor);
        }
    }
    ratios.sort_unstable_by(f64::total_cmp);
    Ok(ratios[ROUNDS / 2])
}

/// What a server of the API does before it serves, with an administrator made; and what keeps its figures.
pub(crate) async fn start(bed: &TestBed) -> Outcome<(Auth, PrometheusHandle)> {
    let context = &bed.context;
    telemetry::init_logs(&context.config.log)?;
    let metrics = telemetry::init_metrics()?;
    let auth = Auth::start(context.clone(), None)?;
    signal::tail(
        Arc::clone(&context.signals),
        context.postgres.clone(),
        context.redis.clone(),
        Arc::clone(&context.clock),
        CancellationToken::new(),
    )
    .await?;
    bootstrap(context, Email::parse(EMAIL)?, Secret::new(PASSWORD.to_owned())).await?;
    Ok((auth, metrics))
}

/// Serves it on a port of its own; where.
pub(crate) async fn serve(endpoint: impl Endpoint + 'static) -> Outcome<String> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?.to_string();
    let patience = Patience {
        keep_alive: Duration::from_secs(90),
        drain: Duration::ZERO,
    };
    tokio::spawn(connections::serve(listener, endpoint, pending(), patience));
    Ok(address)
}

/// An access token of the platform's administrator.
pub(crate) async fn sign_in(address: &str) -> Outcome<String> {
    let client = reqwest::Client::builder().build()?;
    let answer: serde_json::Value = client
        .post(format!("http://{address}/v1/auth/login"))
        .header("x-tenant-id", "platform")
        .json(&serde_json::json!({ "email": EMAIL, "password": PASSWORD }))
        .send()
        .await?
        .json()
        .await?;
    Ok(answer["access_token"].as_str().ok_or("not signed in")?.to_owned())
}

/// Answers a second over all connections, each of which asks again once it is answered. The client is as plain as can
/// be, because what it costs is taken from both sides alike.
async fn rate(address: &str, request: &str) -> Outcome<f64> {
    let until = Instant::now() + ROUND;
    let asked = (0..CONNECTIONS).map(|_| tokio::spawn(ask(address.to_owned(), request.to_owned(), until)));
    let mut answers = 0;
    for asked in futures::future::join_all(asked).await {
        answers += asked??;
    }
    Ok(f64::from(answers) / ROUND.as_secs_f64())
}

async fn ask(address: String, request: String, until: Instant) -> Outcome<u32> {
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (mut answers, mut buffer) = (0, vec![0; 16 * 1024]);
    while Instant::now() < until {
        stream.write_all(request.as_bytes()).await?;
        let mut length = 0;
        while !is_whole(&buffer[..length])? {
            match stream.read(&mut buffer[length..]).await? {
                0 => return Err("the server hung up".into()),
                read => length += read,
            }
        }
        answers += 1;
    }
    Ok(answers)
}

fn is_whole(answer: &[u8]) -> Outcome<bool> {
    let Some(end) = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n") else {
        return Ok(false);
    };
    let head = std::str::from_utf8(&answer[..end])?.to_ascii_lowercase();
    if !head.starts_with("http/1.1 200") {
        return Err(head.into());
    }
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "))
        .map_or(Ok(0), str::parse::<usize>)?;
    Ok(answer.len() >= end + 4 + length)
}
