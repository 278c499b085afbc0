//! Setting a factor up, replacing and removing it; and who must have one.

use chrono::TimeDelta;
use latchkey_shared::clock::Clock;
use latchkey_testing::TestBed;
use reqwest::Method;
use serde_json::json;

use super::{
    ADA, align, confirm, enrol, first_step, pyotp, recovery, set_up, signed_in, totp, verify, wrong,
};
use crate::support::{Api, PASSWORD, text};

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

    // Nor does it replace what the session has not proven.
    let body = json!({ "password": PASSWORD });
    api.post_as(&ada.of_one_factor, "/v1/mfa/totp/setup", body)
        .await
        .refused(401, "reauthentication_required");

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

/// A copy of a session that proved both factors once, and the password, are not enough to put another factor in place.
#[tokio::test]
async fn s14_a_factor_is_replaced_by_who_has_proven_it_lately() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let ada = enrol(&bed, &api, json!({})).await;
    bed.clock.advance(TimeDelta::minutes(16));
    let login = api.refresh(&ada.refresh).await.expect(200);
    let access = text(&login, "access_token");
    let body = json!({ "password": PASSWORD });
    let setup = "/v1/mfa/totp/setup";
    let stale = api.post_as(&access, setup, body.clone()).await;
    assert_eq!(
        stale.headers["www-authenticate"],
        r#"Bearer realm="latchkey", error="insufficient_user_authentication", max_age="900""#
    );
    stale.refused(401, "reauthentication_required");
    let proof = json!({ "password": PASSWORD, "code": pyotp(&ada.secret, bed.clock.now()) });
    let proven = api
        .post_as(&access, "/v1/auth/reauthenticate", proof)
        .await
        .expect(200);
    api.post_as(&text(&proven, "access_token"), setup, body)
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
async fn s34_second_factors_are_in_the_audit_trail_and_expired_rows_go() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let ada = enrol(&bed, &api, json!({})).await;
    let token = first_step(&api).await;
    verify(&api, &totp(&token, &wrong(&pyotp(&ada.secret, bed.clock.now())))).await;
    set_up(&api, &ada.access).await;
    for action in ["mfa.ask", "mfa.set_up", "mfa.enable", "mfa.prove"] {
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

#[tokio::test]
async fn s10_a_reset_of_an_unproven_account_removes_what_its_maker_had_set_up() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let maker = enrol(&bed, &api, json!({})).await;
    let token = first_step(&api).await;
    api.execute(
        "UPDATE users SET email_verified_at = NULL, email_proven = false WHERE email = 'ada@example.com'",
    )
    .await;
    api.post("acme", "/v1/auth/password/forgot", json!({ "email": ADA }))
        .await
        .expect(202);
    let password = "another battery staple";
    let body = json!({ "token": api.mailed_token(ADA).await, "new_password": password });
    let reset = api.request(Method::POST, "/v1/auth/password/reset").json(&body);
    Api::send(reset).await.expect(204);
    for told in [
        "SELECT count(*) FROM audit_events WHERE action = 'mfa.disable'",
        "SELECT count(*) FROM events WHERE type = 'mfa.disabled'",
    ] {
        assert_eq!(api.scalar(told).await, 1, "{told}");
    }

    let code = pyotp(&maker.secret, bed.clock.now());
    verify(&api, &totp(&token, &code))
        .await
        .refused(401, "invalid_mfa_token");
    let body = json!({ "email": ADA, "password": password, "device_token": maker.device });
    let login = api.post("acme", "/v1/auth/login", body).await.expect(200);
    assert_eq!(login["status"], "authenticated");
    assert!(login["device_token"].is_string(), "the maker's device is unknown");
}
