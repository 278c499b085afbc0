//! Endpoints, events and deliveries as a tenant sees them. What is sent is the worker's to prove.

use std::time::Duration;

use chrono::TimeDelta;
use latchkey_testing::{Answer, RealProcess, Receiver, TestBed};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

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
        (
            &read["type"],
            &read["payload"]["invoice"],
            &read["payload_erased"]
        ),
        (&json!("invoice.paid"), &json!("INV-1815"), &json!(false))
    );
    let tomorrow = (bed.context.clock.now() + TimeDelta::days(1)).format("%Y-%m-%dT%H:%M:%SZ");
    for (filter, count) in [
        ("type=invoice.paid".to_owned(), 1),
        ("type=invoice.sent".to_owned(), 0),
        (format!("type=invoice.paid&since={tomorrow}"), 0),
        (format!("type=invoice.paid&until={tomorrow}"), 1),
    ] {
        let found = api
            .get_as(&owner, &format!("/v1/webhooks/events?{filter}"))
            .await
            .expect(200);
        assert_eq!(found["data"].as_array().unwrap().len(), count, "{filter}");
    }
    api.get_as(&owner, "/v1/webhooks/events?type=Nonsense")
        .await
        .expect(422);
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
async fn an_event_leads_to_its_deliveries_and_to_no_others() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let admin = api.admin().await;
    let (_, owner) = api.tenant(&admin, "acme").await;
    let (_, other) = api.tenant(&admin, "globex").await;
    let paid = json!({ "event_types": ["invoice.paid"] });
    let first = endpoint(&api, &owner, paid.clone()).await;
    endpoint(&api, &owner, paid).await;
    let first = first.rsplit('/').next().unwrap();
    let mut events = Vec::new();
    for number in 0..3 {
        let body = json!({ "type": "invoice.paid", "payload": { "number": number } });
        let published = api.post_as(&owner, "/v1/webhooks/events", body).await;
        events.push(text(&published.expect(202), "event_id"));
    }
    // Others of the very same instants.
    api.execute(
        "INSERT INTO deliveries (id, tenant_id, event_id, endpoint_id, event_type, state, next_attempt_at, sweep_at,
                                 created_at)
         SELECT latchkey_uuid_beside(id), tenant_id, latchkey_uuid_beside(event_id), endpoint_id, event_type, state,
                next_attempt_at, sweep_at, created_at FROM deliveries",
    )
    .await;
    let list = async |token: &str, filter: &str| {
        let path = format!("/v1/webhooks/deliveries?{filter}");
        api.get_as(token, &path).await.expect(200)
    };
    let rows = |page: &Value| page["data"].as_array().unwrap().clone();
    assert_eq!(rows(&list(&owner, "").await).len(), 12);
    for event in &events {
        let found = rows(&list(&owner, &format!("event_id={event}")).await);
        assert_eq!(found.len(), 2, "{event}");
        assert!(
            found.iter().all(|row| row["event_id"] == event.as_str()),
            "{found:?}"
        );
        assert_eq!(
            list(&other, &format!("event_id={event}")).await["data"],
            json!([])
        );
    }
    let event = &events[1];
    let tomorrow = (bed.context.clock.now() + TimeDelta::days(1)).format("%Y-%m-%dT%H:%M:%SZ");
    for (filter, count) in [
        (format!("endpoint_id={first}"), 1),
        ("event_type=invoice.paid".to_owned(), 2),
        ("event_type=invoice.sent".to_owned(), 0),
        ("state=pending".to_owned(), 2),
        ("state=failed".to_owned(), 0),
        (format!("since={tomorrow}"), 0),
        (format!("until={tomorrow}"), 2),
    ] {
        let found = list(&owner, &format!("event_id={event}&{filter}")).await;
        assert_eq!(rows(&found).len(), count, "{filter}");
    }
    let by_one = format!("event_id={event}&limit=1");
    let page = list(&owner, &by_one).await;
    let next = list(&owner, &format!("{by_one}&cursor={}", text(&page, "next_cursor"))).await;
    assert_eq!((rows(&next).len(), &next["has_more"]), (1, &json!(false)));
    assert_ne!(rows(&next), rows(&page));
    let nothing = "event_id=00000000-0000-0000-0000-000000000000";
    assert_eq!(list(&owner, nothing).await["data"], json!([]));
    let problem = api.get_as(&owner, "/v1/webhooks/deliveries?event_id=first").await;
    assert_eq!(problem.status, 400, "{problem:?}");
}

