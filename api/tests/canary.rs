//! Canaries: every secret of a platform at work, looked for wherever something is told.

use latchkey_shared::clock::{Clock, SystemClock};
use latchkey_testing::{RealProcess, TestBed};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::{
    audit::tamper,
    second_factor::pyotp,
    support::{Answer, Api, PASSWORD, text},
};

const ADA: &str = "ada@example.com";
const BOB: &str = "bob@example.com";
const WAITING: &str = "waiting@example.com";
const WRONG: &str = "a password that is not the right one";
const NEW: &str = "a cup of tea at half past four";
const HEADER: &str = "canary-9b1e";

/// What nobody may be told, and what was told.
struct Canaries {
    secrets: Vec<String>,
    told: Vec<(String, String)>,
}

impl Canaries {
    fn new() -> Self {
        let passwords = [PASSWORD, WRONG, NEW, HEADER];
        Self {
            secrets: passwords.map(str::to_owned).into(),
            told: Vec::new(),
        }
    }

    /// Remembers the secrets of an answer, by their fields.
    fn keep(&mut self, answer: &Value, fields: &[&str]) {
        self.secrets
            .extend(fields.iter().map(|field| text(answer, field)));
    }

    /// Remembers the tokens that the address was mailed.
    async fn keep_mailed(&mut self, api: &Api, address: &str) {
        for mail in api.mails(address).await {
            let tokens = mail.text.split("token=").skip(1);
            let tokens = tokens.map(|after| after.split_whitespace().next().unwrap().to_owned());
            self.secrets.extend(tokens);
        }
    }

    /// Remembers a refusal, which must be one.
    fn refused(&mut self, of: &str, answer: Answer) {
        assert!(answer.status.is_client_error(), "{of}: {answer:?}");
        self.told.push((of.to_owned(), answer.text));
    }

    /// Looks for each, without what only says its kind.
    fn look(&self) {
        assert!(self.secrets.len() > 30, "{}", self.secrets.len());
        for (place, told) in &self.told {
            for secret in &self.secrets {
                let bare = secret.strip_prefix("whsec_").or(secret.strip_prefix("lk_live_"));
                assert!(
                    !told.contains(bare.unwrap_or(secret)),
                    "{place} tells {secret}: {told}"
                );
            }
        }
    }
}

async fn submit(api: &Api, path: &str, body: Value) -> Answer {
    Api::send(api.request(Method::POST, path).json(&body)).await
}

/// Ada registers, sets up a second factor, goes on with her session, signs in with both factors and forgets her password.
async fn sign_in(api: &Api, canaries: &mut Canaries) -> String {
    api.user("acme", ADA).await;
    let login = api.login("acme", ADA).await;
    canaries.keep(&login, &["access_token", "refresh_token", "device_token"]);
    let access = text(&login, "access_token");

    let setup = api
        .post_as(&access, "/v1/mfa/totp/setup", json!({ "password": PASSWORD }))
        .await
        .expect(200);
    canaries.keep(&setup, &["secret"]);
    let code = pyotp(&text(&setup, "secret"), SystemClock.now());
    let confirmed = api
        .post_as(&access, "/v1/mfa/totp/confirm", json!({ "code": code }))
        .await
        .expect(200);
    let codes = confirmed["recovery_codes"].as_array().unwrap();
    let codes = codes.iter().map(|code| code.as_str().unwrap().to_owned());
    canaries.secrets.extend(codes);

    let refreshed = api.refresh(&text(&login, "refresh_token")).await.expect(200);
    canaries.keep(&refreshed, &["access_token", "refresh_token"]);
    let asked = api.login("acme", ADA).await;
    canaries.keep(&asked, &["mfa_token"]);
    let answer = json!({
        "mfa_token": text(&asked, "mfa_token"), "method": "recovery_code", "code": confirmed["recovery_codes"][0]
    });
    let entered = submit(api, "/v1/auth/mfa/verify", answer).await.expect(200);
    canaries.keep(&entered, &["access_token", "refresh_token", "device_token"]);

    let forgot = api.post("acme", "/v1/auth/password/forgot", json!({ "email": ADA }));
    forgot.await.expect(202);
    let reset = json!({ "token": api.mailed_token(ADA).await, "new_password": NEW });
    submit(api, "/v1/auth/password/reset", reset).await.expect(204);
    text(&login["user"], "id")
}

