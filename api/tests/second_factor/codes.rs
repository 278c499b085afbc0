//! One-time codes and recovery codes: each works once.

use std::collections::HashSet;

use chrono::TimeDelta;
use latchkey_shared::clock::Clock;
use latchkey_testing::TestBed;
use serde_json::{Value, json};

use super::{
    ADA, align, base32, claims, confirm, enrol, first_step, pyotp, recovery, set_up, signed_in, totp, verify,
};
use crate::{
    isolation::{dump, none_holds},
    support::{Answer, Api, PASSWORD, text},
};

const RFC_4648: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
const CROCKFORD: &str = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

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
    let new = replaced["recovery_codes"].as_array().unwrap();
    let new: Vec<&str> = new.iter().filter_map(Value::as_str).collect();
    assert_eq!((ada.recovery_codes.len(), new.len()), (10, 10));

    // 256 bits of a keyed hash, and a sealed secret.
    let dump = dump(&bed).await;
    assert_eq!(base32(RFC_4648, "MZXW6YTB"), b"fooba");
    none_holds(&dump, &ada.secret, &base32(RFC_4648, &ada.secret));
    for code in ada
        .recovery_codes
        .iter()
        .map(String::as_str)
        .chain(new.iter().copied())
    {
        let bare = code.replace('-', "");
        none_holds(&dump, code, &base32(CROCKFORD, &bare));
        none_holds(&dump, &bare, &[]);
    }
    assert_eq!(
        api.scalar("SELECT min(length(hash)) FROM recovery_codes").await,
        32
    );

    for old in &ada.recovery_codes {
        // A lock would refuse any code.
        api.execute("DELETE FROM lockouts").await;
        verify(&api, &recovery(&first_step(&api).await, old))
            .await
            .refused(401, "invalid_code");
    }
    api.execute("DELETE FROM lockouts").await;
    verify(&api, &recovery(&first_step(&api).await, new[0]))
        .await
        .expect(200);
    let mailed = "SELECT count(*) FROM mails WHERE kind = 'recovery_codes_replaced'";
    assert_eq!(api.scalar(mailed).await, 1);
}
