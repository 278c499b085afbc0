//! A factor that was lost, removed by an administrator.

use latchkey_shared::clock::Clock;
use latchkey_testing::TestBed;
use reqwest::Method;
use serde_json::{Value, json};

use super::{
    ADA, Enrolled, claims, confirm, enrol, first_step, login_with, pyotp, recovery, remembered, set_up,
    signed_in, totp, verify,
};
use crate::support::{Answer, Api, text};

const OWNER: &str = "owner@acme.test";

/// An owner of the tenant, signed in: the id and the access token.
async fn owner(api: &Api) -> (String, String) {
    api.user("acme", OWNER).await;
    let owns = format!(
        "UPDATE role_assignments a SET role_id = o.id FROM roles o, users u
         WHERE o.tenant_id = a.tenant_id AND o.name = 'owner' AND u.id = a.user_id AND u.email = '{OWNER}'"
    );
    api.execute(&owns).await;
    let login = api.login("acme", OWNER).await;
    (text(&login["user"], "id"), text(&login, "access_token"))
}

async fn id_of_ada(api: &Api) -> String {
    let select = format!("SELECT id FROM users WHERE email = '{ADA}'");
    api.scalar_text(&select).await
}

async fn reset(api: &Api, token: &str, user: &str) -> Answer {
    let path = format!("/v1/users/{user}/reset-mfa");
    Api::send(api.request(Method::POST, &path).bearer_auth(token)).await
}

async fn assert_ended(api: &Api, access: &str, refresh: &str) {
    api.get_as(access, "/v1/auth/me")
        .await
        .refused(401, "unauthenticated");
    api.refresh(refresh).await.refused(401, "invalid_refresh_token");
}

/// Rows of resets in the trail, and what was told of them: events and mails.
async fn told(api: &Api) -> [i64; 3] {
    [
        api.scalar("SELECT count(*) FROM audit_events WHERE action = 'user.reset_mfa'")
            .await,
        api.scalar("SELECT count(*) FROM events WHERE type = 'mfa.disabled'")
            .await,
        api.scalar("SELECT count(*) FROM mails WHERE kind = 'mfa_disabled'")
            .await,
    ]
}

/// Factors, recovery codes, challenges, and devices that are trusted.
async fn left(api: &Api) -> i64 {
    api.scalar(
        "SELECT (SELECT count(*) FROM totp_factors) + (SELECT count(*) FROM recovery_codes)
            + (SELECT count(*) FROM mfa_challenges)
            + (SELECT count(*) FROM devices WHERE trusted_until IS NOT NULL)",
    )
    .await
}

/// Ada with a session by both factors, on a device that is trusted.
async fn on_a_trusted_device(bed: &TestBed, api: &Api) -> (Enrolled, Value) {
    let ada = enrol(bed, api, json!({ "remember_device_days": 30 })).await;
    let (device, session) = remembered(bed, api, &ada).await;
    assert_eq!(login_with(api, &device).await["status"], "authenticated");
    (ada, session)
}

#[tokio::test]
async fn a_reset_takes_the_factor_and_all_that_came_with_it() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let (ada, session) = on_a_trusted_device(&bed, &api).await;
    let access = text(&session, "access_token");
    // Another one that waits to be confirmed, and a sign-in that waits for a code.
    set_up(&api, &access).await;
    let open = first_step(&api).await;
    assert_eq!(left(&api).await, 2 + 10 + 1 + 1);
    let (_, owner) = owner(&api).await;
    let id = id_of_ada(&api).await;

    reset(&api, &owner, &id).await.expect(204);
    assert_ended(&api, &access, &text(&session, "refresh_token")).await;
    assert_ended(&api, &ada.access, &ada.refresh).await;
    let live = format!("SELECT count(*) FROM sessions WHERE user_id = '{id}' AND revoked_at IS NULL");
    assert_eq!(api.scalar(&live).await, 0);
    assert_eq!(left(&api).await, 0);
    verify(&api, &recovery(&open, &ada.recovery_codes[0]))
        .await
        .refused(401, "invalid_mfa_token");

    let login = api.login("acme", ADA).await;
    assert_eq!(login["status"], "authenticated");
    let access = text(&login, "access_token");
    assert_eq!(claims(&access)["amr"], json!(["pwd"]));
    let status = api.get_as(&access, "/v1/mfa").await.expect(200);
    assert_eq!(
        (&status["totp"]["enabled"], &status["recovery_codes_remaining"]),
        (&json!(false), &json!(0))
    );
    let code = pyotp(&ada.secret, bed.clock.now());
    confirm(&api, &access, &code)
        .await
        .refused(409, "mfa_not_pending");
}

