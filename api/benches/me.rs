//! How much of a bare handler's speed `GET /v1/auth/me` reaches, both over HTTP in the same run.
//!
//! The bare handler verifies the same access token and answers nothing. `cargo bench --bench me`, with
//! `LATCHKEY_TEST_POSTGRES_URL` and `LATCHKEY_TEST_REDIS_URL` naming the tests' servers.

mod load;

use std::sync::Arc;

use latchkey_api::{app::app, routes::health::Draining};
use latchkey_shared::{context::Context, crypto::jwt::JwtRing};
use latchkey_testing::TestBed;
use load::{Outcome, ROUNDS, compare, serve, sign_in, start};
use poem::{
    EndpointExt, Request, Route, get, handler,
    http::{StatusCode, header},
    web::Data,
};

/// The least share of the bare handler's rate.
const GOAL: f64 = 0.6;

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
    let (auth, _metrics) = start(&bed).await?;
    let keys = context.config.tokens.keys.as_ref().ok_or("no keys")?;
    let ring = Ring(
        Arc::new(JwtRing::new(&context.config.tokens, keys)),
        context.clone(),
    );
    let whole = serve(app(auth, Draining::default())?).await?;
    let least = serve(Route::new().at("/v1/auth/me", get(bare)).data(ring)).await?;

    let token = sign_in(&whole).await?;
    let request = |address| {
        format!("GET /v1/auth/me HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\n\r\n")
    };
    let median = compare("me", (&least, &request(&least)), (&whole, &request(&whole))).await?;
    println!("me reaches {median:.2} of a bare handler's rate (median of {ROUNDS}; the goal is {GOAL})");
    Ok(())
}
