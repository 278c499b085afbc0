//! The trace that a request says it belongs to (W3C Trace Context).

use latchkey_testing::{RealProcess, TestBed};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Api, text};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

#[tokio::test]
async fn an_event_bears_the_trace_of_the_request_that_caused_it() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let admin = api.admin().await;
    let owner = api.tenant(&admin, "acme").await.1;
    let traceparent = format!("00-{TRACE}-00f067aa0ba902b7-01");
    let upper = traceparent.to_uppercase();
    let cases: [(&[&str], Value); 4] = [
        (&[&traceparent], json!(traceparent)),
        (&[], Value::Null),
        (&[&upper], Value::Null),
        // Which of two is meant nobody can tell.
        (&[&traceparent, &traceparent], Value::Null),
    ];
    for (headers, expected) in cases {
        let body = json!({ "type": "invoice.paid", "payload": {} });
        let mut request = api
            .request(Method::POST, "/v1/webhooks/events")
            .bearer_auth(&owner)
            .json(&body);
        for header in headers {
            request = request.header("traceparent", *header);
        }
        let event = text(&Api::send(request).await.expect(202), "event_id");
        let path = format!("/v1/webhooks/events/{event}");
        let read = api.get_as(&owner, &path).await.expect(200);
        assert_eq!(read["traceparent"], expected, "{headers:?}");
    }

    // What Latchkey emits by itself belongs to the request as well.
    let invite = api
        .request(Method::POST, "/v1/roles")
        .bearer_auth(&owner)
        .json(&json!({ "name": "auditor", "permissions": ["audit:read"] }));
    let role = text(&Api::send(invite).await.expect(201), "id");
    let me = api.get_as(&owner, "/v1/auth/me").await.expect(200);
    let user = text(&me["user"], "id");
    let assign = api
        .request(Method::POST, &format!("/v1/users/{user}/roles"))
        .bearer_auth(&owner)
        .header("traceparent", &traceparent)
        .json(&json!({ "role_id": role }));
    Api::send(assign).await.expect(204);
    let events = api.get_as(&owner, "/v1/webhooks/events?type=role.assigned").await;
    assert_eq!(events.expect(200)["data"][0]["traceparent"], traceparent);
}

#[tokio::test]
async fn the_log_names_the_trace_beside_the_request() {
    let bed = TestBed::with(&[("log.format", "json")]).await;
    let process = RealProcess::api(&bed).await;
    let url = format!("{}/health/live", process.base_url);
    let client = reqwest::Client::builder().build().unwrap();
    for (id, traceparent) in [
        ("with", format!("00-{TRACE}-00f067aa0ba902b7-01")),
        ("without", "nonsense".to_owned()),
    ] {
        let request = client.get(&url).header("x-request-id", id);
        let answer = request.header("traceparent", traceparent).send().await;
        assert_eq!(answer.unwrap().status(), 200);
    }
    let printed = process.printed();
    let line = |id: &str| -> Value {
        let wanted = format!("\"request_id\":\"{id}\"");
        let line = printed.lines().find(|line| line.contains(&wanted)).unwrap();
        serde_json::from_str(line).unwrap()
    };
    assert_eq!(line("with")["span"]["trace_id"], TRACE);
    assert_eq!(line("without")["span"]["trace_id"], Value::Null);
}
