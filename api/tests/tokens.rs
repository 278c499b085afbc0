//! Forged and misused tokens.

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use latchkey_testing::TestBed;
use serde_json::{Value, json};

use crate::support::{ADMIN, Api, text};

const KEY: &[u8] = b"0123456789abcdef0123456789abcdef";

fn part(value: &Value) -> String {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    URL_SAFE_NO_PAD.encode(value.to_string())
}

fn claims(token: &str) -> Value {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    let claims = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap()
}

fn header() -> Header {
    let mut header = Header::new(Algorithm::HS256);
    header.typ = Some("at+jwt".to_owned());
    header.kid = Some("k1".to_owned());
    header
}

fn sign(header: &Header, claims: &Value) -> String {
    encode(header, claims, &EncodingKey::from_secret(KEY)).unwrap()
}

/// Tokens that differ from a good one in their claims or their signature.
fn with_forged_claims(good: &Value) -> Vec<(&'static str, String)> {
    let with = |changes: Value| {
        let mut claims = good.clone();
        claims
            .as_object_mut()
            .unwrap()
            .extend(changes.as_object().unwrap().clone());
        sign(&header(), &claims)
    };
    let issued = good["iat"].as_i64().unwrap();
    let other_key = EncodingKey::from_secret(b"another key of 32 bytes, no less");
    let unsigned = part(&json!({ "alg": "none", "typ": "at+jwt", "kid": "k1" }));
    vec![
        ("alg none", format!("{unsigned}.{}.", part(good))),
        ("another key", encode(&header(), good, &other_key).unwrap()),
        ("another issuer", with(json!({ "iss": "https://evil.example" }))),
        ("another audience", with(json!({ "aud": "someone-else" }))),
        ("expired", with(json!({ "exp": issued - 1 }))),
        ("not yet valid", with(json!({ "nbf": issued + 600 }))),
        ("issued in the future", with(json!({ "iat": issued + 600 }))),
        ("too long", with(json!({ "x": "x".repeat(8192) }))),
        ("another tenant", with(json!({ "tid": uuid::Uuid::nil() }))),
        ("nothing", String::new()),
        ("no token at all", "a.b.c".to_owned()),
    ]
}

/// Tokens that are signed with our key, below a header that we never write.
fn with_forged_headers(good: &Value) -> Vec<(&'static str, String)> {
    let forge = |name, change: fn(&mut Header)| {
        let mut header = header();
        change(&mut header);
        (name, sign(&header, good))
    };
    vec![
        forge("another algorithm", |header| header.alg = Algorithm::HS384),
        forge("unknown kid", |header| header.kid = Some("k9".to_owned())),
        forge("no kid", |header| header.kid = None),
        forge("jku", |header| {
            header.jku = Some("https://evil.example/jwks".to_owned());
        }),
        forge("x5u", |header| {
            header.x5u = Some("https://evil.example/x5u".to_owned());
        }),
        forge("another typ", |header| header.typ = Some("JWT".to_owned())),
    ]
}

#[tokio::test]
async fn s17_forged_tokens_are_refused() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let token = api.admin().await;
    let good = claims(&token);
    api.get_as(&sign(&header(), &good), "/v1/auth/me")
        .await
        .expect(200);
    for (name, token) in with_forged_claims(&good)
        .into_iter()
        .chain(with_forged_headers(&good))
    {
        let answer = api.get_as(&token, "/v1/auth/me").await;
        assert_eq!(
            (answer.status.as_u16(), answer.code().as_str()),
            (401, "unauthenticated"),
            "{name}"
        );
        assert!(
            answer.headers["www-authenticate"]
                .to_str()
                .unwrap()
                .starts_with("Bearer"),
            "{name}"
        );
    }
}

#[tokio::test]
async fn s17_a_claim_or_header_that_stands_twice_is_refused() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let token = api.admin().await;
    let parts: Vec<&str> = token.split('.').collect();
    let sign_raw = |header: &str, claims: &str| {
        use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
        let message = format!(
            "{}.{}",
            URL_SAFE_NO_PAD.encode(header),
            URL_SAFE_NO_PAD.encode(claims)
        );
        let key = EncodingKey::from_secret(KEY);
        let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, Algorithm::HS256).unwrap();
        format!("{message}.{signature}")
    };
    let claims = claims(&token).to_string();
    let header = r#"{"alg":"HS256","typ":"at+jwt","kid":"k1"}"#;
    api.get_as(&sign_raw(header, &claims), "/v1/auth/me")
        .await
        .expect(200);
    let twice = claims.replacen('{', &format!("{{\"sub\":\"{}\",", uuid::Uuid::nil()), 1);
    api.get_as(&sign_raw(header, &twice), "/v1/auth/me")
        .await
        .refused(401, "unauthenticated");
    let twice = header.replacen('{', r#"{"alg":"HS256","#, 1);
    api.get_as(&sign_raw(&twice, &claims), "/v1/auth/me")
        .await
        .refused(401, "unauthenticated");
    assert_eq!(parts.len(), 3);
}

#[tokio::test]
async fn s18_tokens_are_never_taken_for_one_another() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let admin = api.admin().await;
    let body = json!({ "slug": "acme", "name": "Acme", "owner": { "email": "ada@acme.test" } });
    api.post_as(&admin, "/v1/tenants", body).await.expect(201);
    let one_time = api.mailed_token("ada@acme.test").await;
    let login = api.login("platform", ADMIN).await;
    let (access, refresh) = (text(&login, "access_token"), text(&login, "refresh_token"));

    for token in [&refresh, &one_time] {
        api.get_as(token, "/v1/auth/me")
            .await
            .refused(401, "unauthenticated");
    }
    for token in [&access[..200], &one_time, &refresh.replace("lkr_", "lko_")] {
        api.refresh(token).await.refused(401, "invalid_refresh_token");
    }
    for token in [&refresh, &refresh.replace("lkr_", "lko_")] {
        let body = json!({ "token": token });
        let verify = api
            .request(reqwest::Method::POST, "/v1/auth/email/verify")
            .json(&body);
        Api::send(verify).await.refused(400, "invalid_token");
    }
}
