//! Who fails too often waits; nobody can tell, and the owner can help himself.

use chrono::TimeDelta;
use futures::future::join_all;
use latchkey_testing::TestBed;
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    second_factor::pyotp,
    support::{Answer, Api, PASSWORD, text},
};

const ADA: &str = "ada@example.com";
/// Enough for a lock of two minutes: longer than a slow machine takes for what follows.
const MANY: usize = 10;

/// A tenant with a user: the tenant's id and its owner's token.
async fn acme(api: &Api) -> (Uuid, String) {
    let admin = api.admin().await;
    let acme = api.tenant(&admin, "acme").await;
    api.user("acme", ADA).await;
    acme
}

async fn attempt(api: &Api, email: &str, password: &str, device: Option<&str>) -> Answer {
    let body = json!({ "email": email, "password": password, "device_token": device });
    api.post("acme", "/v1/auth/login", body).await
}

/// What the answer says, but for its id.
fn said(answer: Answer) -> Value {
    let mut problem = answer.refused(401, "invalid_credentials");
    problem.as_object_mut().unwrap().remove("request_id");
    problem
}

async fn fail(api: &Api, email: &str, times: usize) {
    for _ in 0..times {
        said(attempt(api, email, "not the password", None).await);
    }
}

async fn unlock(api: &Api, token: &str) -> Answer {
    let body = json!({ "token": token });
    Api::send(api.request(Method::POST, "/v1/auth/unlock").json(&body)).await
}

async fn locks_told(api: &Api, email: &str) -> usize {
    let mails = api.mails(email).await;
    mails
        .iter()
        .filter(|mail| mail.text.contains("/unlock?token="))
        .count()
}

#[tokio::test]
async fn s04_of_100_parallel_wrong_passwords_exactly_100_are_counted() {
    let bed = TestBed::new().await;
    let (one, other) = (Api::start(&bed).await, Api::start_another(&bed).await);
    acme(&one).await;
    other.login("acme", ADA).await;
    for email in [ADA, "nobody@example.com"] {
        let attempts = (0..100).map(|number| {
            let api = if number % 2 == 0 { &one } else { &other };
            attempt(api, email, "not the password", None)
        });
        for answer in join_all(attempts).await {
            said(answer);
        }
    }
    let counts = "SELECT count(*) FROM lockouts WHERE failures = 100 AND locked_until = first_at + interval '24 hours'";
    assert_eq!(one.scalar(counts).await, 2);
    assert_eq!(one.scalar("SELECT count(*) FROM lockouts").await, 2);
    assert_eq!(locks_told(&one, ADA).await, 1);
    // A right password that meets the lock is refused and not counted.
    said(attempt(&one, ADA, PASSWORD, None).await);
    assert_eq!(one.scalar(counts).await, 2);
}

#[tokio::test]
async fn s04_a_right_guess_waits_for_the_failures_beside_it_and_meets_their_lock() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    acme(&api).await;
    fail(&api, ADA, 4).await;
    // Another attempt is just being counted when this one is looked up, and is not seen.
    let beside = api
        .under_way("UPDATE lockouts SET failures = 10, locked_until = last_at + interval '2 minutes'")
        .await;
    let commit = async {
        api.until_waiting(1).await;
        beside.commit().await.unwrap();
    };
    let (answer, ()) = futures::join!(attempt(&api, ADA, PASSWORD, None), commit);
    said(answer);
    assert_eq!(api.scalar("SELECT failures FROM lockouts").await, 10);
}

#[tokio::test]
async fn who_signs_in_while_the_account_is_deleted_waits_for_that_and_finds_none() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let (_, owner) = acme(&api).await;
    // Their count is what both have to do with, beside the account.
    fail(&api, ADA, 2).await;
    let ada = format!("SELECT id FROM users WHERE email_canonical = '{ADA}'");
    let beside = api.under_way(&format!("{ada} FOR UPDATE")).await;
    let path = format!("/v1/users/{}", api.scalar_text(&ada).await);
    let deletion = Api::send(api.request(Method::DELETE, &path).bearer_auth(owner));
    let sign_in = async {
        api.until_waiting(1).await;
        attempt(&api, ADA, PASSWORD, None).await
    };
    let commit = async {
        api.until_waiting(2).await;
        beside.commit().await.unwrap();
    };
    let (deleted, refused, ()) = futures::join!(deletion, sign_in, commit);
    deleted.expect(204);
    said(refused);
}

