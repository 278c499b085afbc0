//! The second factor, by the codes of an implementation that is not ours.

use std::{collections::HashSet, process::Command};

use chrono::{DateTime, TimeDelta, Utc};
use latchkey_shared::clock::Clock;
use latchkey_testing::TestBed;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Answer, Api, PASSWORD, text};

const ADA: &str = "ada@example.com";

/// What pyotp makes of the secret at that time.
fn pyotp(secret: &str, at: DateTime<Utc>) -> String {
    let python = std::env::var("LATCHKEY_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let program = "import sys, pyotp; print(pyotp.TOTP(sys.argv[1]).at(int(sys.argv[2])))";
    let output = Command::new(&python)
        .args(["-c", program, secret, &at.timestamp().to_string()])
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{python} has no pyotp; LATCHKEY_TEST_PYTHON names one that has, and `./dev test` makes it"
    );
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// A user with an authenticator.
struct Enrolled {
    access: String,
    refresh: String,
    device: String,
    secret: String,
    recovery_codes: Vec<String>,
}

/// A tenant with those settings for second factors, and a user in it who is signed in.
async fn signed_in(api: &Api, mfa: Value) -> Value {
    let admin = api.admin().await;
    let body = json!({ "slug": "acme", "name": "Acme" });
    api.post_as(&admin, "/v1/tenants", body).await.expect(201);
    let settings = json!({ "mfa": mfa });
    // Before the tenant is first looked up: nothing tells this process of it.
    api.execute(&format!(
        "UPDATE tenants SET settings = '{settings}' WHERE slug = 'acme'"
    ))
    .await;
    api.user("acme", ADA).await;
    api.login("acme", ADA).await
}

/// Begins at the start of a time step, so that none ends meanwhile.
fn align(bed: &TestBed) {
    let into = bed.clock.now().timestamp().rem_euclid(30);
    bed.clock.advance(TimeDelta::seconds(31 - into));
}

async fn set_up(api: &Api, access: &str) -> Value {
    let body = json!({ "password": PASSWORD });
    api.post_as(access, "/v1/mfa/totp/setup", body).await.expect(200)
}

async fn confirm(api: &Api, access: &str, code: &str) -> Answer {
    api.post_as(access, "/v1/mfa/totp/confirm", json!({ "code": code }))
        .await
}

async fn enrol(bed: &TestBed, api: &Api, mfa: Value) -> Enrolled {
    let login = signed_in(api, mfa).await;
    align(bed);
    let access = text(&login, "access_token");
    let secret = text(&set_up(api, &access).await, "secret");
    let codes = confirm(api, &access, &pyotp(&secret, bed.clock.now()))
        .await
        .expect(200);
    let codes = codes["recovery_codes"].as_array().unwrap();
    // The enrolment's code is used up; the next tests begin with one that is not.
    bed.clock.advance(TimeDelta::seconds(30));
    Enrolled {
        access,
        refresh: text(&login, "refresh_token"),
        device: text(&login, "device_token"),
        secret,
        recovery_codes: codes
            .iter()
            .map(|code| code.as_str().unwrap().to_owned())
            .collect(),
    }
}

/// The token of a first step.
async fn first_step(api: &Api) -> String {
    let asked = api.login("acme", ADA).await;
    assert_eq!(asked["status"], "mfa_required", "{asked}");
    text(&asked, "mfa_token")
}

async fn verify(api: &Api, body: &Value) -> Answer {
    Api::send(api.request(Method::POST, "/v1/auth/mfa/verify").json(body)).await
}

fn totp(mfa_token: &str, code: &str) -> Value {
    json!({ "mfa_token": mfa_token, "method": "totp", "code": code })
}

fn recovery(mfa_token: &str, code: &str) -> Value {
    json!({ "mfa_token": mfa_token, "method": "recovery_code", "code": code })
}

fn claims(token: &str) -> Value {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    let claims = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap()
}

/// Another code than the one that is right now.
fn wrong(code: &str) -> String {
    let digits: u32 = code.parse().unwrap();
    format!("{:06}", (digits + 500_000) % 1_000_000)
}

#[tokio::test]
async fn an_independent_authenticator_signs_in() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let login = signed_in(&api, json!({})).await;
    let access = text(&login, "access_token");
    let other = api.login("acme", ADA).await;
    align(&bed);
    let setup = set_up(&api, &access).await;
    let (secret, uri) = (text(&setup, "secret"), text(&setup, "otpauth_uri"));
    assert!(
        uri.starts_with("otpauth://totp/Acme:ada%40example.com?secret="),
        "{uri}"
    );
    assert!(uri.contains(&secret), "{uri}");
    assert!(text(&setup, "qr_svg").starts_with("<svg"));
    assert_eq!(secret.len(), 32, "160 bits in base32");
    let codes = confirm(&api, &access, &pyotp(&secret, bed.clock.now()))
        .await
        .expect(200);
    let distinct: HashSet<&str> = codes["recovery_codes"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(Value::as_str)
        .collect();
    assert_eq!(distinct.len(), 10);

    let status = api.get_as(&access, "/v1/mfa").await.expect(200);
    assert_eq!(status["totp"]["enabled"], true);
    assert!(status["totp"]["confirmed_at"].is_string());
    assert_eq!(status["recovery_codes_remaining"], 10);
    api.get_as(&text(&other, "access_token"), "/v1/auth/me")
        .await
        .refused(401, "unauthenticated");
    let mailed = "SELECT count(*) FROM mails WHERE kind = 'mfa_enabled'";
    assert_eq!(api.scalar(mailed).await, 1);
    let events = "SELECT count(*) FROM events WHERE type = 'mfa.enabled'";
    assert_eq!(api.scalar(events).await, 1);

    bed.clock.advance(TimeDelta::seconds(30));
    let asked = api.login("acme", ADA).await;
    assert_eq!(asked["methods"], json!(["totp", "recovery_code"]));
    assert_eq!(asked["expires_in"], 300);
    let body = totp(&text(&asked, "mfa_token"), &pyotp(&secret, bed.clock.now()));
    let session = verify(&api, &body).await.expect(200);
    assert_eq!(session["status"], "authenticated");
    let said = claims(&text(&session, "access_token"));
    assert_eq!(
        (&said["amr"], &said["acr"]),
        (&json!(["pwd", "otp", "mfa"]), &json!("aal2"))
    );
    assert!((said["auth_time"].as_i64().unwrap() - bed.clock.now().timestamp()).abs() <= 2);
    // A refresh changes nothing of it.
    bed.clock.advance(TimeDelta::seconds(600));
    let refreshed = api.refresh(&text(&session, "refresh_token")).await.expect(200);
    let later = claims(&text(&refreshed, "access_token"));
    assert_eq!(
        (&later["auth_time"], &later["amr"]),
        (&said["auth_time"], &said["amr"])
    );
}

#[tokio::test]
async fn s12_of_100_parallel_submits_of_one_code_one_signs_in() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let ada = enrol(&bed, &api, json!({})).await;
    let code = pyotp(&ada.secret, bed.clock.now());
    let challenges = futures::future::join_all((0..100).map(|_| first_step(&api))).await;
    let bodies: Vec<Value> = challenges.iter().map(|token| totp(token, &code)).collect();
    let answers = futures::future::join_all(bodies.iter().map(|body| verify(&api, body))).await;
    let (entered, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(|answer| answer.status == 200);
    assert_eq!((entered.len(), refused.len()), (1, 99));
    for answer in refused {
        // Those that came too late found their challenge ended by so many failures.
        let code = answer.code();
        assert!(
            answer.status == 401 && (code == "invalid_code" || code == "invalid_mfa_token"),
            "{answer:?}"
        );
    }
    assert_eq!(
        api.scalar("SELECT count(*) FROM sessions WHERE 'otp' = ANY(methods)")
            .await,
        2
    );
}

#[tokio::test]
async fn s12_a_used_code_and_older_ones_are_refused_the_enrolments_included() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let login = signed_in(&api, json!({})).await;
    align(&bed);
    let access = text(&login, "access_token");
    let secret = text(&set_up(&api, &access).await, "secret");
    let enrolment = pyotp(&secret, bed.clock.now());
    confirm(&api, &access, &enrolment).await.expect(200);

    let token = first_step(&api).await;
    verify(&api, &totp(&token, &enrolment))
        .await
        .refused(401, "invalid_code");
    bed.clock.advance(TimeDelta::seconds(60));
    // One step early is within the window.
    let next = pyotp(&secret, bed.clock.now() + TimeDelta::seconds(30));
    verify(&api, &totp(&token, &next)).await.expect(200);
    let token = first_step(&api).await;
    for older in [0, -30] {
        let code = pyotp(&secret, bed.clock.now() + TimeDelta::seconds(older));
        verify(&api, &totp(&token, &code))
            .await
            .refused(401, "invalid_code");
    }
    verify(&api, &totp(&token, &next))
        .await
        .refused(401, "invalid_code");
    bed.clock.advance(TimeDelta::seconds(60));
    let code = pyotp(&secret, bed.clock.now());
    verify(&api, &totp(&token, &code)).await.expect(200);
}

