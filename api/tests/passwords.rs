//! Passwords and addresses: what may be set, and what ends when they change.

use std::{io::Write, sync::Arc};

use chrono::TimeDelta;
use futures::future::{join, join_all};
use latchkey_shared::{auth::Auth, config::Config, context::Context};
use latchkey_testing::{Answer as Scripted, RealProcess, Receiver, TestBed};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{ADMIN, Answer, Api, PASSWORD, text};

const OTHER: &str = "a cup of tea at half past four";
const ADA: &str = "ada@example.com";
const GRACE: &str = "grace@example.com";
// SHA-1 of OTHER.
const OTHERS_HASH: &str = "7FFF8081E738C3EC50F00AC1D3D00E6C389A9937";

async fn submit(api: &Api, path: &str, body: Value) -> Answer {
    Api::send(api.request(Method::POST, path).json(&body)).await
}

/// The tenant `acme` with a verified user.
async fn acme(api: &Api) {
    acme_with(api, "{}").await;
    api.user("acme", ADA).await;
}

/// The tenant alone, with settings: nothing tells this process of them, so they are there before it is looked up.
async fn acme_with(api: &Api, settings: &str) {
    let admin = api.admin().await;
    let body = json!({ "slug": "acme", "name": "Acme Corporation" });
    api.post_as(&admin, "/v1/tenants", body).await.expect(201);
    let settings = format!("UPDATE tenants SET settings = '{settings}' WHERE slug = 'acme'");
    api.execute(&settings).await;
}

async fn sign_in(api: &Api, email: &str, password: &str) -> Answer {
    let body = json!({ "email": email, "password": password });
    api.post("acme", "/v1/auth/login", body).await
}

async fn change(api: &Api, token: &str, current: &str, new: &str) -> Answer {
    let body = json!({ "current_password": current, "new_password": new });
    api.post_as(token, "/v1/auth/password/change", body).await
}

/// The token of a mail that was just asked for.
async fn forgot(api: &Api, email: &str) -> String {
    let sent = api
        .post("acme", "/v1/auth/password/forgot", json!({ "email": email }))
        .await
        .expect(202);
    assert_eq!(sent, json!({ "status": "reset_sent" }));
    api.mailed_token(email).await
}

async fn reset(api: &Api, token: &str, new: &str) -> Answer {
    submit(
        api,
        "/v1/auth/password/reset",
        json!({ "token": token, "new_password": new }),
    )
    .await
}

async fn ask_for_address(api: &Api, token: &str, new: &str) -> Answer {
    let body = json!({ "new_email": new, "password": PASSWORD });
    api.post_as(token, "/v1/auth/email/change", body).await
}

async fn verify(api: &Api, token: &str) -> Answer {
    submit(api, "/v1/auth/email/verify", json!({ "token": token })).await
}

async fn count(api: &Api, of: &str) -> i64 {
    api.scalar(&format!("SELECT count(*) FROM {of}")).await
}

fn weak(answer: Answer, pointer: &str, code: &str) {
    let problem = answer.refused(422, "validation_failed");
    let found = (&problem["errors"][0]["pointer"], &problem["errors"][0]["code"]);
    assert_eq!(found, (&json!(pointer), &json!(code)), "{problem}");
}

async fn last_subject(api: &Api, to: &str) -> String {
    api.mails(to).await.last().unwrap().subject.clone()
}

/// The context of a process that was configured otherwise.
async fn reconfigured(bed: &TestBed, changes: &[(&str, &str)]) -> Context {
    let mut context = bed.another_process().await;
    let passwords = latchkey_testing::config(changes).passwords;
    context.config = Arc::new(Config {
        passwords,
        ..(*context.config).clone()
    });
    context
}

// What may be set.

