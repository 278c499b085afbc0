//! The second factor, by the codes of an implementation that is not ours.

mod challenge;
mod codes;
mod devices;
mod enrolment;
mod reset;

use std::process::Command;

use chrono::{DateTime, TimeDelta, Utc};
use latchkey_shared::clock::Clock;
use latchkey_testing::TestBed;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Answer, Api, PASSWORD, text};

const ADA: &str = "ada@example.com";

/// What pyotp makes of the secret at that time.
pub(crate) fn pyotp(secret: &str, at: DateTime<Utc>) -> String {
    let python = std::env::var("LATCHKEY_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let program = "import sys, pyotp; print(pyotp.TOTP(sys.argv[1]).at(int(sys.argv[2])))";
    let output = Command::new(&python)
        .args(["-c", program, secret, &at.timestamp().to_string()])
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{python} has no pyotp; LATCHKEY_TEST_PYTHON names one that has, and `./dev test` makes it"
    );
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// The bytes that text in base32 of that alphabet stands for.
fn base32(alphabet: &str, text: &str) -> Vec<u8> {
    let bits = |letter: char| {
        let value = alphabet.find(letter).unwrap();
        (0..5).rev().map(move |bit| (value >> bit) & 1 == 1)
    };
    let bits: Vec<bool> = text.chars().flat_map(bits).collect();
    let byte = |bits: &[bool]| bits.iter().fold(0, |byte, bit| byte * 2 + u8::from(*bit));
    bits.chunks_exact(8).map(byte).collect()
}

/// A user with an authenticator.
struct Enrolled {
    of_one_factor: String,
    access: String,
    refresh: String,
    device: String,
    secret: String,
    recovery_codes: Vec<String>,
}

/// A tenant with those settings for second factors, and a user in it who is signed in.
async fn signed_in(api: &Api, mfa: Value) -> Value {
    let admin = api.admin().await;
    let body = json!({ "slug": "acme", "name": "Acme" });
    api.post_as(&admin, "/v1/tenants", body).await.expect(201);
    let settings = json!({ "mfa": mfa });
    // Before the tenant is first looked up: nothing tells this process of it.
    api.execute(&format!(
        "UPDATE tenants SET settings = '{settings}' WHERE slug = 'acme'"
    ))
    .await;
    api.user("acme", ADA).await;
    api.login("acme", ADA).await
}

/// Begins at the start of a time step, so that none ends meanwhile.
fn align(bed: &TestBed) {
    let into = bed.clock.now().timestamp().rem_euclid(30);
    bed.clock.advance(TimeDelta::seconds(31 - into));
}

async fn set_up(api: &Api, access: &str) -> Value {
    let body = json!({ "password": PASSWORD });
    api.post_as(access, "/v1/mfa/totp/setup", body).await.expect(200)
}

async fn confirm(api: &Api, access: &str, code: &str) -> Answer {
    api.post_as(access, "/v1/mfa/totp/confirm", json!({ "code": code }))
        .await
}

async fn enrol(bed: &TestBed, api: &Api, mfa: Value) -> Enrolled {
    let login = signed_in(api, mfa).await;
    align(bed);
    let access = text(&login, "access_token");
    let secret = text(&set_up(api, &access).await, "secret");
    let codes = confirm(api, &access, &pyotp(&secret, bed.clock.now()))
        .await
        .expect(200);
    let codes = codes["recovery_codes"].as_array().unwrap();
    // Tokens from now on say that both factors were proven.
    let refreshed = api.refresh(&text(&login, "refresh_token")).await.expect(200);
    // The enrolment's code is used up; the next tests begin with one that is not.
    bed.clock.advance(TimeDelta::seconds(30));
    Enrolled {
        of_one_factor: access,
        access: text(&refreshed, "access_token"),
        refresh: text(&refreshed, "refresh_token"),
        device: text(&login, "device_token"),
        secret,
        recovery_codes: codes
            .iter()
            .map(|code| code.as_str().unwrap().to_owned())
            .collect(),
    }
}

/// The token of a first step.
async fn first_step(api: &Api) -> String {
    let asked = api.login("acme", ADA).await;
    assert_eq!(asked["status"], "mfa_required", "{asked}");
    text(&asked, "mfa_token")
}

async fn verify(api: &Api, body: &Value) -> Answer {
    Api::send(api.request(Method::POST, "/v1/auth/mfa/verify").json(body)).await
}

fn totp(mfa_token: &str, code: &str) -> Value {
    json!({ "mfa_token": mfa_token, "method": "totp", "code": code })
}

fn recovery(mfa_token: &str, code: &str) -> Value {
    json!({ "mfa_token": mfa_token, "method": "recovery_code", "code": code })
}

fn claims(token: &str) -> Value {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    let claims = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap()
}

/// Another code than the one that is right now.
fn wrong(code: &str) -> String {
    let digits: u32 = code.parse().unwrap();
    format!("{:06}", (digits + 500_000) % 1_000_000)
}

/// The same code a hundred times costs one process.
fn pyotp_cached(secret: &str, bed: &TestBed) -> String {
    static CODES: std::sync::Mutex<Option<(String, i64, String)>> = std::sync::Mutex::new(None);
    let step = bed.clock.now().timestamp() / 30;
    let mut cached = CODES.lock().unwrap();
    match &*cached {
        Some((of, at, code)) if of == secret && *at == step => code.clone(),
        _ => {
            let code = pyotp(secret, bed.clock.now());
            *cached = Some((secret.to_owned(), step, code.clone()));
            code
        }
    }
}

async fn login_with(api: &Api, device: &str) -> Value {
    let body = json!({ "email": ADA, "password": PASSWORD, "device_token": device });
    api.post("acme", "/v1/auth/login", body).await.expect(200)
}

/// Signs in with both factors on a device that is to be remembered, and gives its token.
async fn remembered(bed: &TestBed, api: &Api, ada: &Enrolled) -> (String, Value) {
    let mut body = totp(&first_step(api).await, &pyotp(&ada.secret, bed.clock.now()));
    body["remember_device"] = json!(true);
    let session = verify(api, &body).await.expect(200);
    (text(&session, "device_token"), session)
}