#[tokio::test]
async fn s13_a_recovery_code_works_once_even_in_parallel_and_says_so_by_mail() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let ada = enrol(&bed, &api, json!({})).await;
    let challenges = futures::future::join_all((0..100).map(|_| first_step(&api))).await;
    let typed = ada.recovery_codes[0].to_lowercase().replace('-', " ");
    let bodies: Vec<Value> = challenges.iter().map(|token| recovery(token, &typed)).collect();
    let answers = futures::future::join_all(bodies.iter().map(|body| verify(&api, body))).await;
    let entered: Vec<&Answer> = answers.iter().filter(|answer| answer.status == 200).collect();
    assert_eq!(entered.len(), 1);
    let access = text(&entered[0].json(), "access_token");
    assert_eq!(claims(&access)["amr"], json!(["pwd", "recovery", "mfa"]));
    let status = api.get_as(&access, "/v1/mfa").await.expect(200);
    assert_eq!(status["recovery_codes_remaining"], 9);
    let mailed = "SELECT count(*) FROM mails WHERE kind = 'recovery_code_used'";
    assert_eq!(api.scalar(mailed).await, 1);
}

#[tokio::test]
async fn s13_new_recovery_codes_end_all_old_ones_and_a_dump_holds_none() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let ada = enrol(&bed, &api, json!({})).await;
    let body = json!({ "password": PASSWORD, "code": pyotp(&ada.secret, bed.clock.now()) });
    let replaced = api
        .post_as(&ada.access, "/v1/mfa/recovery-codes", body)
        .await
        .expect(200);
    let new = replaced["recovery_codes"][0].as_str().unwrap();
    let token = first_step(&api).await;
    for old in &ada.recovery_codes[..3] {
        verify(&api, &recovery(&token, old))
            .await
            .refused(401, "invalid_code");
    }
    verify(&api, &recovery(&token, new)).await.expect(200);
    let mailed = "SELECT count(*) FROM mails WHERE kind = 'recovery_codes_replaced'";
    assert_eq!(api.scalar(mailed).await, 1);
    // 256 bits of a keyed hash, and a sealed secret.
    let plain = format!(
        "SELECT count(*) FROM totp_factors WHERE encode(sealed, 'escape') LIKE '%{}%'",
        ada.secret
    );
    assert_eq!(api.scalar(&plain).await, 0);
    assert_eq!(
        api.scalar("SELECT min(length(hash)) FROM recovery_codes").await,
        32
    );
}