#[tokio::test]
async fn s07_a_password_is_refused_by_its_rule_and_accepted_by_its_length_alone() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    acme(&api).await;
    let register = |password: &str| {
        let body = json!({ "email": "grace.hopper@example.com", "password": password });
        api.post("acme", "/v1/auth/register", body)
    };
    for (password, code) in [
        ("sevench", "too_short"),
        (&*"x".repeat(257), "too_long"),
        ("Grace.Hopper@Example.com", "is_address"),
        ("grace.hopper", "is_address"),
        ("acme corporation", "is_tenant_name"),
        ("Password1", "too_common"),
        ("QWERTYUIOP", "too_common"),
    ] {
        weak(register(password).await, "/password", code);
    }
    for password in [
        "lower case",
        "\u{1f511}\u{1f511}\u{1f511}\u{1f511}\u{1f511}\u{1f511}\u{1f511}\u{1f511}",
        "73950183",
    ] {
        register(password).await.expect(202);
    }
    // All of 256 characters count.
    let longest = "\u{fc}".repeat(256);
    let body = json!({ "email": GRACE, "password": longest });
    api.post("acme", "/v1/auth/register", body).await.expect(202);
    verify(&api, &api.mailed_token(GRACE).await).await.expect(200);
    sign_in(&api, GRACE, &longest).await.expect(200);
    let cut = "\u{fc}".repeat(255);
    sign_in(&api, GRACE, &cut)
        .await
        .refused(401, "invalid_credentials");
}

#[tokio::test]
async fn s07_each_way_to_a_password_has_the_tenants_rules() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    acme_with(&api, r#"{"passwords": {"min_length": 14}}"#).await;
    api.user("acme", ADA).await;
    let token = text(&api.login("acme", ADA).await, "access_token");
    let thirteen = "thirteen char";
    let body = json!({ "email": GRACE, "password": thirteen });
    let registered = api.post("acme", "/v1/auth/register", body).await;
    weak(registered, "/password", "too_short");
    weak(
        change(&api, &token, PASSWORD, thirteen).await,
        "/new_password",
        "too_short",
    );
    let mailed = forgot(&api, ADA).await;
    weak(reset(&api, &mailed, thirteen).await, "/new_password", "too_short");
    // None of that has used up the token.
    reset(&api, &mailed, "fourteen chars").await.expect(204);
}

#[tokio::test]
async fn s07_a_leaked_password_is_found_in_the_file() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    writeln!(
        file,
        "{}:5\r\n{OTHERS_HASH}:1\r\n{}:2\r",
        "0".repeat(40),
        "F".repeat(40)
    )
    .unwrap();
    let bed = TestBed::with(&[("passwords.breach_file", file.path().to_str().unwrap())]).await;
    let api = Api::start(&bed).await;
    acme(&api).await;
    let token = text(&api.login("acme", ADA).await, "access_token");
    weak(
        change(&api, &token, PASSWORD, OTHER).await,
        "/new_password",
        "breached",
    );
    change(&api, &token, PASSWORD, "another cup at five")
        .await
        .expect(204);

    writeln!(file, "{}:2", "0".repeat(40)).unwrap();
    let refused = Auth::start(bed.another_process().await, None)
        .err()
        .unwrap()
        .to_string();
    assert!(refused.contains("is not sorted by hash"), "{refused}");
}

#[tokio::test]
async fn s07_a_leaked_password_is_found_by_the_service_which_learns_five_digits() {
    let service = Receiver::start().await;
    let bed = TestBed::with(&[("passwords.breach_range_url", &service.url("/range/"))]).await;
    let api = Api::start(&bed).await;
    acme(&api).await;
    // Registration asked too, and heard nothing: an answer without a line.
    service.next().await;
    let token = text(&api.login("acme", ADA).await, "access_token");
    let (prefix, suffix) = OTHERS_HASH.split_at(5);
    let lines = format!("{}:7\r\n{suffix}:3\r\n", "0".repeat(35));
    service.answer([Scripted::Status(200, vec![], lines.into_bytes())]);
    weak(
        change(&api, &token, PASSWORD, OTHER).await,
        "/new_password",
        "breached",
    );
    let asked = service.next().await;
    assert_eq!(
        (asked.path.as_str(), asked.header("add-padding")),
        (&*format!("/range/{prefix}"), "true")
    );
    assert!(asked.body.is_empty());

    // Whatever keeps it from answering, the password passes.
    let padding = Scripted::Status(200, vec![], format!("{suffix}:0").into_bytes());
    service.answer([
        Scripted::status(500),
        Scripted::Silence,
        Scripted::Endless,
        padding,
    ]);
    let mut current = PASSWORD.to_owned();
    for number in 0..4 {
        let new = format!("{OTHER} and {number}");
        change(&api, &token, &current, &new).await.expect(204);
        current = new;
    }
    service.stop().await;
    change(&api, &token, &current, OTHER).await.expect(204);
}