#[tokio::test]
async fn s04_a_stranger_does_not_lock_a_known_device_out_and_a_device_locks_only_itself() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    acme(&api).await;
    let phone = text(&api.login("acme", ADA).await, "device_token");
    let laptop = text(&api.login("acme", ADA).await, "device_token");

    fail(&api, ADA, MANY).await;
    said(attempt(&api, ADA, PASSWORD, None).await);
    attempt(&api, ADA, PASSWORD, Some(&phone)).await.expect(200);
    // Its own success does not lift the lock on strangers.
    said(attempt(&api, ADA, PASSWORD, None).await);

    for _ in 0..MANY {
        said(attempt(&api, ADA, "not the password", Some(&phone)).await);
    }
    said(attempt(&api, ADA, PASSWORD, Some(&phone)).await);
    attempt(&api, ADA, PASSWORD, Some(&laptop)).await.expect(200);
    // Another user's device is a stranger's.
    api.user("acme", "bob@example.com").await;
    let bobs = text(&api.login("acme", "bob@example.com").await, "device_token");
    said(attempt(&api, ADA, PASSWORD, Some(&bobs)).await);
}

#[tokio::test]
async fn s03_a_lock_never_shows_and_a_new_password_does_not_lift_it() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    acme(&api).await;
    let before = said(attempt(&api, ADA, "not the password", None).await);
    fail(&api, ADA, MANY).await;
    let unknown = said(attempt(&api, "nobody@example.com", PASSWORD, None).await);
    for password in [PASSWORD, "not the password"] {
        let locked = attempt(&api, ADA, password, None).await;
        assert!(!locked.headers.contains_key("retry-after"));
        assert_eq!(said(locked), before);
    }
    assert_eq!(unknown, before);
    // Registering again sends a note and changes nothing.
    let body = json!({ "email": ADA, "password": PASSWORD });
    api.post("acme", "/v1/auth/register", body).await.expect(202);
    assert_eq!(said(attempt(&api, ADA, PASSWORD, None).await), before);
    let audit = "SELECT count(*) FROM audit_events WHERE action = 'user.lock'";
    assert_eq!(api.scalar(audit).await, 1);
    let events = "SELECT count(*) FROM events WHERE type = 'user.locked'";
    assert_eq!(api.scalar(events).await, 1);
}

/// Each operation of somebody who is signed in that takes the password: what it says to this one, which it refuses.
async fn prove_everywhere(api: &Api, token: &str, password: &str) -> Vec<Value> {
    let alone = json!({ "password": password });
    let with_code = json!({ "password": password, "code": "000000" });
    let change = json!({ "current_password": password, "new_password": "a cup of tea at half past four" });
    let readdress = json!({ "new_email": "eve@example.com", "password": password });
    let mut answers = Vec::new();
    for (method, path, body) in [
        (Method::POST, "/v1/auth/password/change", &change),
        (Method::POST, "/v1/auth/email/change", &readdress),
        (Method::POST, "/v1/auth/reauthenticate", &alone),
        (Method::POST, "/v1/mfa/totp/setup", &alone),
        (Method::POST, "/v1/mfa/totp/disable", &with_code),
        (Method::POST, "/v1/mfa/recovery-codes", &with_code),
        (Method::DELETE, "/v1/auth/me", &alone),
    ] {
        let request = api.request(method, path).bearer_auth(token).json(body);
        answers.push(said(Api::send(request).await));
    }
    answers
}

#[tokio::test]
async fn s03_failures_count_and_the_lock_holds_wherever_a_session_proves_its_password_again() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    acme(&api).await;
    let login = api.login("acme", ADA).await;
    let (token, device) = (text(&login, "access_token"), text(&login, "device_token"));
    let wrong = prove_everywhere(&api, &token, "not the password").await;
    // There is one row, which the device's failures to sign in share.
    let failures = "SELECT failures FROM lockouts";
    assert_eq!(api.scalar(failures).await, 7);
    for _ in 7..MANY {
        said(attempt(&api, ADA, "not the password", Some(&device)).await);
    }
    assert_eq!(api.scalar(failures).await, 10);

    assert_eq!(prove_everywhere(&api, &token, PASSWORD).await, wrong);
    said(attempt(&api, ADA, PASSWORD, Some(&device)).await);
    assert_eq!(api.scalar(failures).await, 10);
    assert_eq!(locks_told(&api, ADA).await, 1);

    unlock(&api, &api.mailed_token(ADA).await).await.expect(204);
    let body = json!({ "password": PASSWORD });
    api.post_as(&token, "/v1/auth/reauthenticate", body)
        .await
        .expect(200);
    assert!(api.mails("eve@example.com").await.is_empty());
}