#[tokio::test]
async fn s14_every_change_asks_for_the_password_and_setup_leaves_the_active_factor_alone() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let ada = enrol(&bed, &api, json!({})).await;
    let code = pyotp(&ada.secret, bed.clock.now());
    let wrong_password = json!({ "password": "not the password", "code": code });
    for path in ["/v1/mfa/totp/disable", "/v1/mfa/recovery-codes"] {
        api.post_as(&ada.access, path, wrong_password.clone())
            .await
            .refused(401, "invalid_credentials");
    }
    let body = json!({ "password": "not the password" });
    api.post_as(&ada.access, "/v1/mfa/totp/setup", body)
        .await
        .refused(401, "invalid_credentials");
    // The right password alone does not do either.
    let body = json!({ "password": PASSWORD, "code": wrong(&code) });
    api.post_as(&ada.access, "/v1/mfa/totp/disable", body)
        .await
        .refused(401, "invalid_code");

    // Two setups: the second takes the place of the first, and neither touches what counts.
    let first = text(&set_up(&api, &ada.access).await, "secret");
    let second = text(&set_up(&api, &ada.access).await, "secret");
    verify(&api, &totp(&first_step(&api).await, &code))
        .await
        .expect(200);
    let stale = pyotp(&first, bed.clock.now());
    confirm(&api, &ada.access, &stale)
        .await
        .refused(401, "invalid_code");
    confirm(&api, &ada.access, &pyotp(&second, bed.clock.now()))
        .await
        .expect(200);
    bed.clock.advance(TimeDelta::seconds(30));
    let token = first_step(&api).await;
    let replaced = pyotp(&ada.secret, bed.clock.now());
    verify(&api, &totp(&token, &replaced))
        .await
        .refused(401, "invalid_code");
    verify(&api, &recovery(&token, &ada.recovery_codes[0]))
        .await
        .refused(401, "invalid_code");
    verify(&api, &totp(&token, &pyotp(&second, bed.clock.now())))
        .await
        .expect(200);
}