#[tokio::test]
async fn s07_a_service_that_does_not_answer_is_counted() {
    let bed = TestBed::with(&[("passwords.breach_range_url", "http://127.0.0.1:9/range")]).await;
    let helper = Api::start(&bed).await;
    acme(&helper).await;
    let api = RealProcess::api(&bed).await;
    let token = text(&helper.login("acme", ADA).await, "access_token");
    let body = json!({ "current_password": PASSWORD, "new_password": OTHER });
    let path = format!("{}/v1/auth/password/change", api.base_url);
    let changed = helper.client.post(path).bearer_auth(&token).json(&body);
    Api::send(changed).await.expect(204);
    let metrics = Api::send(helper.client.get(&api.metrics_url)).await.text;
    let line = r#"latchkey_breach_checks_total{collection="range",outcome="unavailable"} 1"#;
    assert!(metrics.contains(line), "{metrics}");
}

#[tokio::test]
async fn the_present_password_and_those_the_tenant_remembers_are_refused() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    acme_with(&api, r#"{"passwords": {"history": 2}}"#).await;
    api.user("acme", ADA).await;
    let token = text(&api.login("acme", ADA).await, "access_token");
    let passwords = [
        PASSWORD,
        "the second password",
        "the third password",
        "the fourth password",
    ];
    for pair in passwords.windows(2) {
        weak(
            change(&api, &token, pair[0], pair[0]).await,
            "/new_password",
            "used_before",
        );
        change(&api, &token, pair[0], pair[1]).await.expect(204);
    }
    // Two are remembered besides the present one; the first is forgotten, its hash as well.
    for remembered in &passwords[1..] {
        weak(
            change(&api, &token, passwords[3], remembered).await,
            "/new_password",
            "used_before",
        );
    }
    assert_eq!(count(&api, "former_passwords").await, 2);
    let mailed = forgot(&api, ADA).await;
    weak(
        reset(&api, &mailed, passwords[2]).await,
        "/new_password",
        "used_before",
    );
    reset(&api, &mailed, PASSWORD).await.expect(204);
    assert_eq!(count(&api, "former_passwords").await, 2);
}

// How it is kept.

#[tokio::test]
async fn s08_a_sign_in_rehashes_when_the_cost_rises_and_when_peppers_change() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    acme(&api).await;
    let like = |pattern: &str| format!("users WHERE email = '{ADA}' AND password_hash LIKE '{pattern}'");
    assert_eq!(count(&api, &like("$argon2id$v=19$m=64,t=1,p=1$%")).await, 1);

    let (one, two) = (
        "p1:MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=",
        "p2:ZmVkY2JhOTg3NjU0MzIxMGZlZGNiYTk4NzY1NDMyMTA=",
    );
    let both = format!("{two},{one}");
    // The base64 of p1 is cDE, that of p2 cDI.
    for (memory_kib, peppers, pattern) in [
        ("128", None, "%$m=128,t=1,p=1$%"),
        ("64", None, "%$m=128,t=1,p=1$%"),
        ("128", Some(one), "%$m=128,t=1,p=1,keyid=cDE$%"),
        ("128", Some(&*both), "%$m=128,t=1,p=1,keyid=cDI$%"),
    ] {
        let mut changes = vec![("passwords.memory_kib", memory_kib)];
        changes.extend(peppers.map(|peppers| ("passwords.peppers", peppers)));
        let now = Api::serve(reconfigured(&bed, &changes).await).await;
        sign_in(&now, ADA, "not the password")
            .await
            .refused(401, "invalid_credentials");
        // Many at once: none of them takes another's rehash for a change of the password.
        let signed_in = join_all((0..20).map(|_| sign_in(&now, ADA, PASSWORD))).await;
        for answer in signed_in {
            answer.expect(200);
        }
        assert_eq!(count(&api, &like(pattern)).await, 1, "{memory_kib} {peppers:?}");
    }
    // Without its pepper a hash is worth nothing, and that is not told.
    sign_in(&api, ADA, PASSWORD)
        .await
        .refused(401, "invalid_credentials");
}