#[tokio::test]
async fn attempts_at_an_endpoint_are_found_by_what_became_of_them() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let owner = owner(&api).await;
    let (flapping, steady) = (Receiver::start().await, Receiver::start().await);
    flapping.answer([Answer::status(200), Answer::status(500), Answer::status(200)]);
    let mut endpoints = Vec::new();
    for receiver in [&flapping, &steady] {
        let endpoint = json!({ "url": receiver.url("/") });
        let made = api
            .post_as(&owner, "/v1/webhooks/endpoints", endpoint)
            .await
            .expect(201);
        endpoints.push(text(&made["endpoint"], "id"));
    }
    let _worker = RealProcess::worker(&bed).await;
    for _ in 0..3 {
        let event = json!({ "type": "invoice.paid", "payload": {} });
        api.post_as(&owner, "/v1/webhooks/events", event)
            .await
            .expect(202);
        flapping.next().await;
    }
    let list = async |endpoint: &str, filter: &str| {
        let path = format!("/v1/webhooks/endpoints/{endpoint}/attempts?{filter}");
        let answer = api.get_as(&owner, &path).await.expect(200);
        answer["data"].as_array().unwrap().clone()
    };
    let deadline = Instant::now() + Duration::from_secs(20);
    while list(&endpoints[0], "").await.len() < 3 || list(&endpoints[1], "").await.len() < 3 {
        assert!(Instant::now() < deadline, "attempts are yet to be written");
        sleep(Duration::from_millis(20)).await;
    }
    let statuses = |attempts: &[Value]| {
        attempts
            .iter()
            .map(|one| one["status"].clone())
            .collect::<Vec<_>>()
    };
    // The newest first; retries come minutes later.
    assert_eq!(statuses(&list(&endpoints[0], "").await), [200, 500, 200]);
    let tomorrow = (bed.context.clock.now() + TimeDelta::days(1)).format("%Y-%m-%dT%H:%M:%SZ");
    for (filter, found) in [
        ("outcome=failed".to_owned(), vec![500]),
        ("outcome=succeeded".to_owned(), vec![200, 200]),
        ("error_class=http_status".to_owned(), vec![500]),
        ("error_class=timeout".to_owned(), vec![]),
        (format!("since={tomorrow}"), vec![]),
        (format!("outcome=failed&until={tomorrow}"), vec![500]),
        ("limit=1".to_owned(), vec![200]),
    ] {
        assert_eq!(statuses(&list(&endpoints[0], &filter).await), found, "{filter}");
    }
    assert_eq!(statuses(&list(&endpoints[1], "").await), [204, 204, 204]);
    for filter in ["outcome=perhaps", "error_class=gremlins", "since=yesterday"] {
        let path = format!("/v1/webhooks/endpoints/{}/attempts?{filter}", endpoints[0]);
        let answer = api.get_as(&owner, &path).await;
        assert_eq!(answer.status, 400, "{filter}: {answer:?}");
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
async fn s32_the_platform_opens_a_range_inside_to_one_tenant_alone() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let admin = api.admin().await;
    let (acme, owner) = api.tenant(&admin, "acme").await;
    let (_, other) = api.tenant(&admin, "globex").await;
    let endpoint = || json!({ "url": "https://10.20.3.4/hook" });
    let of_acme = format!("/v1/tenants/{acme}");
    let send = async |token: &str, path: &str, body: Value| {
        let request = api.request(Method::PATCH, path).bearer_auth(token);
        Api::send(request.json(&body)).await
    };
    let patch = async |cidrs: Value| send(&admin, &of_acme, json!({ "webhook_allowed_cidrs": cidrs })).await;
    api.post_as(&owner, "/v1/webhooks/endpoints", endpoint())
        .await
        .refused(422, "validation_failed");
    for (cidrs, place) in [
        (json!(["10.20.0.0/16", "nonsense"]), 1),
        (json!(["0.0.0.0/0"]), 0),
        (json!(["10.0.0.0/8", "::/0"]), 1),
    ] {
        let problem = patch(cidrs).await.refused(422, "validation_failed");
        let pointer = format!("/webhook_allowed_cidrs/{place}");
        assert_eq!(problem["errors"][0]["pointer"], pointer.as_str());
    }
    let changed = patch(json!(["10.20.255.255/16", "10.20.0.0/16"]))
        .await
        .expect(200);
    assert_eq!(changed["webhook_allowed_cidrs"], json!(["10.20.0.0/16"]));
    let made = api
        .post_as(&owner, "/v1/webhooks/endpoints", endpoint())
        .await
        .expect(201);
    let inside = format!("/v1/webhooks/endpoints/{}", text(&made["endpoint"], "id"));
    let outside = json!({ "url": "https://10.21.0.1/" });
    send(&owner, &inside, outside)
        .await
        .refused(422, "validation_failed");
    api.post_as(&other, "/v1/webhooks/endpoints", endpoint())
        .await
        .refused(422, "validation_failed");
    // Its own administrators open nothing.
    let own = json!({ "webhook_allowed_cidrs": ["10.0.0.0/8"] });
    send(&owner, &of_acme, own).await.refused(403, "forbidden");
    let audited = "SELECT count(*) FROM audit_events WHERE action = 'tenant.update'
                       AND detail #>> '{after,webhook_cidrs,0}' = '10.20.0.0/16'";
    assert_eq!(api.scalar(audited).await, 1);
    for nothing in [json!([]), Value::Null] {
        patch(json!(["10.20.0.0/16"])).await.expect(200);
        assert_eq!(
            patch(nothing).await.expect(200)["webhook_allowed_cidrs"],
            json!([])
        );
        api.post_as(&owner, "/v1/webhooks/endpoints", endpoint())
            .await
            .refused(422, "validation_failed");
    }
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

async fn endpoint(api: &Api, owner: &str, more: Value) -> String {
    let mut body = json!({ "url": "https://hooks.example.com/a" });
    body.as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    let created = api.post_as(owner, "/v1/webhooks/endpoints", body).await;
    created.headers["location"].to_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_secret_is_rotated_shown_once_and_audited() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let owner = owner(&api).await;
    let path = endpoint(&api, &owner, json!({})).await;
    let rotate = format!("{path}/secret/rotate");
    let send = |body: Value| {
        let request = api.request(Method::POST, &rotate).bearer_auth(&owner);
        Api::send(request.header("idempotency-key", "a").json(&body))
    };
    let first = send(json!({})).await.expect(200);
    assert!(text(&first, "secret").starts_with("whsec_"));
    let again = send(json!({})).await;
    assert_eq!(again.headers["idempotent-replayed"], "true");
    assert_eq!(text(&again.expect(200), "secret"), "redacted");
    let audited = "SELECT count(*) FROM audit_events WHERE action = 'webhook_endpoint.rotate_secret'";
    assert_eq!(api.scalar(audited).await, 1);
    let a_day =
        "SELECT count(*) FROM webhook_former_secrets WHERE ends_at = created_at + interval '24 hours'";
    assert_eq!(api.scalar(a_day).await, 1);
    for overlap in [json!(-1), json!(604_801), json!("1")] {
        let problem = api
            .post_as(&owner, &rotate, json!({ "overlap_seconds": overlap }))
            .await
            .refused(422, "validation_failed");
        assert_eq!(problem["errors"][0]["pointer"], "/overlap_seconds", "{overlap}");
    }
}

#[tokio::test]
async fn nothing_is_sent_to_an_endpoint_that_is_off() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let owner = owner(&api).await;
    let path = endpoint(&api, &owner, json!({ "event_types": ["invoice.paid"] })).await;
    let (test, recover) = (format!("{path}/test"), format!("{path}/recover"));
    let sent = api.post_as(&owner, &test, json!({})).await.expect(202);
    let retry = format!("/v1/webhooks/deliveries/{}/retry", text(&sent, "delivery_id"));
    let delivery = api.post_as(&owner, &retry, json!({})).await.expect(202);
    assert_eq!(
        (&delivery["event_type"], &delivery["state"]),
        (&json!("webhook.test"), &json!("pending"))
    );
    let off = api
        .request(Method::PATCH, &path)
        .bearer_auth(&owner)
        .json(&json!({ "enabled": false }));
    Api::send(off).await.expect(200);
    let since = json!({ "since": "2020-01-01T00:00:00Z" });
    for (path, body) in [(&test, json!({})), (&retry, json!({})), (&recover, since.clone())] {
        api.post_as(&owner, path, body)
            .await
            .refused(409, "endpoint_disabled");
    }
    let on = api
        .request(Method::PATCH, &path)
        .bearer_auth(&owner)
        .json(&json!({ "enabled": true }));
    Api::send(on).await.expect(200);
    bed.clock.advance(chrono::TimeDelta::seconds(1));
    let recovered = api.post_as(&owner, &recover, since.clone()).await.expect(202);
    assert_eq!(recovered["count"], 1);
    assert_eq!(api.post_as(&owner, &recover, since).await.expect(202)["count"], 0);
    for body in [
        json!({ "since": "2020-01-01T00:00:00Z", "until": "2019-01-01T00:00:00Z" }),
        json!({ "since": "-9999-01-01T00:00:00Z" }),
    ] {
        api.post_as(&owner, &recover, body)
            .await
            .refused(422, "validation_failed");
    }
    let health = api.get_as(&owner, &format!("{path}/health")).await.expect(200);
    assert_eq!(
        (
            &health["attempts"],
            &health["success_rate"],
            &health["last_error"]
        ),
        (&json!(0), &Value::Null, &Value::Null)
    );
}