#[tokio::test]
async fn s34_a_reset_is_told_to_the_user_and_to_the_trail_once() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let ada = enrol(&bed, &api, json!({})).await;
    let (owner_id, owner) = owner(&api).await;
    let id = id_of_ada(&api).await;
    reset(&api, &owner, &id).await.expect(204);
    assert_eq!(told(&api).await, [1, 1, 1]);
    let row = format!(
        "SELECT count(*) FROM audit_events WHERE action = 'user.reset_mfa' AND actor_kind = 'user'
             AND actor_id = '{owner_id}' AND target_kind = 'user' AND target_id = '{id}' AND outcome = 'success'
             AND detail = '{{\"was_active\": true}}'"
    );
    assert_eq!(api.scalar(&row).await, 1);
    let event = format!("SELECT count(*) FROM events WHERE type = 'mfa.disabled' AND user_id = '{id}'");
    assert_eq!(api.scalar(&event).await, 1);
    let mails = api.mails(ADA).await;
    let mail = &mails.last().unwrap().text;
    assert!(mail.contains("by you or by an administrator"), "{mail}");
    for secret in [&ada.secret, &ada.recovery_codes[0]] {
        assert!(!mail.contains(secret.as_str()), "{mail}");
    }

    // There is nothing more to remove: whoever has signed in since stays.
    let login = api.login("acme", ADA).await;
    let rows = api.scalar("SELECT count(*) FROM audit_events").await;
    reset(&api, &owner, &id).await.expect(204);
    assert_eq!(told(&api).await, [1, 1, 1]);
    assert_eq!(api.scalar("SELECT count(*) FROM audit_events").await, rows);
    api.get_as(&text(&login, "access_token"), "/v1/auth/me")
        .await
        .expect(200);
}

#[tokio::test]
async fn a_factor_that_is_being_set_up_is_removed_and_nobody_is_told_that_one_is_off() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let login = signed_in(&api, json!({})).await;
    let access = text(&login, "access_token");
    set_up(&api, &access).await;
    let (_, owner) = owner(&api).await;
    reset(&api, &owner, &id_of_ada(&api).await).await.expect(204);
    assert_eq!(told(&api).await, [1, 0, 0]);
    assert_eq!(left(&api).await, 0);
    assert_ended(&api, &access, &text(&login, "refresh_token")).await;
}

#[tokio::test]
async fn who_is_disabled_is_reset_and_stays_disabled() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    enrol(&bed, &api, json!({})).await;
    let (_, owner) = owner(&api).await;
    let id = id_of_ada(&api).await;
    let act = async |verb: &str| {
        let path = format!("/v1/users/{id}/{verb}");
        Api::send(api.request(Method::POST, &path).bearer_auth(&owner)).await
    };
    act("disable").await.expect(204);
    act("reset-mfa").await.expect(204);
    let user = api.get_as(&owner, &format!("/v1/users/{id}")).await.expect(200);
    assert_eq!(
        (&user["status"], &user["mfa_enabled"]),
        (&json!("disabled"), &json!(false))
    );
    act("enable").await.expect(204);
    assert_eq!(api.login("acme", ADA).await["status"], "authenticated");
}