// The change.

#[tokio::test]
async fn a_change_of_password_ends_all_that_came_of_the_old_one_but_the_session_it_was_made_in() {
    let bed = TestBed::new().await;
    let (api, another) = (Api::start(&bed).await, Api::start_another(&bed).await);
    acme(&api).await;
    let (mine, other) = (api.login("acme", ADA).await, api.login("acme", ADA).await);
    let (my_token, others_token) = (text(&mine, "access_token"), text(&other, "access_token"));
    another.get_as(&others_token, "/v1/auth/me").await.expect(200);
    let mailed = forgot(&api, ADA).await;
    ask_for_address(&api, &my_token, GRACE).await.expect(202);
    let address = api.mailed_token(GRACE).await;
    api.execute(
        "UPDATE devices SET trusted_until = now() + interval '1 day';
         INSERT INTO mfa_challenges (hash, tenant_id, user_id, created_at, expires_at)
         SELECT 'x', tenant_id, id, now(), now() + interval '5 minutes' FROM users WHERE email = 'ada@example.com'",
    )
    .await;

    change(&api, &my_token, PASSWORD, OTHER).await.expect(204);

    api.get_as(&others_token, "/v1/auth/me")
        .await
        .refused(401, "unauthenticated");
    api.refresh(&text(&other, "refresh_token"))
        .await
        .refused(401, "invalid_refresh_token");
    let me = api.get_as(&my_token, "/v1/auth/me").await.expect(200);
    assert_eq!(me["user"]["pending_email"], Value::Null);
    api.refresh(&text(&mine, "refresh_token")).await.expect(200);
    reset(&api, &mailed, "yet another password")
        .await
        .refused(400, "invalid_token");
    verify(&api, &address).await.refused(400, "invalid_token");
    assert_eq!(count(&api, "mfa_challenges").await, 0);
    let trusted = "devices d JOIN users u ON u.id = d.user_id WHERE u.email = 'ada@example.com' AND trusted_until IS NOT NULL";
    assert_eq!(count(&api, trusted).await, 0);
    sign_in(&api, ADA, PASSWORD)
        .await
        .refused(401, "invalid_credentials");
    sign_in(&api, ADA, OTHER).await.expect(200);

    assert_eq!(
        last_subject(&api, ADA).await,
        "Your password was changed (Acme Corporation)"
    );
    for told in [
        "events WHERE type = 'password.changed'",
        "audit_events WHERE action = 'user.change_password' AND outcome = 'success'",
        "sessions WHERE revoke_reason = 'password_changed'",
    ] {
        assert_eq!(count(&api, told).await, 1, "{told}");
    }
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(1);
    while another.get_as(&others_token, "/v1/auth/me").await.status == 200 {
        assert!(
            std::time::Instant::now() < deadline,
            "another process still takes the token"
        );
    }
}

