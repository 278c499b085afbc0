//! Tenants come, are suspended, come back and go, as the platform's administrators lead them.

mod deletion;
mod limits_and_usage;

use std::time::{Duration, Instant};

use latchkey_testing::TestBed;
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{ADMIN, Answer, Api, PASSWORD, text};

async fn send(api: &Api, token: &str, method: Method, path: &str) -> Answer {
    Api::send(api.request(method, path).bearer_auth(token)).await
}

/// `suspend` or `activate`.
async fn lead(api: &Api, admin: &str, tenant: Uuid, verb: &str) -> Answer {
    send(api, admin, Method::POST, &format!("/v1/tenants/{tenant}/{verb}")).await
}

async fn delete(api: &Api, admin: &str, tenant: Uuid) -> Answer {
    send(api, admin, Method::DELETE, &format!("/v1/tenants/{tenant}")).await
}

async fn get(api: &Api, admin: &str, tenant: Uuid) -> Answer {
    api.get_as(admin, &format!("/v1/tenants/{tenant}")).await
}

async fn patch(api: &Api, token: &str, tenant: Uuid, body: Value) -> Answer {
    let request = api.request(Method::PATCH, &format!("/v1/tenants/{tenant}"));
    Api::send(request.bearer_auth(token).json(&body)).await
}

async fn login(api: &Api, tenant: &str, email: &str) -> Answer {
    let body = json!({ "email": email, "password": PASSWORD });
    api.post(tenant, "/v1/auth/login", body).await
}

/// Asks until the token has the status; how long that took.
async fn status_after(api: &Api, token: &str, status: u16) -> Duration {
    let started = Instant::now();
    while api.get_as(token, "/v1/auth/me").await.status != status {
        assert!(started.elapsed() < Duration::from_secs(5), "never {status}");
    }
    started.elapsed()
}

async fn admin(api: &Api) -> String {
    text(&api.login("platform", ADMIN).await, "access_token")
}

#[tokio::test]
async fn s21_a_suspension_holds_on_the_next_request_everywhere() {
    let bed = TestBed::new().await;
    let (first, second) = (Api::start(&bed).await, Api::start_another(&bed).await);
    let admin = first.admin().await;
    let (acme, _) = first.tenant(&admin, "acme").await;
    let signed_in = first.login("acme", "owner@acme.test").await;
    let (owner, refresh) = (
        text(&signed_in, "access_token"),
        text(&signed_in, "refresh_token"),
    );
    for api in [&first, &second] {
        api.get_as(&owner, "/v1/auth/me").await.expect(200);
    }
    for _ in 0..3 {
        lead(&first, &admin, acme, "suspend").await.expect(204);
        // Again: nothing changes.
        lead(&second, &admin, acme, "suspend").await.expect(204);
        first
            .get_as(&owner, "/v1/auth/me")
            .await
            .refused(401, "unauthenticated");
        let took = status_after(&second, &owner, 401).await;
        assert!(took < Duration::from_secs(1), "{took:?}");
        for api in [&first, &second] {
            login(api, "acme", "owner@acme.test")
                .await
                .refused(403, "tenant_suspended");
            api.refresh(&refresh).await.refused(401, "invalid_refresh_token");
        }
        let body = json!({ "email": "eve@example.com", "password": PASSWORD });
        first
            .post("acme", "/v1/auth/register", body)
            .await
            .refused(403, "tenant_suspended");

        lead(&first, &admin, acme, "activate").await.expect(204);
        lead(&first, &admin, acme, "activate").await.expect(204);
        first.get_as(&owner, "/v1/auth/me").await.expect(200);
        let took = status_after(&second, &owner, 200).await;
        assert!(took < Duration::from_secs(1), "{took:?}");
    }
    first.refresh(&refresh).await.expect(200);
    let trail = format!(
        "SELECT count(*) FROM audit_events WHERE tenant_id = '{acme}' AND action IN ('tenant.suspend', 'tenant.activate')"
    );
    assert_eq!(first.scalar(&trail).await, 6);
}

#[tokio::test]
async fn a_suspension_is_told_to_the_tenants_own_endpoints() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let admin = api.admin().await;
    let (acme, owner) = api.tenant(&admin, "acme").await;
    let endpoint =
        json!({ "url": "http://127.0.0.1:9/hook", "event_types": ["tenant.suspended", "tenant.activated"] });
    api.post_as(&owner, "/v1/webhooks/endpoints", endpoint)
        .await
        .expect(201);
    lead(&api, &admin, acme, "suspend").await.expect(204);
    lead(&api, &admin, acme, "activate").await.expect(204);
    delete(&api, &admin, acme).await.expect(204);
    let count = |kind: &str| {
        format!(
            "SELECT count(*) FROM deliveries WHERE tenant_id = '{acme}' AND event_type = '{kind}' AND state = 'pending'"
        )
    };
    assert_eq!(api.scalar(&count("tenant.suspended")).await, 2);
    assert_eq!(api.scalar(&count("tenant.activated")).await, 1);
}