#[tokio::test]
async fn s14_a_setup_is_forgotten_after_a_quarter_of_an_hour() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let login = signed_in(&api, json!({})).await;
    let access = text(&login, "access_token");
    confirm(&api, &access, "123456")
        .await
        .refused(409, "mfa_not_pending");
    let secret = text(&set_up(&api, &access).await, "secret");
    bed.clock.advance(TimeDelta::minutes(14));
    let refreshed = api.refresh(&text(&login, "refresh_token")).await.expect(200);
    bed.clock.advance(TimeDelta::minutes(2));
    let code = pyotp(&secret, bed.clock.now());
    confirm(&api, &text(&refreshed, "access_token"), &code)
        .await
        .refused(409, "mfa_not_pending");
}

#[tokio::test]
async fn s14_a_removed_factor_is_not_asked_for_and_leaves_nothing() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let ada = enrol(&bed, &api, json!({})).await;
    let open = first_step(&api).await;
    let code = pyotp(&ada.secret, bed.clock.now());
    let body = json!({ "password": PASSWORD, "code": code });
    api.post_as(&ada.access, "/v1/mfa/totp/disable", body.clone())
        .await
        .expect(204);
    assert_eq!(api.login("acme", ADA).await["status"], "authenticated");
    let later = pyotp(&ada.secret, bed.clock.now() + TimeDelta::seconds(30));
    verify(&api, &totp(&open, &later))
        .await
        .refused(401, "invalid_mfa_token");
    api.post_as(&ada.access, "/v1/mfa/totp/disable", body)
        .await
        .refused(409, "mfa_not_enabled");
    let left = "SELECT (SELECT count(*) FROM totp_factors) + (SELECT count(*) FROM recovery_codes)
        + (SELECT count(*) FROM mfa_challenges)";
    assert_eq!(api.scalar(left).await, 0);
    assert_eq!(
        api.scalar("SELECT count(*) FROM events WHERE type = 'mfa.disabled'")
            .await,
        1
    );
    assert_eq!(
        api.scalar("SELECT count(*) FROM mails WHERE kind = 'mfa_disabled'")
            .await,
        1
    );
}

#[tokio::test]
async fn s15_a_challenge_is_answered_once_within_five_minutes() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let ada = enrol(&bed, &api, json!({})).await;
    let token = first_step(&api).await;
    let bodies: Vec<Value> = (0..100)
        .map(|number| match ada.recovery_codes.get(number) {
            Some(code) => recovery(&token, code),
            None => totp(&token, &pyotp_cached(&ada.secret, &bed)),
        })
        .collect();
    let answers = futures::future::join_all(bodies.iter().map(|body| verify(&api, body))).await;
    let (entered, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(|answer| answer.status == 200);
    assert_eq!((entered.len(), refused.len()), (1, 99));
    for answer in refused {
        answer.refused(401, "invalid_mfa_token");
    }
    let used = api.scalar("SELECT 10 - count(*) FROM recovery_codes").await
        + api
            .scalar("SELECT count(*) FROM sessions WHERE methods = '{pwd,otp}' AND revoked_at IS NULL")
            .await;
    assert_eq!(
        used, 2,
        "the enrolment's session, and what opened the one session"
    );

    let late = first_step(&api).await;
    bed.clock.advance(TimeDelta::seconds(301));
    verify(&api, &totp(&late, &pyotp(&ada.secret, bed.clock.now())))
        .await
        .refused(401, "invalid_mfa_token");
}