#[tokio::test]
async fn without_the_present_password_nothing_changes() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    acme(&api).await;
    let token = text(&api.login("acme", ADA).await, "access_token");
    change(&api, &token, "not the password", OTHER)
        .await
        .refused(401, "invalid_credentials");
    let body = json!({ "new_email": GRACE, "password": "not the password" });
    let refused = api.post_as(&token, "/v1/auth/email/change", body).await;
    refused.refused(401, "invalid_credentials");
    let body = json!({ "current_password": PASSWORD, "new_password": OTHER });
    submit(&api, "/v1/auth/password/change", body)
        .await
        .refused(401, "unauthenticated");
    api.login("acme", ADA).await;
    assert!(api.mails(GRACE).await.is_empty());
}

#[tokio::test]
async fn s20_of_100_parallel_changes_one_succeeds() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    acme(&api).await;
    let token = text(&api.login("acme", ADA).await, "access_token");
    let new: Vec<String> = (0..100).map(|number| format!("{OTHER} and {number}")).collect();
    let answers = join_all(new.iter().map(|new| change(&api, &token, PASSWORD, new))).await;
    let mut set = Vec::new();
    for (answer, new) in answers.into_iter().zip(&new) {
        if answer.status == 204 {
            set.push(new);
        } else {
            answer.refused(401, "invalid_credentials");
        }
    }
    assert_eq!(set.len(), 1);
    sign_in(&api, ADA, set[0]).await.expect(200);
}

#[tokio::test]
async fn s20_of_refreshes_and_sign_ins_that_race_a_change_nothing_is_left() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    acme(&api).await;
    let mut current = PASSWORD.to_owned();
    for round in 0..3 {
        let mine = sign_in(&api, ADA, &current).await.expect(200);
        let mut others = Vec::new();
        for _ in 0..20 {
            others.push(sign_in(&api, ADA, &current).await.expect(200));
        }
        let new = format!("{OTHER} in round {round}");
        let mut racing: Vec<futures::future::BoxFuture<'_, Answer>> = Vec::new();
        for other in &others {
            for _ in 0..4 {
                racing.push(Box::pin(async {
                    api.refresh(&text(other, "refresh_token")).await
                }));
            }
            racing.push(Box::pin(sign_in(&api, ADA, &current)));
        }
        let token = text(&mine, "access_token");
        let (changed, raced) = join(change(&api, &token, &current, &new), join_all(racing)).await;
        changed.expect(204);
        for answer in raced {
            assert!(answer.status == 200 || answer.status == 401, "{answer:?}");
            if answer.status == 200 {
                others.push(answer.json());
            }
        }
        for other in &others {
            let (access, refresh) = (text(other, "access_token"), text(other, "refresh_token"));
            api.get_as(&access, "/v1/auth/me")
                .await
                .refused(401, "unauthenticated");
            api.refresh(&refresh).await.refused(401, "invalid_refresh_token");
        }
        api.get_as(&token, "/v1/auth/me").await.expect(200);
        let live = "sessions s JOIN users u ON u.id = s.user_id WHERE u.email = 'ada@example.com' AND revoked_at IS NULL";
        assert_eq!(count(&api, live).await, 1);
        api.post_as(&token, "/v1/auth/logout", json!({}))
            .await
            .expect(204);
        current = new;
    }
}

// The reset.