#[tokio::test]
async fn s27_the_platforms_own_tenant_stays() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let admin = api.admin().await;
    let listed = api.get_as(&admin, "/v1/tenants?slug=platform").await.expect(200);
    let platform: Uuid = text(&listed["data"][0], "id").parse().unwrap();
    lead(&api, &admin, platform, "suspend")
        .await
        .refused(409, "platform_tenant");
    delete(&api, &admin, platform)
        .await
        .refused(409, "platform_tenant");
    lead(&api, &admin, platform, "activate").await.expect(204);
    api.get_as(&admin, "/v1/auth/me").await.expect(200);
}

#[tokio::test]
async fn s27_platform_permissions_in_another_tenants_role_grant_nothing() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let admin = api.admin().await;
    let (acme, _) = api.tenant(&admin, "acme").await;
    let (globex, _) = api.tenant(&admin, "globex").await;
    // As if somebody had found a way to write it: a role that is named like the platform's and says that it may all.
    api.execute(&format!(
        "INSERT INTO roles (id, tenant_id, name, name_canonical, builtin, permissions, created_at, updated_at)
         VALUES ('{role}', '{acme}', 'platform-owner', 'platform-owner', false, '{{tenants:read,tenants:write}}', now(), now());
         INSERT INTO role_assignments (tenant_id, user_id, role_id, created_at)
         SELECT tenant_id, id, '{role}', now() FROM users WHERE tenant_id = '{acme}'",
        role = Uuid::from_u128(7),
    ))
    .await;
    let owner = text(&api.login("acme", "owner@acme.test").await, "access_token");
    let path = format!("/v1/tenants/{globex}");
    for (method, path) in [
        (Method::GET, "/v1/tenants".to_owned()),
        (Method::GET, path.clone()),
        (Method::GET, format!("{path}/usage")),
        (Method::DELETE, path.clone()),
        (Method::POST, format!("{path}/suspend")),
        (Method::POST, format!("{path}/activate")),
    ] {
        send(&api, &owner, method, &path).await.refused(403, "forbidden");
    }
    for tenant in [acme, globex] {
        patch(&api, &owner, tenant, json!({ "name": "Mine" }))
            .await
            .refused(403, "forbidden");
    }
    assert_eq!(get(&api, &admin, globex).await.expect(200)["status"], "active");
}

#[tokio::test]
async fn a_tenant_gets_another_name_and_is_found_by_slug_and_state() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let admin = api.admin().await;
    let (acme, owner) = api.tenant(&admin, "acme").await;
    let (globex, _) = api.tenant(&admin, "globex").await;
    let changed = patch(&api, &admin, acme, json!({ "name": "Acme Limited" }))
        .await
        .expect(200);
    assert_eq!(changed["name"], "Acme Limited");
    assert_eq!(api.get_as(&owner, "/v1/tenant").await.expect(200), changed);
    patch(&api, &admin, Uuid::nil(), json!({ "name": "Nobody" }))
        .await
        .refused(404, "not_found");
    lead(&api, &admin, Uuid::nil(), "suspend")
        .await
        .refused(404, "not_found");
    delete(&api, &admin, Uuid::nil()).await.refused(404, "not_found");

    lead(&api, &admin, globex, "suspend").await.expect(204);
    for (query, slugs) in [
        ("status=suspended", vec!["globex"]),
        ("status=active", vec!["acme", "platform"]),
        ("status=deleting", vec![]),
        ("slug=acme", vec!["acme"]),
        ("slug=acme&status=suspended", vec![]),
        ("slug=nobody", vec![]),
    ] {
        let page = api
            .get_as(&admin, &format!("/v1/tenants?{query}"))
            .await
            .expect(200);
        let found: Vec<String> = page["data"]
            .as_array()
            .unwrap()
            .iter()
            .map(|t| text(t, "slug"))
            .collect();
        assert_eq!(found, slugs, "{query}");
    }
    for query in ["status=asleep", "slug=a%00b", "slug=A"] {
        let answer = api.get_as(&admin, &format!("/v1/tenants?{query}")).await;
        answer.refused(400, "invalid_parameter");
    }
}