/// The same code a hundred times costs one process.
fn pyotp_cached(secret: &str, bed: &TestBed) -> String {
    static CODES: std::sync::Mutex<Option<(String, i64, String)>> = std::sync::Mutex::new(None);
    let step = bed.clock.now().timestamp() / 30;
    let mut cached = CODES.lock().unwrap();
    match &*cached {
        Some((of, at, code)) if of == secret && *at == step => code.clone(),
        _ => {
            let code = pyotp(secret, bed.clock.now());
            *cached = Some((secret.to_owned(), step, code.clone()));
            code
        }
    }
}

#[tokio::test]
async fn s15_a_challenge_is_its_users_and_ends_with_the_password() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let ada = enrol(&bed, &api, json!({})).await;
    api.user("acme", "bob@example.com").await;
    let bob = api.login("acme", "bob@example.com").await;
    let access = text(&bob, "access_token");
    let secret = text(&set_up(&api, &access).await, "secret");
    confirm(&api, &access, &pyotp(&secret, bed.clock.now()))
        .await
        .expect(200);
    bed.clock.advance(TimeDelta::seconds(30));
    // Bob's codes answer nothing that Ada was asked, and no operation takes anyone's id.
    let token = first_step(&api).await;
    verify(&api, &totp(&token, &pyotp(&secret, bed.clock.now())))
        .await
        .refused(401, "invalid_code");
    let mut body = totp(&token, &pyotp(&ada.secret, bed.clock.now()));
    body["user_id"] = bob["user"]["id"].clone();
    verify(&api, &body).await.refused(422, "validation_failed");

    let change = json!({ "current_password": PASSWORD, "new_password": "another horse, another staple" });
    api.post_as(&ada.access, "/v1/auth/password/change", change)
        .await
        .expect(204);
    verify(&api, &totp(&token, &pyotp(&ada.secret, bed.clock.now())))
        .await
        .refused(401, "invalid_mfa_token");
}

#[tokio::test]
async fn s05_wrong_codes_end_the_challenge_and_a_right_one_meets_the_lock() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let ada = enrol(&bed, &api, json!({})).await;
    let code = pyotp(&ada.secret, bed.clock.now());
    let token = first_step(&api).await;
    let mut failures = 0;
    loop {
        let answer = verify(&api, &totp(&token, &wrong(&code))).await;
        if answer.code() == "invalid_mfa_token" {
            break;
        }
        answer.refused(401, "invalid_code");
        failures += 1;
        assert!(failures <= 10, "guesses without end");
    }
    // The lock may have passed by the machine's own clock: it is set again, as if it were a long one.
    api.execute("UPDATE lockouts SET locked_until = now() + interval '1 day'")
        .await;
    let wrong_answer = verify(&api, &totp(&first_step(&api).await, &wrong(&code))).await;
    let right_answer = verify(&api, &totp(&first_step(&api).await, &code)).await;
    let words = |answer: &Answer| {
        let mut problem = answer.json();
        problem["request_id"].take();
        (answer.status, problem)
    };
    assert_eq!(words(&wrong_answer), words(&right_answer));
    api.execute("DELETE FROM lockouts").await;
    // It was refused, not used.
    verify(&api, &totp(&first_step(&api).await, &code))
        .await
        .expect(200);
}

#[tokio::test]
async fn s05_of_100_parallel_guesses_no_more_are_judged_than_the_budget_has() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let ada = enrol(&bed, &api, json!({})).await;
    let wrong = wrong(&pyotp(&ada.secret, bed.clock.now()));
    let token = first_step(&api).await;
    let body = totp(&token, &wrong);
    let answers = futures::future::join_all((0..100).map(|_| verify(&api, &body))).await;
    let judged = answers
        .iter()
        .filter(|answer| answer.code() == "invalid_code")
        .count();
    let counted = api.scalar("SELECT max(failures) FROM lockouts").await;
    assert_eq!(i64::try_from(judged).unwrap(), counted);
    assert!((1..=10).contains(&judged), "{judged}");
}