#[tokio::test]
async fn s10_a_reset_ends_every_session_tells_the_owner_and_lets_nobody_in() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    acme(&api).await;
    let sessions = [api.login("acme", ADA).await, api.login("acme", ADA).await];
    let mailed = forgot(&api, ADA).await;
    assert_eq!(
        last_subject(&api, ADA).await,
        "Set a new password (Acme Corporation)"
    );
    api.execute(
        "INSERT INTO totp_factors (id, tenant_id, user_id, sealed, created_at, confirmed_at)
         SELECT gen_random_uuid(), tenant_id, id, '', now(), now() FROM users WHERE email = 'ada@example.com';
         INSERT INTO lockouts (tenant_id, credential, failures, first_at, last_at, expires_at)
         SELECT tenant_id, 'x', 9, now(), now(), now() + interval '1 day' FROM users WHERE email = 'ada@example.com';",
    )
    .await;

    let answer = reset(&api, &mailed, OTHER).await;
    assert!(
        answer.text.is_empty() && !answer.headers.contains_key("set-cookie"),
        "{answer:?}"
    );
    answer.expect(204);

    for session in &sessions {
        let (access, refresh) = (text(session, "access_token"), text(session, "refresh_token"));
        api.get_as(&access, "/v1/auth/me")
            .await
            .refused(401, "unauthenticated");
        api.refresh(&refresh).await.refused(401, "invalid_refresh_token");
    }
    // The password alone is not enough, as before; failures that were counted still are.
    let entered = sign_in(&api, ADA, OTHER).await;
    assert!(!entered.text.contains("access_token"), "{entered:?}");
    assert_eq!(count(&api, "lockouts WHERE failures = 9").await, 1);
    api.execute("DELETE FROM totp_factors").await;
    sign_in(&api, ADA, OTHER).await.expect(200);
    sign_in(&api, ADA, PASSWORD)
        .await
        .refused(401, "invalid_credentials");

    assert_eq!(
        last_subject(&api, ADA).await,
        "Your password was reset (Acme Corporation)"
    );
    for (told, times) in [
        ("events WHERE type = 'password.reset'", 1),
        ("audit_events WHERE action = 'user.reset_password'", 1),
        ("sessions WHERE revoke_reason = 'password_reset'", 2),
    ] {
        assert_eq!(count(&api, told).await, times, "{told}");
    }
}

#[tokio::test]
async fn s09_of_100_parallel_resets_one_succeeds() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    acme(&api).await;
    let mailed = forgot(&api, ADA).await;
    let new: Vec<String> = (0..100).map(|number| format!("{OTHER} and {number}")).collect();
    let answers = join_all(new.iter().map(|new| reset(&api, &mailed, new))).await;
    let mut set = Vec::new();
    for (answer, new) in answers.into_iter().zip(&new) {
        if answer.status == 204 {
            set.push(new);
        } else {
            answer.refused(400, "invalid_token");
        }
    }
    assert_eq!(set.len(), 1);
    sign_in(&api, ADA, set[0]).await.expect(200);
    assert_eq!(count(&api, "events WHERE type = 'password.reset'").await, 1);
}

#[tokio::test]
async fn s09_a_reset_token_expires_is_superseded_and_good_for_nothing_else() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    acme(&api).await;
    let first = forgot(&api, ADA).await;
    let second = forgot(&api, ADA).await;
    reset(&api, &first, OTHER).await.refused(400, "invalid_token");
    verify(&api, &second).await.refused(400, "invalid_token");
    let accept = json!({ "token": second, "password": OTHER });
    submit(&api, "/v1/invitations/accept", accept)
        .await
        .refused(400, "invalid_token");
    api.refresh(&second).await.refused(401, "invalid_refresh_token");
    // A token for something else resets nothing.
    let body = json!({ "email": GRACE, "password": PASSWORD });
    api.post("acme", "/v1/auth/register", body).await.expect(202);
    let verification = api.mailed_token(GRACE).await;
    reset(&api, &verification, OTHER)
        .await
        .refused(400, "invalid_token");
    for forged in ["", "lko_", "lko_AAAA", &second[..second.len() - 1]] {
        reset(&api, forged, OTHER).await.refused(400, "invalid_token");
    }
    bed.clock.advance(TimeDelta::minutes(61));
    reset(&api, &second, OTHER).await.refused(400, "invalid_token");
    api.login("acme", ADA).await;
}

#[tokio::test]
async fn a_reset_token_is_worth_nothing_once_the_account_is_barred_or_has_another_address() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    acme(&api).await;
    let token = text(&api.login("acme", ADA).await, "access_token");
    let mailed = forgot(&api, ADA).await;
    ask_for_address(&api, &token, GRACE).await.expect(202);
    verify(&api, &api.mailed_token(GRACE).await).await.expect(200);
    reset(&api, &mailed, OTHER).await.refused(400, "invalid_token");

    let mailed = forgot(&api, GRACE).await;
    api.execute("UPDATE users SET status = 'disabled' WHERE email = 'grace@example.com'")
        .await;
    reset(&api, &mailed, OTHER).await.refused(400, "invalid_token");
}

