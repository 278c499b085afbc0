//! What null means in a PATCH: a field is cleared, or says that it cannot be.

use latchkey_testing::TestBed;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Answer, Api, text};

async fn patch(api: &Api, token: &str, path: &str, body: Value) -> Answer {
    let request = api.request(Method::PATCH, path).bearer_auth(token);
    Api::send(request.header("if-match", "*").json(&body)).await
}

#[tokio::test]
async fn null_clears_a_field_or_is_refused_by_its_name() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let admin = api.admin().await;
    let (tenant, owner) = api.tenant(&admin, "acme").await;
    let make = async |path: &str, body: Value| {
        let made = api.post_as(&owner, path, body).await.expect(201);
        let made = ["api_key", "endpoint"]
            .iter()
            .find_map(|of| made.get(of))
            .unwrap_or(&made)
            .clone();
        format!(
            "{path}/{}",
            made.get("id")
                .map_or_else(|| text(&made, "name"), |_| text(&made, "id"))
        )
    };
    let role = make(
        "/v1/roles",
        json!({ "name": "auditor", "permissions": ["users:read"] }),
    )
    .await;
    let role_id = role.rsplit('/').next().unwrap();
    let machine = json!({ "name": "CI", "role_ids": [role_id] });
    let machine = make("/v1/service-accounts", machine).await;
    let key = json!({ "name": "CI", "environment": "live", "scopes": ["users:read"] });
    let key = make("/v1/api-keys", key).await;
    let endpoint = json!({ "url": "https://hooks.example.com/a", "event_types": ["user.*"] });
    let endpoint = make("/v1/webhooks/endpoints", endpoint).await;
    let event_type = json!({ "name": "invoice.paid", "description": "An invoice was paid." });
    let event_type = make("/v1/webhooks/event-types", event_type).await;
    let user = make("/v1/users", json!({ "email": "ada@example.com", "name": "Ada" })).await;

    for (path, field, empty) in [
        (&role, "permissions", json!([])),
        (&machine, "role_ids", json!([])),
        (&key, "scopes", json!([])),
        (&endpoint, "event_types", json!([])),
        (&role, "description", Value::Null),
        (&user, "name", Value::Null),
    ] {
        let body = json!({ field: null });
        let answer = patch(&api, &owner, path, body).await.expect(200);
        let told = if field == "role_ids" {
            &answer["roles"]
        } else {
            &answer[field]
        };
        assert_eq!(*told, empty, "{path} {field}");
    }
    for (path, field) in [
        (&role, "name"),
        (&machine, "name"),
        (&machine, "status"),
        (&key, "name"),
        (&endpoint, "url"),
        (&endpoint, "enabled"),
        (&endpoint, "asymmetric_signature"),
        (&event_type, "description"),
        (&user, "email"),
    ] {
        let problem = patch(&api, &owner, path, json!({ field: null })).await;
        let problem = problem.refused(422, "validation_failed");
        let named = (&problem["errors"][0]["pointer"], &problem["errors"][0]["code"]);
        assert_eq!(
            named,
            (&json!(format!("/{field}")), &json!("not_nullable")),
            "{path}"
        );
    }
    let problem = patch(
        &api,
        &admin,
        &format!("/v1/tenants/{tenant}"),
        json!({ "name": null }),
    )
    .await;
    problem.refused(422, "validation_failed");
}

#[tokio::test]
async fn what_cannot_be_read_is_named_by_its_place() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let admin = api.admin().await;
    let get = |path: &str| api.request(Method::GET, path).bearer_auth(&admin);
    let broken = api.request(Method::POST, "/v1/roles").bearer_auth(&admin);
    let broken = broken
        .header("content-type", "application/json")
        .body("{\"name\":");
    for (request, code, pointer) in [
        (get("/v1/users?cursor=x"), "invalid_cursor", "/query/cursor"),
        (get("/v1/users?limit=0"), "invalid_parameter", "/query/limit"),
        (
            get("/v1/users")
                .header("x-tenant-id", "a")
                .header("x-tenant-id", "b"),
            "invalid_parameter",
            "/header/X-Tenant-ID",
        ),
        (broken, "malformed_json", ""),
    ] {
        let problem = Api::send(request).await.refused(400, code);
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{problem}");
    }
    let long = "a".repeat(200);
    for path in [
        format!("/v1/permissions/{long}"),
        format!("/v1/webhooks/event-types/{long}"),
    ] {
        let problem = Api::send(api.request(Method::DELETE, &path).bearer_auth(&admin)).await;
        problem.refused(404, "not_found");
    }
}
