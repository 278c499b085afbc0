//! A new password by mail.

use chrono::TimeDelta;
use futures::future::join_all;
use latchkey_testing::TestBed;
use serde_json::{Value, json};

use super::{
    ADA, GRACE, OTHER, acme, acme_with, ask_for_address, count, forgot, last_subject, reset, sign_in, submit,
    verify,
};
use crate::{
    sessions::refused_within_a_second,
    support::{ADMIN, Api, PASSWORD, text},
};

#[tokio::test]
async fn s10_a_reset_ends_every_session_everywhere_tells_the_owner_and_lets_nobody_in() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    acme(&api).await;
    let second = Api::start_another(&bed).await;
    let sessions = [api.login("acme", ADA).await, api.login("acme", ADA).await];
    for session in &sessions {
        second
            .get_as(&text(session, "access_token"), "/v1/auth/me")
            .await
            .expect(200);
    }
    let mailed = forgot(&api, ADA).await;
    assert_eq!(
        last_subject(&api, ADA).await,
        "Choose a new password for Acme Corporation"
    );
    api.execute(
        "INSERT INTO totp_factors (id, tenant_id, user_id, sealed, created_at, confirmed_at)
         SELECT gen_random_uuid(), tenant_id, id, '', now(), now() FROM users WHERE email = 'ada@example.com'",
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
        refused_within_a_second(&second, &access).await;
        api.get_as(&access, "/v1/auth/me")
            .await
            .refused(401, "unauthenticated");
        for process in [&api, &second] {
            process
                .refresh(&refresh)
                .await
                .refused(401, "invalid_refresh_token");
        }
    }
    // The password alone is not enough, as before.
    let entered = sign_in(&api, ADA, OTHER).await.expect(200);
    assert_eq!(entered["status"], "mfa_required", "{entered}");
    assert_eq!(entered["access_token"], Value::Null, "{entered}");
    api.execute("DELETE FROM totp_factors").await;
    sign_in(&api, ADA, OTHER).await.expect(200);
    sign_in(&api, ADA, PASSWORD)
        .await
        .refused(401, "invalid_credentials");

    assert_eq!(last_subject(&api, ADA).await, "Your password was reset");
    for (told, times) in [
        ("events WHERE type = 'password.reset'", 1),
        ("audit_events WHERE action = 'user.reset_password'", 1),
        ("sessions WHERE revoke_reason = 'password_reset'", 2),
    ] {
        assert_eq!(count(&api, told).await, times, "{told}");
    }
}

#[tokio::test]
async fn s10_a_reset_forgets_no_failure_and_lifts_no_lock() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    acme(&api).await;
    // Enough for a lock of two minutes.
    for _ in 0..10 {
        sign_in(&api, ADA, "not the password")
            .await
            .refused(401, "invalid_credentials");
    }
    let mailed = forgot(&api, ADA).await;
    reset(&api, &mailed, OTHER).await.expect(204);
    sign_in(&api, ADA, OTHER)
        .await
        .refused(401, "invalid_credentials");
    assert_eq!(count(&api, "lockouts WHERE failures = 10").await, 1);
    // It was the lock, and not the password.
    bed.clock.advance(TimeDelta::seconds(121));
    sign_in(&api, ADA, OTHER).await.expect(200);
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