#[tokio::test]
async fn a_reset_proves_the_address_and_ends_what_whoever_registered_it_first_had_begun() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    acme_with(&api, r#"{"email_verification": "optional"}"#).await;
    // Eve registers the address of Grace, signs in and asks for an address of her own.
    let body = json!({ "email": GRACE, "password": PASSWORD });
    api.post("acme", "/v1/auth/register", body).await.expect(201);
    let eves = text(&api.login("acme", GRACE).await, "access_token");
    ask_for_address(&api, &eves, "eve@example.com").await.expect(202);
    let eves_mail = api.mailed_token("eve@example.com").await;

    reset(&api, &forgot(&api, GRACE).await, OTHER).await.expect(204);

    api.get_as(&eves, "/v1/auth/me")
        .await
        .refused(401, "unauthenticated");
    verify(&api, &eves_mail).await.refused(400, "invalid_token");
    sign_in(&api, GRACE, PASSWORD)
        .await
        .refused(401, "invalid_credentials");
    let user = sign_in(&api, GRACE, OTHER).await.expect(200)["user"].clone();
    assert_eq!(
        (&user["email_verified"], &user["pending_email"]),
        (&json!(true), &Value::Null)
    );
    let verified =
        "events WHERE type = 'user.verified' AND body::jsonb #>> '{data,user,email}' = 'grace@example.com'";
    assert_eq!(count(&api, verified).await, 1);
}

#[tokio::test]
async fn the_administrator_resets_as_anyone_does() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let token = api.admin().await;
    api.post("platform", "/v1/auth/password/forgot", json!({ "email": ADMIN }))
        .await
        .expect(202);
    reset(&api, &api.mailed_token(ADMIN).await, OTHER)
        .await
        .expect(204);
    api.get_as(&token, "/v1/auth/me")
        .await
        .refused(401, "unauthenticated");
}

// The address.

#[tokio::test]
async fn an_address_changes_when_the_new_one_is_proven() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    acme(&api).await;
    let (mine, other) = (api.login("acme", ADA).await, api.login("acme", ADA).await);
    let token = text(&mine, "access_token");
    let sent = ask_for_address(&api, &token, "Ada.L@Example.com")
        .await
        .expect(202);
    assert_eq!(sent, json!({ "status": "verification_sent" }));
    assert_eq!(
        last_subject(&api, ADA).await,
        "Your address is about to change (Acme Corporation)"
    );
    let me = api.get_as(&token, "/v1/auth/me").await.expect(200);
    assert_eq!(
        (&me["user"]["email"], &me["user"]["pending_email"]),
        (&json!(ADA), &json!("Ada.L@example.com"))
    );
    sign_in(&api, "ada.l@example.com", PASSWORD)
        .await
        .refused(401, "invalid_credentials");
    let reset_mail = forgot(&api, ADA).await;

    let verified = verify(&api, &api.mailed_token("Ada.L@example.com").await)
        .await
        .expect(200);
    assert_eq!(
        verified,
        json!({ "user_id": me["user"]["id"], "email": "Ada.L@example.com" })
    );
    assert_eq!(
        last_subject(&api, ADA).await,
        "Your address was changed (Acme Corporation)"
    );
    for session in [&mine, &other] {
        let me = api
            .get_as(&text(session, "access_token"), "/v1/auth/me")
            .await
            .expect(200);
        assert_eq!(
            (&me["user"]["email"], &me["user"]["pending_email"]),
            (&json!("Ada.L@example.com"), &Value::Null)
        );
    }
    sign_in(&api, ADA, PASSWORD)
        .await
        .refused(401, "invalid_credentials");
    sign_in(&api, "ada.l@example.com", PASSWORD).await.expect(200);
    reset(&api, &reset_mail, OTHER)
        .await
        .refused(400, "invalid_token");
    assert_eq!(count(&api, "events WHERE type = 'user.updated'").await, 1);
    assert_eq!(
        count(&api, "audit_events WHERE action = 'user.change_email'").await,
        1
    );
}