#[tokio::test]
async fn s16_who_must_have_a_factor_may_do_nothing_but_set_one_up() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let login = signed_in(&api, json!({ "requirement": "required" })).await;
    let access = text(&login, "access_token");
    let refreshed = api.refresh(&text(&login, "refresh_token")).await.expect(200);
    for token in [&access, &text(&refreshed, "access_token")] {
        for path in ["/v1/devices", "/v1/webhooks/endpoints"] {
            api.get_as(token, path)
                .await
                .refused(403, "mfa_enrollment_required");
        }
    }
    let body = json!({ "password": PASSWORD });
    api.post_as(&access, "/v1/auth/reauthenticate", body)
        .await
        .refused(403, "mfa_enrollment_required");
    api.get_as(&access, "/v1/auth/me").await.expect(200);
    api.get_as(&access, "/v1/mfa").await.expect(200);
    align(&bed);
    let secret = text(&set_up(&api, &access).await, "secret");
    confirm(&api, &access, &pyotp(&secret, bed.clock.now()))
        .await
        .expect(200);
    api.get_as(&access, "/v1/devices").await.expect(200);
    bed.clock.advance(TimeDelta::seconds(30));
    let body = json!({ "password": PASSWORD, "code": pyotp(&secret, bed.clock.now()) });
    api.post_as(&access, "/v1/mfa/totp/disable", body)
        .await
        .refused(403, "mfa_required");
    api.post_as(&access, "/v1/auth/logout", json!({}))
        .await
        .expect(204);
}

#[tokio::test]
async fn s16_a_sign_in_that_races_an_enrolment_leaves_no_session_of_one_factor() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let mut access = text(&signed_in(&api, json!({})).await, "access_token");
    for _ in 0..5 {
        align(&bed);
        let secret = text(&set_up(&api, &access).await, "secret");
        let code = pyotp(&secret, bed.clock.now());
        let logins = futures::future::join_all((0..20).map(|_| api.login("acme", ADA)));
        let (_, confirmed) = tokio::join!(logins, confirm(&api, &access, &code));
        confirmed.expect(200);
        let of_one = "SELECT count(*) FROM sessions s JOIN users u ON u.id = s.user_id
            WHERE u.email = 'ada@example.com' AND s.revoked_at IS NULL AND s.methods = '{pwd}'";
        assert_eq!(api.scalar(of_one).await, 0);
        api.execute("DELETE FROM totp_factors; DELETE FROM lockouts")
            .await;
        access = text(&api.login("acme", ADA).await, "access_token");
    }
}

#[tokio::test]
async fn s16_a_role_can_require_a_factor() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let login = signed_in(
        &api,
        json!({ "requirement": "required_for_roles", "roles": ["owner"] }),
    )
    .await;
    api.get_as(&text(&login, "access_token"), "/v1/devices")
        .await
        .expect(200);
    let make_owner = "UPDATE role_assignments a SET role_id = o.id FROM roles o, users u
        WHERE o.tenant_id = a.tenant_id AND o.name = 'owner' AND u.id = a.user_id AND u.email = 'ada@example.com'";
    api.execute(make_owner).await;
    // Another process has not remembered what Ada held before.
    let other = Api::start_another(&bed).await;
    other
        .get_as(&text(&login, "access_token"), "/v1/devices")
        .await
        .refused(403, "mfa_enrollment_required");
}

#[tokio::test]
async fn s16_where_factors_are_off_none_is_set_up() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let login = signed_in(&api, json!({ "requirement": "off" })).await;
    let access = text(&login, "access_token");
    let body = json!({ "password": PASSWORD });
    api.post_as(&access, "/v1/mfa/totp/setup", body)
        .await
        .refused(403, "mfa_off");
    confirm(&api, &access, "123456").await.refused(403, "mfa_off");
}

#[tokio::test]
async fn s16_who_has_a_factor_is_asked_even_where_they_are_off() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let ada = enrol(&bed, &api, json!({})).await;
    api.execute("UPDATE tenants SET settings = '{\"mfa\": {\"requirement\": \"off\"}}' WHERE slug = 'acme'")
        .await;
    let other = Api::start_another(&bed).await;
    let token = first_step(&other).await;
    verify(&other, &totp(&token, &pyotp(&ada.secret, bed.clock.now())))
        .await
        .expect(200);
}