#[tokio::test]
async fn s05_a_second_factor_has_one_budget_over_all_addresses_and_apart_from_the_password() {
    let bed = TestBed::with(&[("server.trusted_proxies", "127.0.0.0/8")]).await;
    let api = Api::start(&bed).await;
    acme(&api).await;
    let access = text(&api.login("acme", ADA).await, "access_token");
    let body = json!({ "password": PASSWORD });
    let setup = api.post_as(&access, "/v1/mfa/totp/setup", body).await.expect(200);
    let body = json!({ "code": pyotp(&text(&setup, "secret"), api.context.clock.now()) });
    let enrolled = api.post_as(&access, "/v1/mfa/totp/confirm", body).await;
    let right = enrolled.expect(200)["recovery_codes"][0].clone();
    let challenge = async || text(&api.login("acme", ADA).await, "mfa_token");
    let prove = async |mfa_token: &str, from: &str, code: &Value| {
        let body = json!({ "mfa_token": mfa_token, "method": "recovery_code", "code": code });
        let request = api.request(Method::POST, "/v1/auth/mfa/verify");
        Api::send(request.header("x-forwarded-for", from).json(&body)).await
    };
    let (wrong, one, other) = (json!("none of them"), challenge().await, challenge().await);
    for _ in 0..2 {
        prove(&one, "192.0.2.1", &wrong)
            .await
            .refused(401, "invalid_code");
    }
    fail(&api, ADA, 3).await;
    let apart = "SELECT count(*) FROM lockouts WHERE failures IN (2, 3)";
    assert_eq!(api.scalar(apart).await, 2);
    assert_eq!(locks_told(&api, ADA).await, 0);
    for _ in 0..3 {
        prove(&other, "198.51.100.7", &wrong)
            .await
            .refused(401, "invalid_code");
    }
    let addresses = "SELECT count(DISTINCT address) FROM audit_events WHERE action = 'mfa.prove'";
    assert_eq!(api.scalar(addresses).await, 2);
    assert_eq!(locks_told(&api, ADA).await, 1);
    for (token, from) in [(&one, "192.0.2.1"), (&other, "198.51.100.7")] {
        prove(token, from, &right).await.refused(401, "invalid_mfa_token");
    }

    // As if it were a longer lock: this one may pass by the machine's own clock.
    api.execute("UPDATE lockouts SET locked_until = now() + interval '1 day' WHERE failures = 5")
        .await;
    prove(&challenge().await, "203.0.113.9", &right)
        .await
        .refused(401, "invalid_code");
    unlock(&api, &api.mailed_token(ADA).await).await.expect(204);
    prove(&challenge().await, "203.0.113.9", &right).await.expect(200);
}

#[tokio::test]
async fn s06_failures_by_any_spelling_of_an_address_are_counted_together() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    acme(&api).await;
    api.user("acme", "Ren\u{e9}@xn--bcher-kva.example").await;
    let spellings = [
        "ren\u{e9}@xn--bcher-kva.example",
        "REN\u{c9}@B\u{dc}CHER.EXAMPLE",
        "rene\u{301}@b\u{fc}cher.example",
        "\u{ff52}en\u{e9}@xn--bcher-kva.example.",
        " Ren\u{e9}@b\u{fc}cher.example ",
    ];
    for spelling in spellings {
        fail(&api, spelling, MANY / spellings.len()).await;
    }
    assert_eq!(api.scalar("SELECT failures FROM lockouts").await, 10);
    for spelling in spellings {
        said(attempt(&api, spelling, PASSWORD, None).await);
    }
}

#[tokio::test]
async fn locks_grow_end_by_themselves_and_are_forgotten_after_a_day() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    acme(&api).await;
    let lock = "SELECT extract(epoch FROM locked_until - last_at) FROM lockouts";
    fail(&api, ADA, 4).await;
    assert_eq!(api.scalar("SELECT count(locked_until) FROM lockouts").await, 0);
    for seconds in [1, 3, 5, 10, 60, 120] {
        fail(&api, ADA, 1).await;
        assert_eq!(api.scalar(lock).await, seconds);
        // A failure during the lock would be the next step; this one comes after it.
        bed.clock.advance(TimeDelta::seconds(seconds + 1));
    }
    attempt(&api, ADA, PASSWORD, None).await.expect(200);
    assert_eq!(api.scalar("SELECT count(*) FROM lockouts").await, 0);

    fail(&api, ADA, 4).await;
    bed.clock.advance(TimeDelta::hours(24));
    fail(&api, ADA, 4).await;
    assert_eq!(api.scalar("SELECT failures FROM lockouts").await, 4);
    attempt(&api, ADA, PASSWORD, None).await.expect(200);
    assert_eq!(locks_told(&api, ADA).await, 1);
}

