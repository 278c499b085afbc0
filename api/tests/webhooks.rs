//! Endpoints, events and deliveries as a tenant sees them. What is sent is the worker's to prove.

use latchkey_testing::TestBed;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Api, text};

async fn owner(api: &Api) -> String {
    let admin = api.admin().await;
    api.tenant(&admin, "acme").await.1
}

#[tokio::test]
async fn an_endpoint_is_created_read_changed_and_deleted() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let owner = owner(&api).await;
    let body = json!({
        "url": "https://hooks.example.com/a", "event_types": ["user.registered"], "description": "CRM",
        "headers": { "X-Token": "canary-5d1f" }
    });
    let created = api.post_as(&owner, "/v1/webhooks/endpoints", body).await;
    let location = created.headers["location"].to_str().unwrap().to_owned();
    let created = created.expect(201);
    assert!(text(&created, "secret").starts_with("whsec_"));
    let read = api.get_as(&owner, &location).await;
    assert!(
        !read.text.contains("whsec_") && !read.text.contains("canary"),
        "{read:?}"
    );
    let read = read.expect(200);
    assert_eq!(read, created["endpoint"]);
    assert_eq!(read["header_names"], json!(["x-token"]));

    let patch = |body: Value| {
        Api::send(
            api.request(Method::PATCH, &location)
                .bearer_auth(&owner)
                .json(&body),
        )
    };
    let changed = patch(json!({ "description": null, "enabled": false }))
        .await
        .expect(200);
    assert_eq!(
        (&changed["description"], &changed["enabled"]),
        (&Value::Null, &json!(false))
    );
    assert_eq!(changed["url"], read["url"]);
    assert_eq!(
        api.get_as(&owner, "/v1/webhooks/endpoints").await.expect(200)["data"][0],
        changed
    );

    let delete = || Api::send(api.request(Method::DELETE, &location).bearer_auth(&owner));
    delete().await.expect(204);
    delete().await.refused(404, "not_found");
    api.get_as(&owner, &location).await.refused(404, "not_found");
}

#[tokio::test]
async fn an_event_becomes_one_delivery_for_each_endpoint_that_takes_it() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let owner = owner(&api).await;
    for (path, types) in [
        ("all", json!([])),
        ("paid", json!(["invoice.paid"])),
        ("users", json!(["user.registered"])),
    ] {
        let body = json!({ "url": format!("https://hooks.example.com/{path}"), "event_types": types });
        api.post_as(&owner, "/v1/webhooks/endpoints", body)
            .await
            .expect(201);
    }
    let body = json!({ "type": "invoice.paid", "payload": { "invoice": "INV-1815", "lines": [1, 2] } });
    let event = text(
        &api.post_as(&owner, "/v1/webhooks/events", body).await.expect(202),
        "event_id",
    );

    let read = api
        .get_as(&owner, &format!("/v1/webhooks/events/{event}"))
        .await
        .expect(200);
    assert_eq!(
        (&read["type"], &read["payload"]["invoice"]),
        (&json!("invoice.paid"), &json!("INV-1815"))
    );
    let deliveries = api
        .get_as(&owner, "/v1/webhooks/deliveries?event_type=invoice.paid")
        .await
        .expect(200);
    let deliveries = deliveries["data"].as_array().unwrap();
    assert_eq!(deliveries.len(), 2);
    for delivery in deliveries {
        assert_eq!(
            (&delivery["event_id"], &delivery["state"]),
            (&json!(event), &json!("pending"))
        );
        assert!(delivery["next_attempt_at"].is_string());
        let attempts = format!("/v1/webhooks/deliveries/{}/attempts", text(delivery, "id"));
        assert_eq!(api.get_as(&owner, &attempts).await.expect(200)["data"], json!([]));
    }
}

#[tokio::test]
async fn bad_endpoints_and_events_are_refused_by_their_field() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let owner = owner(&api).await;
    for (body, pointer) in [
        (json!({ "url": "ftp://example.com/" }), "/url"),
        (json!({ "url": "https://user:pass@example.com/" }), "/url"),
        (json!({ "url": "http://10.0.0.1/" }), "/url"),
        (json!({ "url": "https://169.254.169.254/latest" }), "/url"),
        (
            json!({ "url": "https://example.com/", "headers": { "webhook-id": "x" } }),
            "/headers",
        ),
    ] {
        let problem = api
            .post_as(&owner, "/v1/webhooks/endpoints", body.clone())
            .await
            .refused(422, "validation_failed");
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{body}");
    }
    for event_type in ["user.registered", "UPPER.case", "with space", ".", "a..b"] {
        let body = json!({ "type": event_type, "payload": {} });
        let problem = api
            .post_as(&owner, "/v1/webhooks/events", body)
            .await
            .refused(422, "validation_failed");
        assert_eq!(problem["errors"][0]["pointer"], "/type", "{event_type}");
    }
    let large = json!({ "type": "big.event", "payload": { "x": "x".repeat(300 * 1024) } });
    api.post_as(&owner, "/v1/webhooks/events", large)
        .await
        .refused(422, "validation_failed");
}

#[tokio::test]
async fn a_member_reads_and_writes_no_webhooks() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    owner(&api).await;
    api.user("acme", "ada@example.com").await;
    let member = text(&api.login("acme", "ada@example.com").await, "access_token");
    api.get_as(&member, "/v1/webhooks/endpoints")
        .await
        .refused(403, "forbidden");
    let event = json!({ "type": "invoice.paid", "payload": {} });
    api.post_as(&member, "/v1/webhooks/events", event)
        .await
        .refused(403, "forbidden");
}
