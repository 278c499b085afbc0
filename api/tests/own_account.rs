//! One's own account: changed and deleted.

use futures::future::join_all;
use latchkey_testing::{Prove, TestBed};
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{Answer, Api, PASSWORD, text};

pub(crate) const ADA: &str = "Ada.Lovelace@example.com";

pub(crate) async fn me_as(api: &Api, token: &str, method: Method, body: Value) -> Answer {
    Api::send(api.request(method, "/v1/auth/me").bearer_auth(token).json(&body)).await
}

pub(crate) async fn delete(api: &Api, token: &str) -> Answer {
    me_as(api, token, Method::DELETE, json!({ "password": PASSWORD })).await
}

#[tokio::test]
async fn a_profile_is_changed_cleared_and_left_alone() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let admin = api.admin().await;
    api.tenant(&admin, "acme").await;
    api.user("acme", ADA).await;
    let token = text(&api.login("acme", ADA).await, "access_token");
    let patch = |body: Value| me_as(&api, &token, Method::PATCH, body);

    let me = patch(json!({ "name": "Ada" })).await.expect(200);
    assert_eq!(
        (&me["user"]["name"], &me["roles"]),
        (&json!("Ada"), &json!(["member"]))
    );
    assert_eq!(patch(json!({})).await.expect(200)["user"]["name"], "Ada");
    assert_eq!(
        patch(json!({ "name": "Ada" })).await.expect(200)["user"]["name"],
        "Ada"
    );
    let me = patch(json!({ "name": null })).await.expect(200);
    assert_eq!(me["user"]["name"], Value::Null);
    assert_eq!(api.get_as(&token, "/v1/auth/me").await.expect(200), me);
    // Two of the four changed something.
    let events = "SELECT count(*) FROM events WHERE type = 'user.updated'";
    assert_eq!(api.scalar(events).await, 2);

    for wrong in [
        json!({ "name": "" }),
        json!({ "email": "eve@example.com" }),
        json!({ "name": 7 }),
    ] {
        patch(wrong).await.refused(422, "validation_failed");
    }
}

#[tokio::test]
async fn s21_a_deleted_account_is_gone_on_the_next_request_on_every_process() {
    let bed = TestBed::new().await;
    let (api, other) = (Api::start(&bed).await, Api::start_another(&bed).await);
    let admin = api.admin().await;
    api.tenant(&admin, "acme").await;
    api.user("acme", ADA).await;
    let here = api.login("acme", ADA).await;
    let there = other.login("acme", ADA).await;
    let (token, id) = (text(&here, "access_token"), text(&here["user"], "id"));

    let wrong = json!({ "password": "not the password of anyone" });
    me_as(&api, &token, Method::DELETE, wrong)
        .await
        .refused(401, "invalid_credentials");
    api.get_as(&token, "/v1/auth/me").await.expect(200);
    delete(&api, &token).await.expect(204);

    for login in [&here, &there] {
        let (access, refresh) = (text(login, "access_token"), text(login, "refresh_token"));
        api.get_as(&access, "/v1/auth/me")
            .await
            .refused(401, "unauthenticated");
        api.refresh(&refresh).await.refused(401, "invalid_refresh_token");
        other
            .refresh(&refresh)
            .await
            .refused(401, "invalid_refresh_token");
        let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(1);
        while other.get_as(&access, "/v1/auth/me").await.status != 401 {
            assert!(
                tokio::time::Instant::now() < deadline,
                "the other process has not heard"
            );
        }
    }
    let body = json!({ "email": ADA, "password": PASSWORD });
    api.post("acme", "/v1/auth/login", body)
        .await
        .refused(401, "invalid_credentials");

    let mails = api.mails(ADA).await;
    assert_eq!(mails.last().unwrap().subject, "Your account was deleted");
    let event = format!(
        "SELECT count(*) FROM events WHERE type = 'user.deleted' AND body::json -> 'data' ->> 'user_id' = '{id}'"
    );
    assert_eq!(api.scalar(&event).await, 1);
    let audit = format!(
        "SELECT count(*) FROM audit_events WHERE action = 'user.delete' AND actor_id = '{id}' AND target_id = '{id}'"
    );
    assert_eq!(api.scalar(&audit).await, 1);
    // The address is free again, and whoever takes it is somebody else.
    api.user("acme", ADA).await;
    assert_ne!(text(&api.login("acme", ADA).await["user"], "id"), id);
}

/// So many owners besides the first, each signed in.
async fn owners(api: &Api, tenant: Uuid, count: usize) -> Vec<String> {
    api.execute(&format!(
        "WITH made AS (
             INSERT INTO users (id, tenant_id, email, email_canonical, password_hash, status, email_verified_at,
                                created_at, updated_at)
             SELECT gen_random_uuid(), tenant_id, n || '@acme.test', n || '@acme.test', password_hash, 'active', now(),
                    now(), now()
             FROM users, generate_series(1, {count}) n WHERE tenant_id = '{tenant}' RETURNING id)
         INSERT INTO role_assignments (tenant_id, user_id, role_id, created_at)
         SELECT r.tenant_id, made.id, r.id, now() FROM made, roles r
         WHERE r.tenant_id = '{tenant}' AND r.name = 'owner'"
    ))
    .await;
    let logins = (1..=count).map(|n| async move { api.login("acme", &format!("{n}@acme.test")).await });
    join_all(logins)
        .await
        .iter()
        .map(|login| text(login, "access_token"))
        .collect()
}

