//! From registration to sign-in.

use latchkey_testing::TestBed;
use reqwest::Method;
use serde_json::json;

use crate::support::{Api, PASSWORD, text};

#[tokio::test]
async fn an_account_is_registered_verified_and_signed_in() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let admin = api.admin().await;
    let (tenant, _) = api.tenant(&admin, "acme").await;

    let body = json!({ "email": "Ada@Example.com", "password": PASSWORD, "name": "Ada" });
    let sent = api.post("acme", "/v1/auth/register", body).await.expect(202);
    assert_eq!(sent, json!({ "status": "verification_sent" }));

    let body = json!({ "email": "ada@example.com", "password": PASSWORD });
    api.post("acme", "/v1/auth/login", body)
        .await
        .refused(403, "email_not_verified");

    let body = json!({ "token": api.mailed_token("Ada@example.com").await });
    let verified = Api::send(api.request(Method::POST, "/v1/auth/email/verify").json(&body))
        .await
        .expect(200);
    assert_eq!(verified["email"], "Ada@example.com");

    let login = api.login("acme", "ADA@example.com").await;
    assert_eq!(
        (&login["status"], &login["token_type"]),
        (&json!("authenticated"), &json!("Bearer"))
    );
    assert_eq!(login["expires_in"], 900);
    let me = api
        .get_as(&text(&login, "access_token"), "/v1/auth/me")
        .await
        .expect(200);
    assert_eq!(me["user"]["id"], verified["user_id"]);
    assert_eq!(me["user"]["name"], "Ada");
    assert_eq!(me["tenant"]["id"], tenant.to_string());
    assert_eq!(
        (&me["roles"], &me["permissions"]),
        (&json!(["member"]), &json!([]))
    );
}

#[tokio::test]
async fn the_same_address_in_two_tenants_is_two_users() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let admin = api.admin().await;
    for slug in ["acme", "globex"] {
        api.tenant(&admin, slug).await;
        api.user(slug, "ada@example.com").await;
    }
    let one = api.login("acme", "ada@example.com").await;
    let other = api.login("globex", "ada@example.com").await;
    assert_ne!(one["user"]["id"], other["user"]["id"]);
}

#[tokio::test]
async fn where_verification_is_optional_an_account_can_be_used_at_once() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let admin = api.admin().await;
    // Set before the tenant is first looked up: nothing tells this process of it.
    api.post_as(&admin, "/v1/tenants", json!({ "slug": "acme", "name": "Acme" }))
        .await
        .expect(201);
    api.execute("UPDATE tenants SET settings = '{\"email_verification\": \"optional\"}' WHERE slug = 'acme'")
        .await;

    let body = json!({ "email": "ada@example.com", "password": PASSWORD });
    let registered = api.post("acme", "/v1/auth/register", body.clone()).await;
    assert_eq!(registered.headers["location"], "/v1/auth/me");
    assert_eq!(registered.expect(201)["status"], "registered");
    api.login("acme", "ada@example.com").await;
    api.post("acme", "/v1/auth/register", body)
        .await
        .refused(409, "email_taken");
}

#[tokio::test]
async fn a_tenant_closed_for_registration_takes_nobody() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let admin = api.admin().await;
    api.post_as(&admin, "/v1/tenants", json!({ "slug": "acme", "name": "Acme" }))
        .await
        .expect(201);
    api.execute("UPDATE tenants SET settings = '{\"registration\": \"closed\"}' WHERE slug = 'acme'")
        .await;
    let body = json!({ "email": "ada@example.com", "password": PASSWORD });
    api.post("acme", "/v1/auth/register", body)
        .await
        .refused(403, "registration_closed");
}

#[tokio::test]
async fn a_weak_password_is_refused_by_its_field() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let admin = api.admin().await;
    api.tenant(&admin, "acme").await;
    let body = json!({ "email": "ada@example.com", "password": "ada@EXAMPLE.com" });
    let problem = api
        .post("acme", "/v1/auth/register", body)
        .await
        .refused(422, "validation_failed");
    assert_eq!(problem["errors"][0]["pointer"], "/password");
    assert_eq!(problem["errors"][0]["code"], "is_address");
}

#[tokio::test]
async fn s09_of_100_parallel_verifications_one_succeeds() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let admin = api.admin().await;
    api.tenant(&admin, "acme").await;
    let body = json!({ "email": "ada@example.com", "password": PASSWORD });
    api.post("acme", "/v1/auth/register", body).await.expect(202);
    let body = json!({ "token": api.mailed_token("ada@example.com").await });

    let submit = || Api::send(api.request(Method::POST, "/v1/auth/email/verify").json(&body));
    let answers = futures::future::join_all((0..100).map(|_| submit())).await;
    let (verified, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(|answer| answer.status == 200);
    assert_eq!((verified.len(), refused.len()), (1, 99));
    for answer in refused {
        answer.refused(400, "invalid_token");
    }
    assert_eq!(
        api.scalar("SELECT count(*) FROM events WHERE type = 'user.verified'")
            .await,
        1
    );
}

#[tokio::test]
async fn s09_a_newer_token_supersedes_the_older_and_time_ends_both() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let admin = api.admin().await;
    api.tenant(&admin, "acme").await;
    let body = json!({ "email": "ada@example.com", "password": PASSWORD });
    api.post("acme", "/v1/auth/register", body).await.expect(202);
    let older = api.mailed_token("ada@example.com").await;
    api.post(
        "acme",
        "/v1/auth/email/verify/resend",
        json!({ "email": "ada@example.com" }),
    )
    .await
    .expect(202);
    let newer = api.mailed_token("ada@example.com").await;
    assert_ne!(older, newer);

    let verify = |token: String| {
        Api::send(
            api.request(Method::POST, "/v1/auth/email/verify")
                .json(&json!({ "token": token })),
        )
    };
    verify(older).await.refused(400, "invalid_token");
    bed.clock.advance(chrono::TimeDelta::hours(25));
    verify(newer).await.refused(400, "invalid_token");
}

#[tokio::test]
async fn s09_a_token_is_useless_for_another_purpose() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let admin = api.admin().await;
    api.tenant(&admin, "acme").await;
    let body = json!({ "email": "ada@example.com", "password": PASSWORD });
    api.post("acme", "/v1/auth/register", body).await.expect(202);
    let body = json!({ "token": api.mailed_token("ada@example.com").await, "password": PASSWORD });
    let accept = api.request(Method::POST, "/v1/invitations/accept").json(&body);
    Api::send(accept).await.refused(400, "invalid_token");
}

#[tokio::test]
async fn s34_each_change_is_in_the_audit_trail() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let admin = api.admin().await;
    api.tenant(&admin, "acme").await;
    api.user("acme", "ada@example.com").await;
    let login = api.login("acme", "ada@example.com").await;
    api.post_as(&text(&login, "access_token"), "/v1/auth/logout", json!({}))
        .await
        .expect(204);
    for action in [
        "tenant.create",
        "invitation.create",
        "invitation.accept",
        "user.register",
        "user.verify_email",
        "session.create",
        "session.revoke",
    ] {
        let rows = api
            .scalar(&format!(
                "SELECT count(*) FROM audit_events WHERE action = '{action}'"
            ))
            .await;
        assert!(rows > 0, "{action}");
    }
}
