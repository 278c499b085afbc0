//! Bodies that take their time.

use std::time::Duration;

use latchkey_testing::TestBed;
use reqwest::Method;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{sleep, timeout},
};

use crate::support::{Api, PASSWORD, text};

#[tokio::test]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let bed = TestBed::with(&[("server.body_timeout", "0.5")]).await;
    let api = Api::start(&bed).await;
    let owner = {
        let admin = api.admin().await;
        api.tenant(&admin, "acme").await.1
    };
    let address = api.base_url.strip_prefix("http://").unwrap();
    // Also where it is read before the operation reads it.
    let again = format!("authorization: Bearer {owner}\r\nidempotency-key: a\r\n");
    for (path, headers) in [("/v1/auth/refresh", ""), ("/v1/webhooks/endpoints", &*again)] {
        let mut connection = TcpStream::connect(address).await.unwrap();
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: here\r\n{headers}content-type: application/json\r\ncontent-length: 100\r\n\r\n{{"
        );
        connection.write_all(head.as_bytes()).await.unwrap();
        let mut answer = String::new();
        let closed = timeout(Duration::from_secs(20), connection.read_to_string(&mut answer)).await;
        assert!(closed.is_ok(), "it is waited for at {path}: {answer}");
        assert!(answer.contains("did not come in time"), "{answer}");
    }
}

/// A request whose sender keeps the end of its body back.
struct Kept {
    connection: TcpStream,
    rest: String,
}

impl Kept {
    async fn begin(api: &Api, path: &str, headers: &str, body: &str) -> Self {
        Self::begin_as("application/json", api, path, headers, body).await
    }

    async fn begin_as(content_type: &str, api: &Api, path: &str, headers: &str, body: &str) -> Self {
        let address = api.base_url.strip_prefix("http://").unwrap();
        let mut connection = TcpStream::connect(address).await.unwrap();
        let (first, rest) = body.split_at(body.len() / 2);
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: here\r\nconnection: close\r\n{headers}\
             content-type: {content_type}\r\ncontent-length: {}\r\n\r\n{first}",
            body.len()
        );
        connection.write_all(head.as_bytes()).await.unwrap();
        let rest = rest.to_owned();
        Self { connection, rest }
    }

    /// What is answered although the end has not come.
    async fn answer(mut self) -> String {
        let mut first = vec![0; 4096];
        let read = timeout(Duration::from_secs(10), self.connection.read(&mut first)).await;
        assert!(read.is_ok(), "the body is waited for");
        let count = read.unwrap().unwrap();
        String::from_utf8_lossy(&first[..count]).into_owned()
    }

    /// Sends the end, so late after what came before that nobody calls it prompt, however slow the machine is.
    async fn end(mut self) -> String {
        sleep(Duration::from_millis(300)).await;
        self.connection.write_all(self.rest.as_bytes()).await.unwrap();
        let mut answer = String::new();
        timeout(
            Duration::from_secs(20),
            self.connection.read_to_string(&mut answer),
        )
        .await
        .unwrap()
        .unwrap();
        answer
    }
}

#[tokio::test]
async fn s21_a_request_that_was_kept_from_before_a_demotion_does_nothing() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let admin = api.admin().await;
    let (_, owner) = api.tenant(&admin, "acme").await;
    let roles = api.get_as(&owner, "/v1/roles").await.expect(200);
    let role = |name: &str| {
        let roles = roles["data"].as_array().unwrap();
        text(roles.iter().find(|role| role["name"] == name).unwrap(), "id")
    };
    for email in ["mallory@acme.test", "friend@acme.test"] {
        api.user("acme", email).await;
    }
    let mallory = api.login("acme", "mallory@acme.test").await;
    let (id, token) = (text(&mallory["user"], "id"), text(&mallory, "access_token"));
    let friend = text(&api.login("acme", "friend@acme.test").await["user"], "id");
    let (of_mallory, of_friend) = (
        format!("/v1/users/{id}/roles"),
        format!("/v1/users/{friend}/roles"),
    );
    let grant = json!({ "role_id": role("admin") }).to_string();
    api.post_as(&owner, &of_mallory, json!({ "role_id": role("admin") }))
        .await
        .expect(204);

    let bearer = format!("authorization: Bearer {token}\r\n");
    let again = format!("{bearer}idempotency-key: kept\r\n");
    let key = json!({ "name": "kept", "environment": "live", "scopes": ["users:read"], "owner": { "type": "tenant" } });
    let kept = [
        Kept::begin(&api, &of_friend, &bearer, &grant).await,
        Kept::begin(&api, "/v1/api-keys", &bearer, &key.to_string()).await,
        Kept::begin(&api, "/v1/api-keys", &again, &key.to_string()).await,
    ];
    // Slow, but nobody has taken anything away: it is carried out.
    let slow = Kept::begin(
        &api,
        &of_friend,
        &format!("authorization: Bearer {owner}\r\n"),
        &grant,
    )
    .await;
    sleep(Duration::from_millis(600)).await;
    let demote = api
        .request(Method::DELETE, &format!("{of_mallory}/{}", role("admin")))
        .bearer_auth(&owner);
    Api::send(demote).await.expect(204);
    for request in kept {
        let answer = request.end().await;
        assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
    }
    assert_eq!(api.scalar("SELECT count(*) FROM api_keys").await, 0);
    let answer = slow.end().await;
    assert!(answer.starts_with("HTTP/1.1 204"), "{answer}");
}