/// The owner invites somebody, and makes an API key and an endpoint, each of which is used.
async fn furnish(api: &Api, owner: &str, canaries: &mut Canaries) {
    let roles = api.get_as(owner, "/v1/roles?limit=100").await.expect(200);
    let roles = roles["data"].as_array().unwrap();
    let member = text(roles.iter().find(|role| role["name"] == "member").unwrap(), "id");
    let invite = |email: &str| json!({ "email": email, "role_ids": [member] });
    for email in [BOB, WAITING] {
        let invited = api.post_as(owner, "/v1/invitations", invite(email));
        invited.await.expect(201);
    }
    let accept = json!({ "token": api.mailed_token(BOB).await, "password": PASSWORD });
    submit(api, "/v1/invitations/accept", accept).await.expect(201);

    let key = json!({ "name": "Export", "environment": "live", "scopes": ["users:read"] });
    let key = api.post_as(owner, "/v1/api-keys", key).await.expect(201);
    canaries.keep(&key, &["key"]);
    let key = text(&key, "key");
    let asked = api.post_as(owner, "/v1/api-keys/verify", json!({ "key": key }));
    assert_eq!(asked.await.expect(200)["valid"], true);
    let used = api.request(Method::GET, "/v1/users").header("x-api-key", &key);
    canaries
        .told
        .push(("users of a key".to_owned(), Api::send(used).await.text));

    let endpoint = json!({
        "url": "https://hooks.example.com/", "event_types": ["*"], "headers": { "X-Token": HEADER }
    });
    let endpoint = api
        .post_as(owner, "/v1/webhooks/endpoints", endpoint)
        .await
        .expect(201);
    canaries.keep(&endpoint, &["secret"]);
}

/// What is refused, with secrets where they belong and where they do not.
async fn be_refused(api: &Api, owner: &str, canaries: &mut Canaries) {
    for body in [
        json!({ "email": ADA, "password": WRONG }),
        json!({ "email": ADA, "password": [WRONG] }),
        json!({ "email": ADA, "password": PASSWORD, "device_token": [WRONG] }),
    ] {
        let answer = api.post("acme", "/v1/auth/login", body).await;
        canaries.refused("a sign-in", answer);
    }
    for secret in canaries.secrets.clone() {
        let answer = submit(api, "/v1/auth/email/verify", json!({ "token": [secret] })).await;
        canaries.refused("a verification", answer);
    }
    let key = canaries
        .secrets
        .iter()
        .find(|secret| secret.starts_with("lk_live_"))
        .unwrap();
    let body = json!({ "name": "Export", "environment": "live", "scopes": [key] });
    let answer = api.post_as(owner, "/v1/api-keys", body).await;
    canaries.refused("a key's scopes", answer);
}

#[tokio::test]
async fn s35_no_password_token_key_or_secret_is_told_in_a_log_a_metric_or_a_list() {
    let bed = TestBed::new().await;
    let process = RealProcess::api_with(&bed, &[("log.level", "trace")]).await;
    let mut api = Api::start(&bed).await;
    api.base_url.clone_from(&process.base_url);
    let mut canaries = Canaries::new();
    let admin = api.admin().await;
    let (_, owner) = api.tenant(&admin, "acme").await;
    canaries.secrets.extend([admin, owner.clone()]);

    let ada = sign_in(&api, &mut canaries).await;
    furnish(&api, &owner, &mut canaries).await;
    for address in ["owner@acme.test", ADA, BOB, WAITING] {
        canaries.keep_mailed(&api, address).await;
    }
    be_refused(&api, &owner, &mut canaries).await;

    for list in [
        "/v1/users",
        "/v1/users/export",
        &format!("/v1/users/{ada}/sessions"),
        "/v1/sessions",
        "/v1/devices",
        "/v1/api-keys",
        "/v1/invitations",
        "/v1/webhooks/endpoints",
        "/v1/webhooks/events",
        "/v1/webhooks/deliveries",
        "/v1/audit-events?limit=100",
        "/v1/audit-events/export",
    ] {
        let answer = api.get_as(&owner, list).await;
        assert_eq!(answer.status, StatusCode::OK, "{list}: {answer:?}");
        canaries.told.push((list.to_owned(), answer.text));
    }
    let metrics = reqwest::get(&process.metrics_url).await.unwrap();
    canaries
        .told
        .push(("metrics".to_owned(), metrics.text().await.unwrap()));
    let printed = process.printed();
    assert!(
        printed.contains("/v1/auth/password/reset"),
        "nothing was logged: {printed}"
    );
    canaries.told.push(("the log".to_owned(), printed));
    canaries.look();
}

#[tokio::test]
async fn s16_nobody_signs_in_whose_second_factor_cannot_be_looked_up() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let admin = api.admin().await;
    api.tenant(&admin, "acme").await;
    api.user("acme", ADA).await;
    api.login("acme", ADA).await;
    tamper(&bed, "REVOKE SELECT ON totp_factors FROM latchkey_test_app").await;
    let body = json!({ "email": ADA, "password": PASSWORD });
    let answer = api.post("acme", "/v1/auth/login", body).await;
    assert!(
        answer.status.is_server_error() && !answer.text.contains("access_token"),
        "{answer:?}"
    );
}