#[tokio::test]
async fn s27_of_100_owners_who_leave_at_once_one_stays() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let admin = api.admin().await;
    let (tenant, first) = api.tenant(&admin, "acme").await;
    delete(&api, &first).await.refused(409, "last_owner");
    let mut tokens = owners(&api, tenant, 99).await;
    tokens.push(first);

    let answers = join_all(tokens.iter().map(|token| delete(&api, token))).await;
    let (gone, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(|answer| answer.status == 204);
    assert_eq!((gone.len(), refused.len()), (99, 1));
    for answer in refused {
        answer.refused(409, "last_owner");
    }
    let left = format!("SELECT count(*) FROM role_assignments WHERE tenant_id = '{tenant}'");
    assert_eq!(api.scalar(&left).await, 1);
}

#[tokio::test]
async fn s20_of_refreshes_that_race_a_deletion_none_yields_a_token_that_lives() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let admin = api.admin().await;
    api.tenant(&admin, "acme").await;
    for round in 0..Prove::size(3, 30) {
        let email = format!("user-{round}@example.com");
        api.user("acme", &email).await;
        let mut logins = Vec::new();
        for _ in 0..20 {
            logins.push(api.login("acme", &email).await);
        }
        let token = text(&logins[0], "access_token");
        let refreshes = join_all(
            logins
                .iter()
                .map(|login| api.refresh(login["refresh_token"].as_str().unwrap())),
        );
        let (answers, deleted) = tokio::join!(refreshes, delete(&api, &token));
        // Whoever meets a lock in the other order is asked to come again; nobody is told of a fault.
        assert!(
            answers
                .iter()
                .all(|answer| [200, 401, 503].contains(&answer.status.as_u16()))
        );
        if deleted.status == 503 {
            delete(&api, &token).await.expect(204);
        } else {
            deleted.expect(204);
        }
        for answer in answers.iter().filter(|answer| answer.status == 200) {
            let access = text(&answer.json(), "access_token");
            api.get_as(&access, "/v1/auth/me")
                .await
                .refused(401, "unauthenticated");
        }
    }
    let left = "SELECT count(*) FROM users WHERE email LIKE 'user-%'";
    assert_eq!(api.scalar(left).await, 0);
}

#[tokio::test]
async fn of_100_deletions_of_one_account_one_happens() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let admin = api.admin().await;
    api.tenant(&admin, "acme").await;
    api.user("acme", ADA).await;
    let token = text(&api.login("acme", ADA).await, "access_token");
    let answers = join_all((0..100).map(|_| delete(&api, &token))).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 204).count(), 1);
    assert_eq!(answers.iter().filter(|answer| answer.status == 401).count(), 99);
}

#[tokio::test]
async fn s34_each_flow_writes_its_audit_row_and_its_event() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let admin = api.admin().await;
    // An invitation is sent and accepted, and its owner signs in.
    api.tenant(&admin, "acme").await;
    api.user("acme", ADA).await;
    let body = json!({ "email": ADA, "password": PASSWORD });
    api.post("acme", "/v1/auth/register", body).await.expect(202);
    let wrong = json!({ "email": ADA, "password": "not the password of anyone" });
    api.post("acme", "/v1/auth/login", wrong)
        .await
        .refused(401, "invalid_credentials");
    let token = text(&api.login("acme", ADA).await, "access_token");
    api.post_as(&token, "/v1/auth/logout", json!({}))
        .await
        .expect(204);
    let token = text(&api.login("acme", ADA).await, "access_token");
    me_as(&api, &token, Method::PATCH, json!({ "name": "Ada" }))
        .await
        .expect(200);
    api.get_as(&token, "/v1/auth/me/export").await.expect(200);
    delete(&api, &token).await.expect(204);

    let flows = [
        ("tenant.create", None, 1),
        ("invitation.create", None, 1),
        ("invitation.accept", Some("invitation.accepted"), 1),
        ("user.register", Some("user.registered"), 2),
        ("user.verify_email", Some("user.verified"), 1),
        ("user.register_again", None, 1),
        ("session.revoke", Some("session.revoked"), 2),
        ("user.update", Some("user.updated"), 1),
        ("user.export", None, 1),
        ("user.delete", Some("user.deleted"), 1),
    ];
    for (action, event, count) in flows {
        let rows =
            format!("SELECT count(*) FROM audit_events WHERE action = '{action}' AND outcome = 'success'");
        assert_eq!(api.scalar(&rows).await, count, "{action}");
        if let Some(event) = event {
            let rows = format!("SELECT count(*) FROM events WHERE type = '{event}'");
            assert_eq!(api.scalar(&rows).await, count, "{event}");
        }
    }
    let failed = "SELECT count(*) FROM audit_events WHERE action = 'session.create' AND outcome = 'failure'";
    assert_eq!(api.scalar(failed).await, 1);
    // The trail outlives the account: it holds ids and no words of the user's.
    for word in ["ada.lovelace", "\"Ada\""] {
        let rows = format!("SELECT count(*) FROM audit_events t WHERE lower(t::text) LIKE lower('%{word}%')");
        assert_eq!(api.scalar(&rows).await, 0, "{word}");
    }
}
