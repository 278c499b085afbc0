//! Forged and misused tokens.

use std::{sync::Arc, time::Duration};

use chrono::TimeDelta;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use latchkey_shared::config::Config;
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

#[tokio::test]
async fn s17_a_key_verifies_its_own_algorithm_only() {
    use latchkey_shared::crypto::signing::{Algorithm as Kind, PublicKey, SigningKey};
    use latchkey_shared::random::OsRandom;
    let make = |id: &str, kind| SigningKey::generate(id.to_owned(), kind, &OsRandom::new()).unwrap();
    let (ed, es) = (make("ed", Kind::EdDsa), make("es", Kind::Es256));
    let hmac = "k1:MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
    let ring = [hmac, ed.entry().expose(), es.entry().expose()].join(",");
    let bed = TestBed::with(&[("tokens.keys", &ring)]).await;
    let api = Api::start(&bed).await;
    let good = claims(&api.admin().await);
    let forge = |alg, kid: &str, key: &EncodingKey| {
        let mut header = header();
        (header.alg, header.kid) = (alg, Some(kid.to_owned()));
        encode(&header, &good, key).unwrap()
    };
    let edwards = EncodingKey::from_ed_der(ed.material.expose());
    let elliptic = EncodingKey::from_ec_der(es.material.expose());
    for token in [
        forge(Algorithm::EdDSA, "ed", &edwards),
        forge(Algorithm::ES256, "es", &elliptic),
    ] {
        api.get_as(&token, "/v1/auth/me").await.expect(200);
    }
    let mut forged = vec![
        forge(Algorithm::EdDSA, "es", &edwards),
        forge(Algorithm::ES256, "ed", &elliptic),
        forge(Algorithm::EdDSA, "k1", &edwards),
        forge(Algorithm::HS256, "ed", &EncodingKey::from_secret(KEY)),
        forge(Algorithm::HS256, "es", &EncodingKey::from_secret(KEY)),
    ];
    for (kid, key) in [("ed", &ed), ("es", &es)] {
        let public = key.public.as_ref().map(PublicKey::bytes).unwrap();
        forged.push(forge(Algorithm::HS256, kid, &EncodingKey::from_secret(public)));
        let material = key.material.expose();
        forged.push(forge(Algorithm::HS256, kid, &EncodingKey::from_secret(material)));
    }
    for token in forged {
        api.get_as(&token, "/v1/auth/me")
            .await
            .refused(401, "unauthenticated");
    }
}

async fn introspect(api: &Api, caller: &str, token: &str) -> Value {
    let body = json!({ "token": token });
    let by_json = api.post_as(caller, "/v1/auth/introspect", body).await.expect(200);
    let form = api
        .request(reqwest::Method::POST, "/v1/auth/introspect")
        .bearer_auth(caller)
        .header("content-type", "application/x-www-form-urlencoded")
        // What OAuth's clients send besides is ignored.
        .body(format!(
            "token={token}&token_type_hint=access_token&client_id=billing&client_secret=x"
        ));
    let by_form = Api::send(form).await.expect(200);
    assert_eq!(by_json, by_form);
    by_json
}