#[tokio::test]
async fn s16_after_a_reset_who_must_have_a_factor_may_do_nothing_but_set_one_up() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let policy = json!({ "requirement": "required_for_roles", "roles": ["member"] });
    let before = enrol(&bed, &api, policy).await;
    api.get_as(&before.access, "/v1/devices").await.expect(200);
    let (_, owner) = owner(&api).await;
    reset(&api, &owner, &id_of_ada(&api).await).await.expect(204);

    let access = text(&api.login("acme", ADA).await, "access_token");
    api.get_as(&access, "/v1/devices")
        .await
        .refused(403, "mfa_enrollment_required");
    let secret = text(&set_up(&api, &access).await, "secret");
    confirm(&api, &access, &pyotp(&secret, bed.clock.now()))
        .await
        .expect(200);
    api.get_as(&access, "/v1/devices").await.expect(200);
    let open = first_step(&api).await;
    verify(&api, &recovery(&open, &before.recovery_codes[0]))
        .await
        .refused(401, "invalid_code");
}

#[tokio::test]
async fn s20_a_second_step_beside_a_reset_leaves_no_session() {
    for step_is_first in [true, false] {
        let bed = TestBed::new().await;
        let api = Api::start(&bed).await;
        let ada = enrol(&bed, &api, json!({})).await;
        let (_, owner) = owner(&api).await;
        let id = id_of_ada(&api).await;
        let body = totp(&first_step(&api).await, &pyotp(&ada.secret, bed.clock.now()));
        let row = format!("SELECT 1 FROM users WHERE id = '{id}' FOR NO KEY UPDATE");
        let held = api.under_way(&row).await;
        // Both wait for the user's row, one after the other.
        let turn = async |is_first: bool| {
            if !is_first {
                api.until_waiting(1).await;
            }
        };
        let (stepped, reset, ()) = tokio::join!(
            async {
                turn(step_is_first).await;
                verify(&api, &body).await
            },
            async {
                turn(!step_is_first).await;
                reset(&api, &owner, &id).await
            },
            async {
                api.until_waiting(2).await;
                held.commit().await.unwrap();
            }
        );
        reset.expect(204);
        if step_is_first {
            let session = stepped.expect(200);
            assert_ended(
                &api,
                &text(&session, "access_token"),
                &text(&session, "refresh_token"),
            )
            .await;
        } else {
            stepped.refused(401, "invalid_mfa_token");
        }
        let live = format!("SELECT count(*) FROM sessions WHERE user_id = '{id}' AND revoked_at IS NULL");
        assert_eq!(api.scalar(&live).await, 0, "{step_is_first}");
        assert_eq!(left(&api).await, 0, "{step_is_first}");
    }
}

#[tokio::test]
async fn a_mail_of_a_reset_costs_its_share_and_where_there_is_none_to_send_nothing() {
    let bed = TestBed::with(&[
        ("limits.redis_timeout", "5"),
        ("limits.mail_per_account", "1/3600"),
    ])
    .await;
    let api = Api::start(&bed).await;
    signed_in(&api, json!({})).await;
    let (_, owner) = owner(&api).await;
    let id = id_of_ada(&api).await;
    // As an import does, which asks nobody.
    let give_factor = format!(
        "INSERT INTO totp_factors (id, tenant_id, user_id, sealed, created_at, confirmed_at)
         SELECT id, tenant_id, id, '', created_at, created_at FROM users WHERE id = '{id}'"
    );
    for _ in 0..3 {
        reset(&api, &owner, &id).await.expect(204);
    }
    assert_eq!(told(&api).await, [0, 0, 0]);
    api.execute(&give_factor).await;
    for _ in 0..3 {
        reset(&api, &owner, &id).await.expect(204);
    }
    api.execute(&give_factor).await;
    reset(&api, &owner, &id).await.refused(429, "rate_limited");
    assert_eq!(told(&api).await, [1, 1, 1]);
    assert_eq!(left(&api).await, 1);
}
