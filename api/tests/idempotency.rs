//! A request that is sent again under its key makes nothing twice.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use latchkey_shared::{crypto::mac, retention::delete_expired};
use latchkey_testing::TestBed;
use reqwest::Method;
use sea_orm::{ConnectionTrait, Database, TransactionTrait};
use serde_json::{Value, json};
use tokio::{
    io::AsyncWriteExt,
    net::TcpStream,
    time::{Duration, Instant},
};

use crate::support::{Answer, Api, PASSWORD, text};

const ENDPOINTS: &str = "/v1/webhooks/endpoints";

async fn send(api: &Api, token: &str, key: &str, path: &str, body: Value) -> Answer {
    let request = api.request(Method::POST, path).bearer_auth(token);
    Api::send(request.header("idempotency-key", key).json(&body)).await
}

fn endpoint(name: &str) -> Value {
    json!({ "url": "http://127.0.0.1:9/hook", "description": name })
}

async fn owner(api: &Api) -> String {
    let admin = api.admin().await;
    api.tenant(&admin, "acme").await.1
}

#[tokio::test]
async fn what_is_sent_again_is_answered_as_before_and_made_once() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let owner = owner(&api).await;
    let first = send(&api, &owner, "a", ENDPOINTS, endpoint("one")).await;
    assert!(!first.headers.contains_key("idempotent-replayed"));
    let again = send(&api, &owner, "a", ENDPOINTS, endpoint("one")).await;
    assert_eq!(again.headers["idempotent-replayed"], "true");
    assert_eq!(again.headers["location"], first.headers["location"]);
    assert_eq!(again.headers["content-type"], first.headers["content-type"]);
    let (first, again) = (first.expect(201), again.expect(201));
    assert_eq!(again["endpoint"], first["endpoint"]);
    assert!(text(&first, "secret").starts_with("whsec_"));
    assert_eq!(again["secret"], "redacted", "shown once");
    assert_eq!(api.scalar("SELECT count(*) FROM webhook_endpoints").await, 1);
    // Another process knows as well.
    let other = Api::start_another(&bed).await;
    let again = send(&other, &owner, "a", ENDPOINTS, endpoint("one")).await;
    assert_eq!(again.expect(201)["endpoint"], first["endpoint"]);
}

#[tokio::test]
async fn of_a_hundred_at_once_one_is_carried_out() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let owner = owner(&api).await;
    let body = json!({ "type": "invoice.paid", "payload": { "number": 1 } });
    let requests = (0..100).map(|_| send(&api, &owner, "a", "/v1/webhooks/events", body.clone()));
    let answers = futures::future::join_all(requests).await;
    let mut events = BTreeMap::new();
    for answer in answers {
        match answer.status.as_u16() {
            202 => *events.entry(text(&answer.json(), "event_id")).or_insert(0) += 1,
            _ => {
                answer.refused(409, "idempotency_in_progress");
            }
        }
    }
    assert_eq!(events.len(), 1, "{events:?}");
    let made = "SELECT count(*) FROM events WHERE type = 'invoice.paid'";
    assert_eq!(api.scalar(made).await, 1);
}

#[tokio::test]
async fn a_key_belongs_to_one_request_of_one_principal() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let admin = api.admin().await;
    let (_, acme) = api.tenant(&admin, "acme").await;
    let (_, globex) = api.tenant(&admin, "globex").await;
    let made = send(&api, &acme, "a", ENDPOINTS, endpoint("one"))
        .await
        .expect(201);
    send(&api, &acme, "a", ENDPOINTS, endpoint("two"))
        .await
        .refused(422, "idempotency_mismatch");
    let event = json!({ "type": "invoice.paid", "payload": {} });
    send(&api, &acme, "a", "/v1/webhooks/events", event)
        .await
        .refused(422, "idempotency_mismatch");
    let others = send(&api, &globex, "a", ENDPOINTS, endpoint("one"))
        .await
        .expect(201);
    assert_ne!(others["endpoint"]["id"], made["endpoint"]["id"]);
    // The same person, signed in anew, is the same principal.
    let anew = text(&api.login("acme", "owner@acme.test").await, "access_token");
    let again = send(&api, &anew, "a", ENDPOINTS, endpoint("one")).await;
    assert_eq!(again.headers["idempotent-replayed"], "true");
}

#[tokio::test]
async fn s28_an_api_key_is_not_told_what_another_of_its_owner_was_answered() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let owner = owner(&api).await;
    let key = async |scopes: &[&str]| {
        let body = json!({ "name": "Hooks", "environment": "live", "scopes": scopes, "owner": { "type": "tenant" } });
        text(
            &api.post_as(&owner, "/v1/api-keys", body).await.expect(201),
            "key",
        )
    };
    let (may, may_not) = (key(&["webhooks:write"]).await, key(&["users:read"]).await);
    send(&api, &may, "a", ENDPOINTS, endpoint("one"))
        .await
        .expect(201);
    send(&api, &may_not, "a", ENDPOINTS, endpoint("one"))
        .await
        .refused(403, "forbidden");
    let again = send(&api, &may, "a", ENDPOINTS, endpoint("one")).await;
    assert_eq!(again.headers["idempotent-replayed"], "true");
}

#[tokio::test]
async fn what_was_refused_can_be_mended_under_the_same_key() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let owner = owner(&api).await;
    send(
        &api,
        &owner,
        "a",
        ENDPOINTS,
        json!({ "url": "ftp://example.com" }),
    )
    .await
    .refused(422, "validation_failed");
    send(&api, &owner, "a", ENDPOINTS, endpoint("one"))
        .await
        .expect(201);
    for bad in ["", "two words", &"x".repeat(256)] {
        let problem = send(&api, &owner, bad, ENDPOINTS, endpoint("two")).await;
        let problem = problem.refused(400, "invalid_parameter");
        assert_eq!(problem["errors"][0]["pointer"], "/header/Idempotency-Key");
    }
    assert_eq!(api.scalar("SELECT count(*) FROM webhook_endpoints").await, 1);
}