#[tokio::test]
async fn the_owner_is_told_once_an_hour() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    acme(&api).await;
    fail(&api, ADA, MANY).await;
    assert_eq!(locks_told(&api, ADA).await, 1);
    let first = api.mailed_token(ADA).await;
    bed.clock.advance(TimeDelta::hours(1));
    fail(&api, ADA, 3).await;
    assert_eq!(locks_told(&api, ADA).await, 2);
    // The newer token takes the older one's place.
    unlock(&api, &first).await.refused(400, "invalid_token");
    unlock(&api, &api.mailed_token(ADA).await).await.expect(204);
}

#[tokio::test]
async fn s09_of_100_parallel_unlocks_one_succeeds_and_lifts_every_lock() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    acme(&api).await;
    let device = text(&api.login("acme", ADA).await, "device_token");
    for _ in 0..MANY {
        said(attempt(&api, ADA, "not the password", Some(&device)).await);
    }
    fail(&api, ADA, MANY).await;
    said(attempt(&api, ADA, PASSWORD, None).await);

    let token = api.mailed_token(ADA).await;
    let body = json!({ "token": token });
    // It is good for nothing else.
    Api::send(api.request(Method::POST, "/v1/auth/email/verify").json(&body))
        .await
        .refused(400, "invalid_token");
    let answers = join_all((0..100).map(|_| unlock(&api, &token))).await;
    let (done, others): (Vec<_>, Vec<_>) = answers.into_iter().partition(|answer| answer.status == 204);
    assert_eq!((done.len(), others.len()), (1, 99));
    for other in others {
        other.refused(400, "invalid_token");
    }
    assert_eq!(api.scalar("SELECT count(*) FROM lockouts").await, 0);
    attempt(&api, ADA, PASSWORD, Some(&device)).await.expect(200);
    attempt(&api, ADA, PASSWORD, None).await.expect(200);
    let audit = "SELECT count(*) FROM audit_events WHERE action = 'user.unlock' AND actor_kind = 'user'";
    assert_eq!(api.scalar(audit).await, 1);
}

#[tokio::test]
async fn s09_an_unlock_token_expires_and_holds_for_its_address_only() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    acme(&api).await;
    api.user("acme", "bob@example.com").await;
    for email in [ADA, "bob@example.com"] {
        fail(&api, email, MANY).await;
    }
    let (adas, bobs) = (
        api.mailed_token(ADA).await,
        api.mailed_token("bob@example.com").await,
    );
    api.execute(
        "UPDATE users SET email = 'bob@example.net', email_canonical = 'bob@example.net' WHERE email = 'bob@example.com'",
    )
    .await;
    unlock(&api, &bobs).await.refused(400, "invalid_token");
    bed.clock.advance(TimeDelta::hours(25));
    for token in [adas.as_str(), "lko_x", ""] {
        unlock(&api, token).await.refused(400, "invalid_token");
    }
}

#[tokio::test]
async fn s25_an_administrator_unlocks_users_of_the_own_tenant_only() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let (_, owner) = acme(&api).await;
    let admin = api.admin().await;
    let (_, stranger) = api.tenant(&admin, "globex").await;
    let login = api.login("acme", ADA).await;
    let (ada, member) = (
        login["user"]["id"].as_str().unwrap().to_owned(),
        text(&login, "access_token"),
    );
    fail(&api, ADA, MANY).await;
    let path = |id: &str| format!("/v1/users/{id}/unlock");

    let foreign = api.post_as(&stranger, &path(&ada), json!({})).await;
    let absent = api
        .post_as(&stranger, &path(&Uuid::nil().to_string()), json!({}))
        .await;
    let bare = |answer: Answer| {
        let mut problem = answer.refused(404, "not_found");
        problem.as_object_mut().unwrap().remove("request_id");
        problem
    };
    assert_eq!(bare(foreign), bare(absent));
    api.post_as(&member, &path(&ada), json!({}))
        .await
        .refused(403, "forbidden");
    said(attempt(&api, ADA, PASSWORD, None).await);

    api.post_as(&owner, &path(&ada), json!({})).await.expect(204);
    attempt(&api, ADA, PASSWORD, None).await.expect(200);
}

#[tokio::test]
async fn s22_failures_are_counted_while_redis_is_away() {
    let bed = TestBed::new().await;
    let helper = Api::start(&bed).await;
    acme(&helper).await;
    let mut context = bed.another_process().await;
    let away = latchkey_testing::config(&[("redis.url", "redis://127.0.0.1:1")]);
    context.redis = latchkey_shared::redis::Redis::open(&away.redis).unwrap();
    context.limits = latchkey_shared::limit::Limits::new(&context.config, context.redis.clone()).into();
    let api = Api::serve(context).await;
    fail(&api, ADA, MANY).await;
    assert_eq!(api.scalar("SELECT failures FROM lockouts").await, 10);
    said(attempt(&api, ADA, PASSWORD, None).await);
}
