//! Whatever is sent, the answer is a problem that says what was wrong, and never a 5xx.

use latchkey_testing::TestBed;
use reqwest::{Method, header};
use serde_json::{Value, json};

use crate::support::{Api, PASSWORD};

/// Each operation of the document that takes one JSON value: method, path, whether there has to be one.
fn operations_with_bodies(document: &Value) -> Vec<(Method, String, bool)> {
    let mut found = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let body = &operation["requestBody"];
            if body.pointer("/content/application~1json").is_some() {
                let method: Method = method.to_uppercase().parse().unwrap();
                let path = path.replace("{id}", &uuid::Uuid::nil().to_string());
                found.push((method, path, body["required"] == true));
            }
        }
    }
    found
}

#[tokio::test]
async fn s39_every_operation_names_what_is_wrong_with_its_body() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let admin = api.admin().await;
    let document = Api::send(api.request(Method::GET, "/openapi.json"))
        .await
        .expect(200);
    let operations = operations_with_bodies(&document);
    assert!(operations.len() >= 9, "{operations:?}");
    for (method, path, is_required) in operations {
        let send = |content_type: &str, body: &str| {
            let request = api
                .request(method.clone(), &path)
                .bearer_auth(&admin)
                .header("x-tenant-id", "platform")
                .header(header::CONTENT_TYPE, content_type)
                .body(body.to_owned());
            Api::send(request)
        };
        let json = "application/json";
        let none = is_required.then_some("");
        let malformed = ["{", "{\"a\":}", "nul", "\u{feff}{}", "{\"a\":1}}", "'x'"];
        for malformed in none.into_iter().chain(malformed) {
            send(json, malformed).await.refused(400, "malformed_json");
        }
        send("text/plain", "{}")
            .await
            .refused(415, "unsupported_media_type");
        for (wrong, pointer) in [
            ("[]", ""),
            ("\"text\"", ""),
            ("7", ""),
            ("{\"no_such_field\": 1}", "/no_such_field"),
        ] {
            let problem = send(json, wrong).await.refused(422, "validation_failed");
            let pointers: Vec<&str> = problem["errors"]
                .as_array()
                .unwrap()
                .iter()
                .map(|error| error["pointer"].as_str().unwrap())
                .collect();
            assert!(
                pointers.contains(&pointer),
                "{method} {path}: {pointer:?} is not among {pointers:?}"
            );
        }
        let deep = "[".repeat(50_000);
        send(json, &deep).await.refused(400, "malformed_json");
        let large = format!("\"{}\"", "x".repeat(600 * 1024));
        send(json, &large).await.refused(413, "body_too_large");
    }
}

#[tokio::test]
async fn every_field_at_fault_is_named_at_once() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    api.admin().await;
    let body = json!({ "email": 7, "password": "short", "nickname": "x", "name": "a\u{0}b" });
    let problem = api
        .post("platform", "/v1/auth/register", body)
        .await
        .refused(422, "validation_failed");
    let errors: Vec<(&str, &str)> = problem["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|error| {
            (
                error["pointer"].as_str().unwrap(),
                error["code"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        errors,
        [
            ("/email", "wrong_type"),
            ("/name", "invalid_character"),
            ("/nickname", "unknown_field"),
            ("/password", "too_short")
        ]
    );
    let missing = api
        .post("platform", "/v1/auth/login", json!({}))
        .await
        .refused(422, "validation_failed");
    assert_eq!(
        missing["errors"][0],
        json!({ "pointer": "/email", "code": "required", "detail": "email is required" })
    );
    let address = json!({ "email": "no address", "password": PASSWORD });
    let problem = api
        .post("platform", "/v1/auth/login", address)
        .await
        .refused(422, "validation_failed");
    assert_eq!(problem["errors"][0]["pointer"], "/email");
}

#[tokio::test]
async fn unknown_routes_methods_and_parameters_are_problems() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let admin = api.admin().await;
    let send = |method: Method, path: &str| Api::send(api.request(method, path).bearer_auth(&admin));
    send(Method::GET, "/v1/nothing")
        .await
        .refused(404, "route_not_found");
    send(Method::GET, "/").await.refused(404, "route_not_found");
    let refused = send(Method::DELETE, "/v1/webhooks/endpoints").await;
    assert_eq!(refused.headers["allow"], "GET, POST");
    refused.refused(405, "method_not_allowed");
    let refused = send(
        Method::PUT,
        &format!("/v1/webhooks/endpoints/{}", uuid::Uuid::nil()),
    )
    .await;
    assert_eq!(refused.headers["allow"], "DELETE, GET, PATCH");
    for path in ["/openapi.json", "/docs", "/docs/start.js"] {
        let refused = send(Method::POST, path).await;
        assert_eq!(refused.headers["allow"], "GET", "{path}");
        refused.refused(405, "method_not_allowed");
    }
    send(Method::GET, "/v1/tenants/not-an-id")
        .await
        .refused(404, "not_found");
    send(Method::GET, "/v1/tenants?limit=many")
        .await
        .refused(400, "invalid_parameter");
    send(Method::GET, "/v1/webhooks/deliveries?since=yesterday")
        .await
        .refused(400, "invalid_parameter");
    send(Method::GET, "/v1/webhooks/deliveries?event_type=a%00b")
        .await
        .refused(400, "invalid_parameter");
    let no_credential = Api::send(api.request(Method::GET, "/v1/tenants")).await;
    assert_eq!(
        no_credential.headers["www-authenticate"],
        r#"Bearer realm="latchkey", error="invalid_token""#
    );
    no_credential.refused(401, "unauthenticated");
}

#[tokio::test]
async fn every_response_has_a_request_id_and_security_headers() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    for path in ["/health/live", "/v1/nothing", "/docs", "/openapi.json"] {
        let answer = Api::send(api.request(Method::GET, path)).await;
        for header in [
            "x-request-id",
            "content-security-policy",
            "x-content-type-options",
            "strict-transport-security",
        ] {
            assert!(answer.headers.contains_key(header), "{path} lacks {header}");
        }
    }
    let given = api
        .request(Method::GET, "/health/live")
        .header("x-request-id", "from-the-gateway-1");
    assert_eq!(
        Api::send(given).await.headers["x-request-id"],
        "from-the-gateway-1"
    );
    let odd = api
        .request(Method::GET, "/health/live")
        .header("x-request-id", "two words");
    assert_ne!(Api::send(odd).await.headers["x-request-id"], "two words");
}
