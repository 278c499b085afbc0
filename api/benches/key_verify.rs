//! How much of a bare handler's speed `POST /v1/api-keys/verify` reaches on the warm path, both over HTTP in the same run.
//!
//! The caller comes by a key too. The bare handler reads both keys and the body, hashes both, and answers nothing.
//! `cargo bench --bench key_verify`, with `LATCHKEY_TEST_POSTGRES_URL` and `LATCHKEY_TEST_REDIS_URL` naming the tests'
//! servers.

mod load;

use latchkey_api::{app::app, routes::health::Draining};
use latchkey_shared::api_key::KeyText;
use latchkey_testing::TestBed;
use load::{Outcome, ROUNDS, compare, serve, sign_in, start};
use poem::{
    Request, Route, handler,
    http::{StatusCode, header},
    post,
    web::Json,
};

/// The least share of the bare handler's rate.
const GOAL: f64 = 0.5;

#[handler]
fn bare(request: &Request, Json(asked): Json<serde_json::Value>) -> StatusCode {
    let bearer = request
        .headers()
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.strip_prefix("Bearer "));
    let hashes =
        [bearer, asked["key"].as_str()].map(|key| key.and_then(KeyText::parse).map(|key| key.hash()));
    if hashes[0].is_some() && hashes[0] == hashes[1] {
        StatusCode::OK
    } else {
        StatusCode::UNAUTHORIZED
    }
}

#[tokio::main]
async fn main() -> Outcome<()> {
    let bed = TestBed::with(&[("log.level", "warn"), ("log.format", "json")]).await;
    let (auth, _metrics) = start(&bed).await?;
    let whole = serve(app(auth, Draining::default())?).await?;
    let least = serve(Route::new().at("/v1/api-keys/verify", post(bare))).await?;

    let token = sign_in(&whole).await?;
    let created: serde_json::Value = reqwest::Client::builder()
        .build()?
        .post(format!("http://{whole}/v1/api-keys"))
        .bearer_auth(token)
        .json(&serde_json::json!({ "name": "b", "environment": "live", "scopes": ["api_keys:verify"] }))
        .send()
        .await?
        .json()
        .await?;
    let key = created["key"].as_str().ok_or("no key")?;
    let body = serde_json::json!({ "key": key }).to_string();
    let request = |address| {
        format!(
            "POST /v1/api-keys/verify HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {key}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    let median = compare("verify", (&least, &request(&least)), (&whole, &request(&whole))).await?;
    println!("verify reaches {median:.2} of a bare handler's rate (median of {ROUNDS}; the goal is {GOAL})");
    Ok(())
}