#[tokio::test]
async fn a_service_learns_what_a_token_of_its_tenant_is_worth() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let admin = api.admin().await;
    let (tenant, owner) = api.tenant(&admin, "acme").await;
    api.user("acme", "ada@example.com").await;
    let login = api.login("acme", "ada@example.com").await;
    let (access, refresh) = (text(&login, "access_token"), text(&login, "refresh_token"));

    let active = introspect(&api, &owner, &access).await;
    let claims = claims(&access);
    for (field, value) in [
        ("active", &json!(true)),
        ("token_type", &json!("Bearer")),
        ("username", &json!("ada@example.com")),
        ("tid", &json!(tenant)),
        ("sid", &login["session_id"]),
        ("sub", &login["user"]["id"]),
        ("jti", &claims["jti"]),
        ("iss", &claims["iss"]),
        ("aud", &claims["aud"]),
        ("iat", &claims["iat"]),
        ("exp", &claims["exp"]),
    ] {
        assert_eq!(&active[field], value, "{field}");
    }
    let active = introspect(&api, &owner, &refresh).await;
    assert_eq!(
        (&active["active"], &active["token_type"], &active["sid"]),
        (&json!(true), &json!("refresh_token"), &login["session_id"])
    );

    let inactive = json!({ "active": false });
    assert_eq!(
        introspect(&api, &admin, &access).await,
        inactive,
        "another tenant's"
    );
    assert_eq!(
        introspect(&api, &admin, &refresh).await,
        inactive,
        "another tenant's"
    );
    let no_token = &refresh[..50];
    for token in ["garbage", "lkr_garbage", "a.b.c", no_token, &access[..100]] {
        assert_eq!(introspect(&api, &owner, token).await, inactive, "{token}");
    }
    api.post_as(&access, "/v1/auth/introspect", json!({ "token": access }))
        .await
        .refused(403, "forbidden");

    // It was asked about four times and is still good for one use.
    let next = api.refresh(&refresh).await.expect(200);
    assert_eq!(introspect(&api, &owner, &refresh).await, inactive, "a used one");
    let (access, refresh) = (text(&next, "access_token"), text(&next, "refresh_token"));
    api.post_as(&access, "/v1/auth/logout", json!({}))
        .await
        .expect(204);
    for token in [&access, &refresh] {
        assert_eq!(
            introspect(&api, &owner, token).await,
            inactive,
            "of an ended session"
        );
    }
    let twice = api
        .request(reqwest::Method::POST, "/v1/auth/introspect")
        .bearer_auth(&owner)
        .header("content-type", "application/x-www-form-urlencoded")
        .body("token=a&token=b");
    Api::send(twice).await.refused(422, "validation_failed");
}

#[tokio::test]
async fn s16_no_token_of_who_owes_a_second_factor_is_active() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let admin = api.admin().await;
    let (_, owner) = api.tenant(&admin, "acme").await;
    api.user("acme", "ada@example.com").await;
    let login = api.login("acme", "ada@example.com").await;
    let settings = json!({ "mfa": { "requirement": "required_for_roles", "roles": ["member"] } });
    let change = api
        .request(reqwest::Method::PATCH, "/v1/tenant/settings")
        .bearer_auth(&owner)
        .header("if-match", "*")
        .json(&settings);
    Api::send(change).await.expect(200);
    for token in ["access_token", "refresh_token"] {
        let told = introspect(&api, &owner, &text(&login, token)).await;
        assert_eq!(told, json!({ "active": false }), "{token}");
    }
}

#[tokio::test]
async fn an_expired_token_is_not_active() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let old = api.admin().await;
    bed.clock.advance(chrono::TimeDelta::minutes(16));
    let new = text(&api.login("platform", ADMIN).await, "access_token");
    assert_eq!(introspect(&api, &new, &old).await, json!({ "active": false }));
    assert_eq!(introspect(&api, &new, &new).await["active"], true);
}

#[tokio::test]
async fn s20_a_token_from_before_a_shorter_lifetime_does_not_outlive_what_is_known_of_revocations() {
    let bed = TestBed::with(&[("tokens.access_ttl", "3600")]).await;
    let api = Api::start(&bed).await;
    let token = api.admin().await;
    let mut context = bed.another_process().await;
    let mut config = Config::clone(&context.config);
    config.tokens.access_ttl = Duration::from_mins(5);
    context.config = Arc::new(config);
    let stricter = Api::serve(context).await;
    stricter.get_as(&token, "/v1/auth/me").await.expect(200);
    bed.clock.advance(TimeDelta::seconds(301));
    stricter
        .get_as(&token, "/v1/auth/me")
        .await
        .refused(401, "unauthenticated");
    api.get_as(&token, "/v1/auth/me").await.expect(200);
}