#[tokio::test]
async fn metadata_rate_and_families_of_types_are_kept_and_checked() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let owner = owner(&api).await;
    let more = json!({
        "event_types": ["user.*", "invoice.*"], "metadata": { "team": "billing" },
        "rate_limit": { "limit": 50, "window_seconds": 1 }
    });
    let path = endpoint(&api, &owner, more.clone()).await;
    let read = api.get_as(&owner, &path).await.expect(200);
    assert_eq!(read["metadata"], more["metadata"]);
    assert_eq!(read["rate_limit"], more["rate_limit"]);
    assert_eq!(read["event_types"], json!(["invoice.*", "user.*"]));
    let cleared = api
        .request(Method::PATCH, &path)
        .bearer_auth(&owner)
        .json(&json!({ "metadata": null, "rate_limit": null }));
    let cleared = Api::send(cleared).await.expect(200);
    assert_eq!(
        (&cleared["metadata"], &cleared["rate_limit"]),
        (&json!({}), &Value::Null)
    );
    for (field, value) in [
        ("metadata", json!({ "": "x" })),
        ("metadata", json!({ "a": "x".repeat(501) })),
        ("metadata", json!({ "a": "x\u{0}" })),
        ("rate_limit", json!({ "limit": 0, "window_seconds": 1 })),
        ("event_types", json!(["user*"])),
        ("event_types", json!(["user.exploded.*"])),
    ] {
        let body = json!({ "url": "https://hooks.example.com/a", field: value });
        let refused = api.post_as(&owner, "/v1/webhooks/endpoints", body.clone()).await;
        let pointer = refused.refused(422, "validation_failed")["errors"][0]["pointer"].clone();
        assert!(
            pointer.as_str().unwrap().starts_with(&format!("/{field}")),
            "{pointer}"
        );
    }
    for (path, pointer) in [
        ("/v1/webhooks/deliveries?event_type=a%20b", "/query/event_type"),
        ("/v1/webhooks/events?type=a%20b", "/query/type"),
    ] {
        let refused = api.get_as(&owner, path).await.refused(422, "validation_failed");
        assert_eq!(refused["errors"][0]["pointer"], pointer);
    }
}
