//! How much of a bare handler's speed `GET /v1/auth/me` reaches, both over HTTP in the same run.
//!
//! The bare handler verifies the same access token and answers nothing. `cargo bench --bench me`, with
//! `LATCHKEY_TEST_POSTGRES_URL` and `LATCHKEY_TEST_REDIS_URL` naming the tests' servers.

use std::{error::Error, sync::Arc, time::Duration};

use latchkey_api::{app::app, routes::health::Draining};
use latchkey_shared::{
    auth::{Auth, bootstrap::bootstrap},
    context::Context,
    crypto::jwt::JwtRing,
    secret::Secret,
    signal, telemetry,
    user::Email,
};
use latchkey_testing::TestBed;
use poem::{
    Endpoint, EndpointExt, Request, Route, Server, get, handler,
    http::{StatusCode, header},
    listener::TcpAcceptor,
    web::Data,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::Instant,
};
use tokio_util::sync::CancellationToken;

const EMAIL: &str = "admin@platform.test";
const PASSWORD: &str = "correct horse battery staple";
const CONNECTIONS: usize = 32;
const ROUND: Duration = Duration::from_secs(3);
const ROUNDS: usize = 5;
/// The least share of the bare handler's rate.
const GOAL: f64 = 0.6;

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

#[derive(Clone)]
struct Ring(Arc<JwtRing>, Context);

#[handler]
fn bare(request: &Request, Data(Ring(ring, context)): Data<&Ring>) -> StatusCode {
    let token = request
        .headers()
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.strip_prefix("Bearer "));
    let verified = token.is_some_and(|token| ring.verify(token, context.clock.now()).is_ok());
    if verified {
        StatusCode::OK
    } else {
        StatusCode::UNAUTHORIZED
    }
}

#[tokio::main]
async fn main() -> Outcome<()> {
    let bed = TestBed::with(&[("log.level", "warn"), ("log.format", "json")]).await;
    let context = bed.context.clone();
    telemetry::init_logs(&context.config.log)?;
    let _metrics = telemetry::init_metrics()?;
    let auth = Auth::start(context.clone(), None)?;
    signal::tail(
        Arc::clone(&context.signals),
        context.postgres.clone(),
        context.redis.clone(),
        Arc::clone(&context.clock),
        CancellationToken::new(),
    )
    .await?;
    let keys = context.config.tokens.keys.as_ref().ok_or("no keys")?;
    let ring = Ring(
        Arc::new(JwtRing::new(&context.config.tokens, keys)),
        context.clone(),
    );
    let whole = serve(app(auth, Draining::default())?)?;
    let least = serve(Route::new().at("/v1/auth/me", get(bare)).data(ring))?;

    bootstrap(&context, Email::parse(EMAIL)?, Secret::new(PASSWORD.to_owned())).await?;
    let token = sign_in(&whole).await?;
    let mut ratios = Vec::new();
    for round in 0..=ROUNDS {
        let (floor, me) = (rate(&least, &token).await?, rate(&whole, &token).await?);
        // The first warms up.
        if round > 0 {
            println!("bare {floor:.0}/s, me {me:.0}/s: {:.2}", me / floor);
            ratios.push(me / floor);
        }
    }
    ratios.sort_unstable_by(f64::total_cmp);
    let median = ratios[ROUNDS / 2];
    println!("me reaches {median:.2} of a bare handler's rate (median of {ROUNDS}; the goal is {GOAL})");
    Ok(())
}

fn serve(endpoint: impl Endpoint + 'static) -> Outcome<String> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?.to_string();
    listener.set_nonblocking(true)?;
    tokio::spawn(Server::new_with_acceptor(TcpAcceptor::from_std(listener)?).run(endpoint));
    Ok(address)
}

async fn sign_in(address: &str) -> Outcome<String> {
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
async fn rate(address: &str, token: &str) -> Outcome<f64> {
    let request =
        format!("GET /v1/auth/me HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\n\r\n");
    let until = Instant::now() + ROUND;
    let asked = (0..CONNECTIONS).map(|_| tokio::spawn(ask(address.to_owned(), request.clone(), until)));
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
