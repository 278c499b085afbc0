//! Whether a user may sign in, as administrators decide.

use std::time::{Duration, Instant};

use latchkey_testing::TestBed;
use reqwest::Method;
use serde_json::json;

use super::{ask, made, role, token};
use crate::support::{Api, PASSWORD, text};

/// Until the token is refused there; at most a second.
async fn refused_within_a_second(api: &Api, token: &str) {
    let started = Instant::now();
    while api.get_as(token, "/v1/auth/me").await.status != 401 {
        assert!(
            started.elapsed() < Duration::from_secs(1),
            "the token is still good"
        );
    }
}

#[tokio::test]
async fn s21_disabling_or_deleting_a_user_holds_everywhere_within_a_second() {
    let bed = TestBed::new().await;
    let (first, second) = (Api::start(&bed).await, Api::start_another(&bed).await);
    let admin = first.admin().await;
    let (_, owner) = first.tenant(&admin, "acme").await;
    for (n, (method, path)) in [(Method::POST, "/disable"), (Method::DELETE, "")]
        .into_iter()
        .enumerate()
    {
        let email = format!("user{n}@example.com");
        let user = made(&first, &owner, &email, &[]).await;
        let session = first.login("acme", &email).await;
        let access = text(&session, "access_token");
        second.get_as(&access, "/v1/auth/me").await.expect(200);
        let path = format!("/v1/users/{user}{path}");
        ask(&first, &owner, method, &path, None).await.expect(204);
        first
            .get_as(&access, "/v1/auth/me")
            .await
            .refused(401, "unauthenticated");
        refused_within_a_second(&second, &access).await;
        let refresh = second.refresh(&text(&session, "refresh_token")).await;
        refresh.refused(401, "invalid_refresh_token");
        let login = json!({ "email": email, "password": PASSWORD });
        second
            .post("acme", "/v1/auth/login", login)
            .await
            .refused(401, "invalid_credentials");
        // A process that starts now knows it too.
        let third = Api::start_another(&bed).await;
        third
            .get_as(&access, "/v1/auth/me")
            .await
            .refused(401, "unauthenticated");
    }
    let told = "SELECT count(*) FROM events WHERE type IN ('user.disabled', 'user.deleted')";
    assert_eq!(first.scalar(told).await, 2);
    let written = "SELECT count(*) FROM audit_events WHERE action IN ('user.disable', 'user.delete') AND actor_kind = 'user'";
    assert_eq!(first.scalar(written).await, 2);
}

#[tokio::test]
async fn who_is_enabled_signs_in_as_before() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let admin = api.admin().await;
    let (_, owner) = api.tenant(&admin, "acme").await;
    let ada = made(&api, &owner, "ada@example.com", &[]).await;
    let before = api.login("acme", "ada@example.com").await;
    let act = async |verb: &str| {
        let path = format!("/v1/users/{ada}/{verb}");
        ask(&api, &owner, Method::POST, &path, None).await
    };
    for _ in 0..2 {
        act("disable").await.expect(204);
    }
    let events = "SELECT count(*) FROM events WHERE type = 'user.disabled'";
    assert_eq!(api.scalar(events).await, 1, "a second time is none");
    act("password-reset").await.refused(409, "account_disabled");
    let forgot = json!({ "email": "ada@example.com" });
    let mails = api.mails("ada@example.com").await.len();
    api.post("acme", "/v1/auth/password/forgot", forgot)
        .await
        .expect(202);
    assert_eq!(api.mails("ada@example.com").await.len(), mails);
    for _ in 0..2 {
        act("enable").await.expect(204);
    }
    api.login("acme", "ada@example.com").await;
    // What has ended stays ended.
    api.get_as(&text(&before, "access_token"), "/v1/auth/me")
        .await
        .refused(401, "unauthenticated");
    api.refresh(&text(&before, "refresh_token"))
        .await
        .refused(401, "invalid_refresh_token");
}