#[tokio::test]
async fn s18_tokens_of_the_second_step_and_of_devices_open_nothing_else() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let ada = enrol(&bed, &api, json!({})).await;
    let mfa_token = first_step(&api).await;
    let code = pyotp(&ada.secret, bed.clock.now());
    for token in [&mfa_token, &ada.device] {
        api.get_as(token, "/v1/auth/me")
            .await
            .refused(401, "unauthenticated");
        for text in [token.clone(), format!("lkr_{}", &token[4..])] {
            api.refresh(&text).await.refused(401, "invalid_refresh_token");
        }
        for text in [token.clone(), format!("lko_{}", &token[4..])] {
            let body = json!({ "token": text });
            let request = api.request(Method::POST, "/v1/auth/email/verify").json(&body);
            Api::send(request).await.refused(400, "invalid_token");
        }
    }
    for token in [&ada.device, &ada.refresh, &ada.access] {
        for text in [token.clone(), format!("lkm_{}", &token[4..])] {
            verify(&api, &json!({ "mfa_token": text.chars().take(200).collect::<String>(), "method": "totp", "code": code }))
                .await
                .refused(401, "invalid_mfa_token");
        }
    }
    // An MFA token in the place of a device's does not make the device known.
    for token in [mfa_token.clone(), format!("lkd_{}", &mfa_token[4..])] {
        let body = json!({ "email": ADA, "password": PASSWORD, "device_token": token });
        let login = api.post("acme", "/v1/auth/login", body).await.expect(200);
        assert_eq!(login["status"], "mfa_required");
    }
    // A device's token lets nobody in without the password.
    let body = json!({ "email": ADA, "password": "not the password", "device_token": ada.device });
    api.post("acme", "/v1/auth/login", body)
        .await
        .refused(401, "invalid_credentials");
}

async fn login_with(api: &Api, device: &str) -> Value {
    let body = json!({ "email": ADA, "password": PASSWORD, "device_token": device });
    api.post("acme", "/v1/auth/login", body).await.expect(200)
}

/// Signs in with both factors on a device that is to be remembered, and gives its token.
async fn remembered(bed: &TestBed, api: &Api, ada: &Enrolled) -> (String, Value) {
    let mut body = totp(&first_step(api).await, &pyotp(&ada.secret, bed.clock.now()));
    body["remember_device"] = json!(true);
    let session = verify(api, &body).await.expect(200);
    (text(&session, "device_token"), session)
}

#[tokio::test]
async fn a_remembered_device_is_not_asked_until_it_is_forgotten() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let ada = enrol(&bed, &api, json!({ "remember_device_days": 30 })).await;
    assert_eq!(
        login_with(&api, &ada.device).await["status"],
        "mfa_required",
        "known, not trusted"
    );
    let (device, session) = remembered(&bed, &api, &ada).await;
    let login = login_with(&api, &device).await;
    assert_eq!(login["status"], "authenticated");
    let said = claims(&text(&login, "access_token"));
    assert_eq!(
        (&said["amr"], &said["acr"]),
        (&json!(["pwd"]), &json!("aal1")),
        "one factor was proven"
    );

    let access = text(&session, "access_token");
    let devices = api.get_as(&access, "/v1/devices?limit=1").await.expect(200);
    let trusted = &devices["data"][0];
    assert!(trusted["trusted_until"].is_string(), "{devices}");
    assert_eq!(devices["has_more"], true);
    let path = format!("/v1/devices/{}", trusted["id"].as_str().unwrap());
    let forget = || Api::send(api.request(Method::DELETE, &path).bearer_auth(&access));
    forget().await.expect(204);
    forget().await.refused(404, "not_found");
    assert_eq!(login_with(&api, &device).await["status"], "mfa_required");
}

#[tokio::test]
async fn a_devices_trust_ends_by_time_and_with_the_password() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let ada = enrol(&bed, &api, json!({ "remember_device_days": 2 })).await;
    let (device, _) = remembered(&bed, &api, &ada).await;
    bed.clock.advance(TimeDelta::hours(47));
    assert_eq!(login_with(&api, &device).await["status"], "authenticated");
    bed.clock.advance(TimeDelta::hours(1));
    assert_eq!(login_with(&api, &device).await["status"], "mfa_required");

    let (device, session) = remembered(&bed, &api, &ada).await;
    let new_password = "another horse, another staple";
    let change = json!({ "current_password": PASSWORD, "new_password": new_password });
    api.post_as(
        &text(&session, "access_token"),
        "/v1/auth/password/change",
        change,
    )
    .await
    .expect(204);
    let body = json!({ "email": ADA, "password": new_password, "device_token": device });
    let login = api.post("acme", "/v1/auth/login", body).await.expect(200);
    assert_eq!(login["status"], "mfa_required");
}

