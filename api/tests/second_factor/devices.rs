//! Devices that are remembered, and what takes a fresh proof.

use chrono::TimeDelta;
use latchkey_shared::clock::Clock;
use latchkey_testing::TestBed;
use reqwest::Method;
use serde_json::{Value, json};

use super::{ADA, claims, enrol, login_with, pyotp, remembered, wrong};
use crate::support::{Api, PASSWORD, text};

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
    let told = "SELECT count(*) FROM audit_events WHERE action = 'device.trust' AND detail ? 'trusted_until'";
    assert_eq!(api.scalar(told).await, 1);
    let by_both = "SELECT count(*) FROM audit_events WHERE action = 'session.create' AND detail -> 'methods' = '[\"pwd\", \"otp\"]'";
    assert_eq!(api.scalar(by_both).await, 1);
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
async fn s14_what_is_sensitive_wants_both_factors_of_who_has_two() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let ada = enrol(&bed, &api, json!({})).await;
    let export = "/v1/auth/me/export";
    api.get_as(&ada.of_one_factor, export)
        .await
        .refused(401, "reauthentication_required");
    api.get_as(&ada.access, export).await.expect(200);
}
