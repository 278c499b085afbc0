//! The second step of a sign-in.

use chrono::TimeDelta;
use latchkey_shared::clock::Clock;
use latchkey_testing::TestBed;
use reqwest::Method;
use serde_json::{Value, json};

use super::{ADA, confirm, enrol, first_step, pyotp, pyotp_cached, recovery, set_up, totp, verify, wrong};
use crate::support::{Answer, Api, PASSWORD, text};

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
