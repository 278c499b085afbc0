//! Joining a tenant.

use latchkey_testing::TestBed;
use reqwest::Method;
use serde_json::json;

use crate::support::{Api, PASSWORD};

#[tokio::test]
async fn a_new_tenants_owner_is_invited_and_accepts() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let admin = api.admin().await;
    let (_, owner) = api.tenant(&admin, "acme").await;
    let me = api.get_as(&owner, "/v1/auth/me").await.expect(200);
    assert_eq!(me["roles"], json!(["owner"]));
    assert_eq!(me["user"]["email_verified"], true);
    let held = me["permissions"].as_array().unwrap();
    assert!(held.contains(&json!("webhooks:write")) && !held.contains(&json!("tenants:write")));
}

#[tokio::test]
async fn s09_of_100_parallel_acceptances_one_succeeds() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let admin = api.admin().await;
    let body = json!({ "slug": "acme", "name": "Acme", "owner": { "email": "ada@acme.test" } });
    api.post_as(&admin, "/v1/tenants", body).await.expect(201);
    let body = json!({ "token": api.mailed_token("ada@acme.test").await, "password": PASSWORD });
    let accept = || Api::send(api.request(Method::POST, "/v1/invitations/accept").json(&body));
    let answers = futures::future::join_all((0..100).map(|_| accept())).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 201).count(), 1);
    assert_eq!(answers.iter().filter(|answer| answer.status == 400).count(), 99);
}

#[tokio::test]
async fn a_weak_password_leaves_the_invitation_standing() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let admin = api.admin().await;
    let body = json!({ "slug": "acme", "name": "Acme", "owner": { "email": "adalovelace@acme.test" } });
    api.post_as(&admin, "/v1/tenants", body).await.expect(201);
    let token = api.mailed_token("adalovelace@acme.test").await;
    let accept = |password: &str| {
        let body = json!({ "token": token, "password": password });
        Api::send(api.request(Method::POST, "/v1/invitations/accept").json(&body))
    };
    accept("adalovelace").await.refused(422, "validation_failed");
    accept(PASSWORD).await.expect(201);
}

#[tokio::test]
async fn a_taken_slug_is_a_conflict_and_invites_nobody() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let admin = api.admin().await;
    let body = |owner: &str| json!({ "slug": "acme", "name": "Acme", "owner": { "email": owner } });
    api.post_as(&admin, "/v1/tenants", body("ada@acme.test"))
        .await
        .expect(201);
    let problem = api
        .post_as(&admin, "/v1/tenants", body("eve@acme.test"))
        .await
        .refused(409, "slug_taken");
    assert_eq!(problem["errors"][0]["pointer"], "/slug");
    assert!(api.mails("eve@acme.test").await.is_empty());
}

const EVES: &str = "the password of somebody else";

async fn sign_in_as_eve(api: &Api, email: &str) {
    let body = json!({ "email": email, "password": EVES });
    api.post("acme", "/v1/auth/login", body)
        .await
        .refused(401, "invalid_credentials");
}

#[tokio::test]
async fn an_account_made_in_advance_gives_its_maker_nothing_when_the_owner_is_invited() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let admin = api.admin().await;
    let body = json!({ "slug": "acme", "name": "Acme", "owner": { "email": "ada@acme.test" } });
    api.post_as(&admin, "/v1/tenants", body).await.expect(201);
    let invitation = api.mailed_token("ada@acme.test").await;
    let body = json!({ "email": "ada@acme.test", "password": EVES });
    api.post("acme", "/v1/auth/register", body).await.expect(202);

    let body = json!({ "token": invitation, "password": PASSWORD });
    Api::send(api.request(Method::POST, "/v1/invitations/accept").json(&body))
        .await
        .expect(201);
    sign_in_as_eve(&api, "ada@acme.test").await;
    let owner = api.login("acme", "ada@acme.test").await;
    let me = api
        .get_as(owner["access_token"].as_str().unwrap(), "/v1/auth/me")
        .await
        .expect(200);
    assert_eq!(me["roles"], json!(["member", "owner"]));
}

#[tokio::test]
async fn nobody_registers_with_the_platform() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    api.admin().await;
    let body = json!({ "email": "eve@example.com", "password": EVES });
    api.post("platform", "/v1/auth/register", body)
        .await
        .refused(403, "registration_closed");
}