#[tokio::test]
async fn a_tenant_that_remembers_no_device_asks_each_time() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let ada = enrol(&bed, &api, json!({ "remember_device_days": 30 })).await;
    let (device, _) = remembered(&bed, &api, &ada).await;
    api.execute(
        "UPDATE tenants SET settings = '{\"mfa\": {\"remember_device_days\": 0}}' WHERE slug = 'acme'",
    )
    .await;
    let other = Api::start_another(&bed).await;
    assert_eq!(login_with(&other, &device).await["status"], "mfa_required");
}

#[tokio::test]
async fn a_device_of_one_user_is_not_known_for_another() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let ada = enrol(&bed, &api, json!({})).await;
    let (device, session) = remembered(&bed, &api, &ada).await;
    api.user("acme", "bob@example.com").await;
    let body = json!({ "email": "bob@example.com", "password": PASSWORD, "device_token": device });
    let bob = api.post("acme", "/v1/auth/login", body).await.expect(200);
    assert!(bob["device_token"].is_string(), "a device of Bob's own");
    let devices = api
        .get_as(&text(&session, "access_token"), "/v1/devices")
        .await
        .expect(200);
    let path = format!("/v1/devices/{}", devices["data"][0]["id"].as_str().unwrap());
    let request = api
        .request(Method::DELETE, &path)
        .bearer_auth(text(&bob, "access_token"));
    Api::send(request).await.refused(404, "not_found");
}

#[tokio::test]
async fn what_is_sensitive_takes_a_fresh_proof_of_every_factor() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let ada = enrol(&bed, &api, json!({})).await;
    api.get_as(&ada.access, "/v1/auth/me/export").await.expect(200);
    bed.clock.advance(TimeDelta::minutes(14));
    let refreshed = api.refresh(&ada.refresh).await.expect(200);
    let (access, refresh) = (
        text(&refreshed, "access_token"),
        text(&refreshed, "refresh_token"),
    );
    bed.clock.advance(TimeDelta::minutes(2));
    let stale = api.get_as(&access, "/v1/auth/me/export").await;
    assert_eq!(
        stale.headers["www-authenticate"],
        r#"Bearer realm="latchkey", error="insufficient_user_authentication", max_age="900""#
    );
    stale.refused(401, "reauthentication_required");

    let again = |body: Value| api.post_as(&access, "/v1/auth/reauthenticate", body);
    let code = pyotp(&ada.secret, bed.clock.now());
    again(json!({ "password": "not the password", "code": code }))
        .await
        .refused(401, "invalid_credentials");
    again(json!({ "password": PASSWORD }))
        .await
        .refused(401, "invalid_code");
    again(json!({ "password": PASSWORD, "code": wrong(&code) }))
        .await
        .refused(401, "invalid_code");
    let fresh = again(json!({ "password": PASSWORD, "code": code }))
        .await
        .expect(200);
    assert_eq!(
        (&fresh["token_type"], &fresh["expires_in"]),
        (&json!("Bearer"), &json!(900))
    );
    let token = text(&fresh, "access_token");
    assert_eq!(claims(&token)["acr"], "aal2");
    api.get_as(&token, "/v1/auth/me/export").await.expect(200);
    // The session knows it too.
    let refreshed = api.refresh(&refresh).await.expect(200);
    api.get_as(&text(&refreshed, "access_token"), "/v1/auth/me/export")
        .await
        .expect(200);
}

#[tokio::test]
async fn s34_second_factors_are_in_the_audit_trail_and_expired_rows_go() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let ada = enrol(&bed, &api, json!({})).await;
    let token = first_step(&api).await;
    verify(&api, &totp(&token, &wrong(&pyotp(&ada.secret, bed.clock.now())))).await;
    set_up(&api, &ada.access).await;
    for action in ["mfa.set_up", "mfa.enable", "mfa.prove"] {
        let rows = format!("SELECT count(*) FROM audit_events WHERE action = '{action}'");
        assert!(api.scalar(&rows).await > 0, "{action}");
    }
    bed.clock.advance(TimeDelta::days(181));
    latchkey_shared::retention::delete_expired(&bed.context, 100)
        .await
        .unwrap();
    let left = "SELECT (SELECT count(*) FROM devices) + (SELECT count(*) FROM mfa_challenges)
        + (SELECT count(*) FROM totp_factors WHERE confirmed_at IS NULL)";
    assert_eq!(api.scalar(left).await, 0);
    assert_eq!(
        api.scalar("SELECT count(*) FROM totp_factors").await,
        1,
        "what counts stays"
    );
}