#[tokio::test]
async fn s20_a_request_that_was_kept_from_before_the_end_of_its_session_does_nothing() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let admin = api.admin().await;
    let (_, owner) = api.tenant(&admin, "acme").await;
    let body = json!({ "name": "auditor", "permissions": ["users:read"] }).to_string();
    let bearer = format!("authorization: Bearer {owner}\r\n");
    let again = format!("{bearer}idempotency-key: kept\r\n");
    let kept = [
        Kept::begin(&api, "/v1/roles", &bearer, &body).await,
        Kept::begin(&api, "/v1/roles", &again, &body).await,
        // A media type is the same however it is written (RFC 9110 section 8.3.1).
        Kept::begin_as(
            "Application/X-WWW-Form-URLEncoded",
            &api,
            "/v1/auth/introspect",
            &bearer,
            "token=some",
        )
        .await,
    ];
    sleep(Duration::from_millis(600)).await;
    Api::send(api.request(Method::POST, "/v1/auth/logout").bearer_auth(&owner))
        .await
        .expect(204);
    for request in kept {
        let answer = request.end().await;
        assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
    }
    assert_eq!(
        api.scalar("SELECT count(*) FROM roles WHERE name = 'auditor'")
            .await,
        0
    );
}

#[tokio::test]
async fn s21_a_request_that_was_kept_from_before_its_tenant_changed_gets_in_no_more() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let admin = api.admin().await;
    let (id, owner) = api.tenant(&admin, "acme").await;
    let account = json!({ "email": "late@acme.test", "password": PASSWORD }).to_string();
    let sign_in = json!({ "email": "owner@acme.test", "password": PASSWORD }).to_string();
    let named = "x-tenant-id: acme\r\n";
    let register = Kept::begin(&api, "/v1/auth/register", named, &account).await;
    let login = Kept::begin(&api, "/v1/auth/login", named, &sign_in).await;
    // Slow, and nothing has changed for it.
    let slow = Kept::begin(&api, "/v1/auth/login", named, &sign_in).await;
    sleep(Duration::from_millis(600)).await;
    let close = api
        .request(Method::PATCH, "/v1/tenant/settings")
        .bearer_auth(&owner)
        .header("if-match", "*")
        .json(&json!({ "registration": "closed" }));
    Api::send(close).await.expect(200);
    let answer = register.end().await;
    assert!(answer.contains("registration_closed"), "{answer}");
    let answer = slow.end().await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    api.post_as(&admin, &format!("/v1/tenants/{id}/suspend"), json!({}))
        .await
        .expect(204);
    let answer = login.end().await;
    assert!(answer.contains("tenant_suspended"), "{answer}");
}

#[tokio::test]
async fn the_body_of_who_is_not_let_in_is_not_waited_for() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let body = json!({ "name": "kept" }).to_string();
    for headers in ["", "idempotency-key: kept\r\n"] {
        let answer = Kept::begin(&api, "/v1/api-keys", headers, &body)
            .await
            .answer()
            .await;
        assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
    }
}

#[tokio::test]
async fn a_key_that_is_looked_at_again_is_used_once() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let admin = api.admin().await;
    let (_, owner) = api.tenant(&admin, "acme").await;
    let key = json!({
        "name": "hooks", "environment": "live", "scopes": ["events:publish"], "owner": { "type": "tenant" },
        "rate_limit": { "limit": 3, "window_seconds": 3600 },
    });
    let key = text(&api.post_as(&owner, "/v1/api-keys", key).await.expect(201), "key");
    let headers = format!("x-api-key: {key}\r\nidempotency-key: kept\r\n");
    let event = json!({ "type": "invoice.paid", "payload": {} }).to_string();
    let slow = Kept::begin(&api, "/v1/webhooks/events", &headers, &event).await;
    sleep(Duration::from_millis(600)).await;
    let answer = slow.end().await;
    assert!(answer.starts_with("HTTP/1.1 202"), "{answer}");
    assert!(answer.contains("\"api_key\";r=2;"), "{answer}");
    let next = api.request(Method::GET, "/v1/api-keys/self").bearer_auth(&key);
    let next = Api::send(next).await;
    let told = next.headers["ratelimit"].to_str().unwrap();
    assert!(told.starts_with("\"api_key\";r=1;"), "{told}");
}
