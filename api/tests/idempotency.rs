//! A request that is sent again under its key makes nothing twice.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use latchkey_shared::retention::delete_expired;
use latchkey_testing::TestBed;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Answer, Api, text};

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