#[tokio::test]
async fn a_new_password_is_required_and_the_old_one_lets_nobody_in() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let admin = api.admin().await;
    let (_, owner) = api.tenant(&admin, "acme").await;
    let ada = made(&api, &owner, "ada@example.com", &[]).await;
    let session = api.login("acme", "ada@example.com").await;
    // Whoever had the session for a moment may have made it.
    let key = json!({ "name": "Mine", "environment": "live", "scopes": [], "owner": { "type": "tenant" } });
    let key = text(&api.post_as(&owner, "/v1/api-keys", key).await.expect(201), "key");
    api.execute(&format!("UPDATE api_keys SET user_id = '{ada}'"))
        .await;
    api.get_as(&key, "/v1/api-keys/self").await.expect(200);
    let path = format!("/v1/users/{ada}/password-reset");
    let answer = ask(&api, &owner, Method::POST, &path, None).await.expect(202);
    assert_eq!(answer, json!({ "status": "mail_sent" }));
    api.get_as(&key, "/v1/api-keys/self")
        .await
        .refused(401, "unauthenticated");
    api.get_as(&text(&session, "access_token"), "/v1/auth/me")
        .await
        .refused(401, "unauthenticated");
    api.refresh(&text(&session, "refresh_token"))
        .await
        .refused(401, "invalid_refresh_token");
    let login = |password: &str| json!({ "email": "ada@example.com", "password": password });
    api.post("acme", "/v1/auth/login", login(PASSWORD))
        .await
        .refused(401, "invalid_credentials");

    let choose = async |password: &str| {
        let body = json!({ "token": api.mailed_token("ada@example.com").await, "new_password": password });
        Api::send(api.request(Method::POST, "/v1/auth/password/reset").json(&body)).await
    };
    // There was a reason to end it, which holds when the mail is sent again.
    for _ in 0..2 {
        ask(&api, &owner, Method::POST, &path, None).await.expect(202);
    }
    choose(PASSWORD).await.refused(422, "validation_failed");
    choose("a wholly other password").await.expect(204);
    api.post("acme", "/v1/auth/login", login(PASSWORD))
        .await
        .refused(401, "invalid_credentials");
    api.post("acme", "/v1/auth/login", login("a wholly other password"))
        .await
        .expect(200);
}

#[tokio::test]
async fn s03_a_lock_shows_not_in_a_required_new_password_and_outlives_it() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let admin = api.admin().await;
    let (_, owner) = api.tenant(&admin, "acme").await;
    let mut answers = Vec::new();
    for email in ["free@example.com", "locked@example.com"] {
        let user = made(&api, &owner, email, &[]).await;
        if email.starts_with("locked") {
            for _ in 0..10 {
                let wrong = json!({ "email": email, "password": "not the password" });
                api.post("acme", "/v1/auth/login", wrong)
                    .await
                    .refused(401, "invalid_credentials");
            }
        }
        let path = format!("/v1/users/{user}/password-reset");
        answers.push(ask(&api, &owner, Method::POST, &path, None).await.text);
    }
    assert_eq!(answers[0], answers[1]);
    let token = api.mailed_token("locked@example.com").await;
    let body = json!({ "token": token, "new_password": "a wholly other password" });
    Api::send(api.request(Method::POST, "/v1/auth/password/reset").json(&body))
        .await
        .expect(204);
    let login = json!({ "email": "locked@example.com", "password": "a wholly other password" });
    api.post("acme", "/v1/auth/login", login)
        .await
        .refused(401, "invalid_credentials");
}

#[tokio::test]
async fn an_administrator_sees_and_ends_sessions() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let admin = api.admin().await;
    let (tenant, owner) = api.tenant(&admin, "acme").await;
    let administers = role(&api, tenant, "admin").await;
    let ada = made(&api, &owner, "ada@example.com", &[&administers]).await;
    let mut tokens = Vec::new();
    for _ in 0..3 {
        bed.clock.advance(chrono::TimeDelta::milliseconds(2));
        tokens.push(api.login("acme", "ada@example.com").await);
    }
    let path = format!("/v1/users/{ada}/sessions");
    let list = async || {
        api.get_as(&owner, &path).await.expect(200)["data"]
            .as_array()
            .unwrap()
            .clone()
    };
    let sessions = list().await;
    assert_eq!(sessions.len(), 3);
    assert_eq!(sessions[0]["id"], tokens[2]["session_id"]);
    assert_eq!(sessions[0]["current"], false);
    let newest = format!("{path}/{}", text(&tokens[2], "session_id"));
    ask(&api, &owner, Method::DELETE, &newest, None).await.expect(204);
    ask(&api, &owner, Method::DELETE, &newest, None)
        .await
        .refused(404, "not_found");
    assert_eq!(list().await.len(), 2);
    ask(&api, &owner, Method::DELETE, &path, None).await.expect(204);
    assert!(list().await.is_empty());
    for session in tokens {
        api.get_as(&text(&session, "access_token"), "/v1/auth/me")
            .await
            .refused(401, "unauthenticated");
    }
    let again = token(&api, "acme", "ada@example.com").await;
    api.get_as(&again, "/v1/auth/me").await.expect(200);
}