#[tokio::test]
async fn s02_a_taken_address_shows_nowhere_but_in_its_own_mailbox() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    acme(&api).await;
    api.user("acme", GRACE).await;
    let token = text(&api.login("acme", ADA).await, "access_token");
    let mut seen = Vec::new();
    for new in ["free@example.com", GRACE] {
        let before = api.mails(ADA).await.len();
        let answer = ask_for_address(&api, &token, new).await;
        let me = api.get_as(&token, "/v1/auth/me").await.expect(200);
        assert_eq!(me["user"]["pending_email"], new);
        let notices: Vec<String> = api
            .mails(ADA)
            .await
            .split_off(before)
            .into_iter()
            .map(|mail| mail.text)
            .collect();
        seen.push((answer.status, answer.text, notices));
    }
    assert_eq!(seen[0], seen[1]);
    let mail = api.mails(GRACE).await.pop().unwrap();
    assert!(!mail.text.contains("token="), "{}", mail.text);
    // The earlier request is over, though the address it was for is free.
    verify(&api, &api.mailed_token("free@example.com").await)
        .await
        .refused(400, "invalid_token");
    let own = ask_for_address(&api, &token, "ADA@example.com").await;
    weak(own, "/new_email", "unchanged");
}

#[tokio::test]
async fn s09_of_100_parallel_proofs_of_a_new_address_one_succeeds() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    acme(&api).await;
    let token = text(&api.login("acme", ADA).await, "access_token");
    ask_for_address(&api, &token, GRACE).await.expect(202);
    let mailed = api.mailed_token(GRACE).await;
    let answers = join_all((0..100).map(|_| verify(&api, &mailed))).await;
    let (verified, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(|answer| answer.status == 200);
    assert_eq!((verified.len(), refused.len()), (1, 99));
    for answer in refused {
        answer.refused(400, "invalid_token");
    }
    assert_eq!(count(&api, "events WHERE type = 'user.updated'").await, 1);
}

#[tokio::test]
async fn s09_a_token_for_an_address_expires_is_superseded_and_good_for_nothing_else() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    acme(&api).await;
    let token = text(&api.login("acme", ADA).await, "access_token");
    ask_for_address(&api, &token, "first@example.com")
        .await
        .expect(202);
    ask_for_address(&api, &token, "second@example.com")
        .await
        .expect(202);
    let (first, second) = (
        api.mailed_token("first@example.com").await,
        api.mailed_token("second@example.com").await,
    );
    verify(&api, &first).await.refused(400, "invalid_token");
    reset(&api, &second, OTHER).await.refused(400, "invalid_token");
    bed.clock.advance(TimeDelta::hours(25));
    verify(&api, &second).await.refused(400, "invalid_token");
    let me = api.login("acme", ADA).await;
    assert_eq!(me["user"]["email"], ADA);
}

#[tokio::test]
async fn of_two_who_ask_for_one_address_the_first_to_prove_it_has_it() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    acme(&api).await;
    api.user("acme", GRACE).await;
    let mut mailed = Vec::new();
    for email in [ADA, GRACE] {
        let token = text(&api.login("acme", email).await, "access_token");
        ask_for_address(&api, &token, "shared@example.com")
            .await
            .expect(202);
        mailed.push(api.mailed_token("shared@example.com").await);
    }
    let answers = join_all(mailed.iter().map(|token| verify(&api, token))).await;
    let (verified, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(|answer| answer.status == 200);
    assert_eq!((verified.len(), refused.len()), (1, 1));
    for answer in refused {
        answer.refused(400, "invalid_token");
    }
    assert_eq!(count(&api, "users WHERE email = 'shared@example.com'").await, 1);
}
