//! Registering with an address that waits to be confirmed: only the reader of its mails says whose account it is.

use latchkey_testing::TestBed;
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    second_factor::pyotp,
    support::{Answer, Api, PASSWORD, ndjson, text},
};

const ADA: &str = "ada@example.com";
const EVES: &str = "the password of somebody else";
/// Of the password "password".
const IMPORTED: &str =
    "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc";
const SECRET: &str = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";

async fn register(api: &Api, password: &str) {
    let body = json!({ "email": ADA, "password": password });
    api.post("acme", "/v1/auth/register", body).await.expect(202);
}

async fn login(api: &Api, password: &str) -> Answer {
    let body = json!({ "email": ADA, "password": password });
    api.post("acme", "/v1/auth/login", body).await
}

async fn verify(api: &Api, token: &str) -> Answer {
    let body = json!({ "token": token });
    Api::send(api.request(Method::POST, "/v1/auth/email/verify").json(&body)).await
}

/// Chooses the password by the last mail.
async fn choose(api: &Api, password: &str) {
    let body = json!({ "token": api.mailed_token(ADA).await, "new_password": password });
    let chosen = api.request(Method::POST, "/v1/auth/password/reset").json(&body);
    Api::send(chosen).await.expect(204);
}

async fn acme(api: &Api) -> String {
    let admin = api.admin().await;
    api.tenant(&admin, "acme").await.1
}

#[tokio::test]
async fn s09_no_mail_confirms_a_password_that_somebody_else_has_registered_with() {
    for (first, second) in [(PASSWORD, EVES), (EVES, PASSWORD)] {
        for sent_again in [false, true] {
            let bed = TestBed::new().await;
            let api = Api::start(&bed).await;
            acme(&api).await;
            register(&api, first).await;
            let of_the_first = api.mailed_token(ADA).await;
            register(&api, second).await;
            if sent_again {
                let body = json!({ "email": ADA });
                api.post("acme", "/v1/auth/email/verify/resend", body)
                    .await
                    .expect(202);
                // As often as they like: it does not become theirs.
                register(&api, first).await;
            }
            for token in [of_the_first, api.mailed_token(ADA).await] {
                verify(&api, &token).await.refused(400, "invalid_token");
            }
            for password in [PASSWORD, EVES] {
                let refused = login(&api, password).await;
                assert!(!refused.status.is_success(), "{refused:?}");
            }
            // Also the one that she has registered with.
            choose(&api, PASSWORD).await;
            login(&api, EVES).await.refused(401, "invalid_credentials");
            let user = login(&api, PASSWORD).await.expect(200)["user"].clone();
            assert_eq!(user["email_verified"], true);
        }
    }
}

#[tokio::test]
async fn who_registers_again_with_the_same_password_is_sent_the_link_again() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    acme(&api).await;
    register(&api, PASSWORD).await;
    let superseded = api.mailed_token(ADA).await;
    register(&api, PASSWORD).await;
    verify(&api, &superseded).await.refused(400, "invalid_token");
    verify(&api, &api.mailed_token(ADA).await).await.expect(200);
    login(&api, PASSWORD).await.expect(200);
}

#[tokio::test]
async fn s27_a_registration_takes_nothing_from_an_account_that_was_imported() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let owner = acme(&api).await;
    let line = json!({ "email": ADA, "password_hash": IMPORTED, "totp_secret": SECRET, "roles": ["admin"] });
    let import = api.request(Method::POST, "/v1/users/import").bearer_auth(&owner);
    let import = import
        .header("content-type", "application/x-ndjson")
        .body(ndjson([line]));
    let answer = Api::send(import).await;
    assert!(answer.text.contains(r#""status":"created""#), "{answer:?}");
    let stored = "SELECT md5(concat(password_hash, name, password_changed_at)) FROM users WHERE email = 'ada@example.com'";
    let before = api.scalar_text(stored).await;
    register(&api, EVES).await;
    assert_eq!(api.scalar_text(stored).await, before);
    login(&api, EVES).await.refused(403, "email_not_verified");
    login(&api, "password").await.refused(401, "invalid_credentials");

    choose(&api, PASSWORD).await;
    login(&api, EVES).await.refused(401, "invalid_credentials");
    let challenge = login(&api, PASSWORD).await.expect(200);
    assert_eq!(challenge["status"], "mfa_required");
    let code = pyotp(SECRET, bed.context.clock.now());
    let answer = json!({ "mfa_token": challenge["mfa_token"], "method": "totp", "code": code });
    let signed_in = api.request(Method::POST, "/v1/auth/mfa/verify").json(&answer);
    let token = text(&Api::send(signed_in).await.expect(200), "access_token");
    let me: Value = api.get_as(&token, "/v1/auth/me").await.expect(200);
    assert_eq!(me["roles"], json!(["admin"]));
}

#[tokio::test]
async fn s02_registrations_at_the_same_moment_say_as_much_as_one_after_the_other() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    acme(&api).await;
    // A double click, or somebody who wants to see whether there was an account: there, every one of them has its salt.
    futures::future::join_all((0..8).map(|_| register(&api, PASSWORD))).await;
    login(&api, PASSWORD).await.refused(403, "email_not_verified");
    login(&api, EVES).await.refused(401, "invalid_credentials");
}
