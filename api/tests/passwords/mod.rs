//! Passwords and addresses: what may be set, and what ends when they change.

mod address;
mod change;
mod reset;
mod rules;

use std::sync::Arc;

use latchkey_shared::{config::Config, context::Context};
use latchkey_testing::TestBed;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Answer, Api, PASSWORD};

pub(super) const OTHER: &str = "a cup of tea at half past four";
pub(super) const ADA: &str = "ada@example.com";
pub(super) const GRACE: &str = "grace@example.com";
// SHA-1 of OTHER.
pub(super) const OTHERS_HASH: &str = "7FFF8081E738C3EC50F00AC1D3D00E6C389A9937";

pub(super) async fn submit(api: &Api, path: &str, body: Value) -> Answer {
    Api::send(api.request(Method::POST, path).json(&body)).await
}

/// The tenant `acme` with a verified user.
pub(super) async fn acme(api: &Api) {
    acme_with(api, "{}").await;
    api.user("acme", ADA).await;
}

/// The tenant alone, with settings: nothing tells this process of them, so they are there before it is looked up.
pub(super) async fn acme_with(api: &Api, settings: &str) {
    let admin = api.admin().await;
    let body = json!({ "slug": "acme", "name": "Acme Corporation" });
    api.post_as(&admin, "/v1/tenants", body).await.expect(201);
    let settings = format!("UPDATE tenants SET settings = '{settings}' WHERE slug = 'acme'");
    api.execute(&settings).await;
}

pub(super) async fn sign_in(api: &Api, email: &str, password: &str) -> Answer {
    let body = json!({ "email": email, "password": password });
    api.post("acme", "/v1/auth/login", body).await
}

pub(super) async fn change(api: &Api, token: &str, current: &str, new: &str) -> Answer {
    let body = json!({ "current_password": current, "new_password": new });
    api.post_as(token, "/v1/auth/password/change", body).await
}

/// The token of a mail that was just asked for.
pub(super) async fn forgot(api: &Api, email: &str) -> String {
    let sent = api
        .post("acme", "/v1/auth/password/forgot", json!({ "email": email }))
        .await
        .expect(202);
    assert_eq!(sent, json!({ "status": "reset_sent" }));
    api.mailed_token(email).await
}

pub(super) async fn reset(api: &Api, token: &str, new: &str) -> Answer {
    submit(
        api,
        "/v1/auth/password/reset",
        json!({ "token": token, "new_password": new }),
    )
    .await
}

pub(super) async fn ask_for_address(api: &Api, token: &str, new: &str) -> Answer {
    let body = json!({ "new_email": new, "password": PASSWORD });
    api.post_as(token, "/v1/auth/email/change", body).await
}

pub(super) async fn verify(api: &Api, token: &str) -> Answer {
    submit(api, "/v1/auth/email/verify", json!({ "token": token })).await
}

pub(super) async fn count(api: &Api, of: &str) -> i64 {
    api.scalar(&format!("SELECT count(*) FROM {of}")).await
}

pub(super) fn weak(answer: Answer, pointer: &str, code: &str) {
    let problem = answer.refused(422, "validation_failed");
    let found = (&problem["errors"][0]["pointer"], &problem["errors"][0]["code"]);
    assert_eq!(found, (&json!(pointer), &json!(code)), "{problem}");
}

pub(super) async fn last_subject(api: &Api, to: &str) -> String {
    api.mails(to).await.last().unwrap().subject.clone()
}

/// The context of a process that was configured otherwise.
pub(super) async fn reconfigured(bed: &TestBed, changes: &[(&str, &str)]) -> Context {
    let mut context = bed.another_process().await;
    let passwords = latchkey_testing::config(changes).passwords;
    context.config = Arc::new(Config {
        passwords,
        ..(*context.config).clone()
    });
    context
}