#[tokio::test]
async fn a_crash_between_the_commit_and_the_answer_makes_nothing_twice() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let owner = owner(&api).await;
    send(&api, &owner, "a", ENDPOINTS, endpoint("one"))
        .await
        .expect(201);
    // As it stands when the process has died with the answer in its hands.
    api.execute("UPDATE idempotency_keys SET sealed = NULL").await;
    send(&api, &owner, "a", ENDPOINTS, endpoint("one"))
        .await
        .refused(409, "idempotency_in_progress");
    bed.clock.advance(TimeDelta::minutes(5));
    send(&api, &owner, "a", ENDPOINTS, endpoint("one"))
        .await
        .refused(409, "idempotency_lost");
    // And where nothing was committed it is begun anew.
    api.execute("UPDATE idempotency_keys SET committed = false").await;
    send(&api, &owner, "a", ENDPOINTS, endpoint("one"))
        .await
        .expect(201);
}

#[tokio::test]
async fn a_day_later_the_key_is_free_and_then_forgotten() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let owner = owner(&api).await;
    send(&api, &owner, "a", ENDPOINTS, endpoint("one"))
        .await
        .expect(201);
    bed.clock.advance(TimeDelta::hours(25));
    delete_expired(&bed.context, 100).await.unwrap();
    assert_eq!(api.scalar("SELECT count(*) FROM idempotency_keys").await, 0);
}

#[tokio::test]
async fn s36_what_was_sent_cannot_be_guessed_from_what_is_kept_of_it() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let owner = owner(&api).await;
    let path = "/v1/users";
    let body = json!({ "email": "ada@example.com", "password": PASSWORD });
    send(&api, &owner, "a", path, body.clone()).await.expect(201);
    let kept = api
        .scalar_text("SELECT encode(fingerprint, 'hex') FROM idempotency_keys")
        .await;
    // Whoever has the source and the database has these, and no key.
    let body = serde_json::to_vec(&body).unwrap();
    for key in [b"idempotency fingerprint".as_slice(), b""] {
        let guess = mac(key, &[path.as_bytes(), &body]);
        assert_ne!(hex::encode(guess), kept);
    }
    let secret = bed.context.config.secrets.data_keys.oldest().bytes.expose();
    let parts: [&[u8]; 3] = [b"idempotency fingerprint", path.as_bytes(), &body];
    assert_eq!(hex::encode(mac(secret, &parts)), kept);
}

#[tokio::test]
async fn who_hangs_up_amid_a_request_is_answered_when_they_ask_again() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let owner = owner(&api).await;
    let db = Database::connect(&bed.owner_url).await.unwrap();
    let held = db.begin().await.unwrap();
    held.execute_unprepared("LOCK TABLE users IN SHARE MODE")
        .await
        .unwrap();
    let user = json!({ "email": "ada@example.com", "password": PASSWORD });
    let body = user.to_string();
    let address = api.base_url.strip_prefix("http://").unwrap();
    let mut connection = TcpStream::connect(address).await.unwrap();
    let request = format!(
        "POST /v1/users HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {owner}\r\nidempotency-key: a\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    connection.write_all(request.as_bytes()).await.unwrap();
    api.until_waiting(1).await;
    drop(connection);
    // The server has noticed by the time it answers another connection.
    send(&api, &owner, "a", "/v1/users", user.clone())
        .await
        .refused(409, "idempotency_in_progress");
    held.rollback().await.unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    let answer = loop {
        let answer = send(&api, &owner, "a", "/v1/users", user.clone()).await;
        if answer.status == 201 {
            break answer;
        }
        assert!(Instant::now() < deadline, "{answer:?}");
        answer.refused(409, "idempotency_in_progress");
    };
    assert_eq!(answer.headers["idempotent-replayed"], "true");
    let made = "SELECT count(*) FROM users WHERE email = 'ada@example.com'";
    assert_eq!(api.scalar(made).await, 1);
}

#[tokio::test]
async fn s21_an_earlier_answer_is_not_told_to_who_may_do_it_no_more() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let owner = owner(&api).await;
    api.user("acme", "ada@acme.test").await;
    let ada = api.login("acme", "ada@acme.test").await;
    let (id, token) = (text(&ada["user"], "id"), text(&ada, "access_token"));
    let role = json!({ "name": "hooks", "permissions": ["webhooks:write"] });
    let role = text(&api.post_as(&owner, "/v1/roles", role).await.expect(201), "id");
    let of_ada = format!("/v1/users/{id}/roles");
    let held = json!({ "role_id": role });
    api.post_as(&owner, &of_ada, held.clone()).await.expect(204);
    send(&api, &token, "a", ENDPOINTS, endpoint("one"))
        .await
        .expect(201);
    let take = api.request(Method::DELETE, &format!("{of_ada}/{role}"));
    Api::send(take.bearer_auth(&owner)).await.expect(204);
    let refused = send(&api, &token, "a", ENDPOINTS, endpoint("one")).await;
    assert!(!refused.headers.contains_key("idempotent-replayed"));
    refused.refused(403, "forbidden");
    api.post_as(&owner, &of_ada, held).await.expect(204);
    let again = send(&api, &token, "a", ENDPOINTS, endpoint("one")).await;
    assert_eq!(again.headers["idempotent-replayed"], "true");
    assert_eq!(api.scalar("SELECT count(*) FROM webhook_endpoints").await, 1);
}
