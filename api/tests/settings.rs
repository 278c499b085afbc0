//! What a tenant decides for itself, and that two administrators do not overwrite each other.

use std::time::{Duration, Instant};

use futures::future::join_all;
use latchkey_testing::TestBed;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Answer, Api, PASSWORD, text};

const TENANT: &str = "/v1/tenant";

async fn patch(api: &Api, token: &str, tag: Option<&str>, body: Value) -> Answer {
    let mut request = api
        .request(Method::PATCH, "/v1/tenant/settings")
        .bearer_auth(token);
    if let Some(tag) = tag {
        request = request.header("if-match", tag);
    }
    Api::send(request.json(&body)).await
}

fn tag(answer: &Answer) -> String {
    answer.headers["etag"].to_str().unwrap().to_owned()
}

#[tokio::test]
async fn what_is_absent_stays_and_null_goes_back_to_the_default() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let admin = api.admin().await;
    let (id, owner) = api.tenant(&admin, "acme").await;
    let read = api.get_as(&owner, TENANT).await;
    let first = tag(&read);
    let tenant = read.expect(200);
    assert_eq!(
        (&tenant["slug"], &tenant["status"]),
        (&json!("acme"), &json!("active"))
    );
    assert_eq!(
        tenant["settings"],
        json!({
            "registration": "open",
            "email_verification": "required",
            "passwords": { "min_length": 8, "history": 0 },
            "mfa": { "requirement": "optional", "roles": [], "remember_device_days": 30 },
            "sessions": { "idle_seconds": null, "absolute_seconds": null, "max_per_user": 100 },
            "lockout": { "threshold": 5, "daily_limit": 100 },
            "branding": { "product_name": null, "accent_color": null, "logo_url": null, "support_email": null },
            "webhooks": { "payload_retention_days": null },
        })
    );

    let change = json!({
        "registration": "closed",
        "passwords": { "min_length": 12, "history": 3 },
        "sessions": { "idle_seconds": 3600 },
        "branding": { "product_name": "Acme ID", "accent_color": "#663399" },
    });
    let changed = patch(&api, &owner, Some(&first), change).await;
    let second = tag(&changed);
    assert_ne!(first, second);
    let changed = changed.expect(200);
    let settings = &changed["settings"];
    assert_eq!(settings["passwords"], json!({ "min_length": 12, "history": 3 }));
    assert_eq!(settings["sessions"]["idle_seconds"], 3600);
    assert_eq!(settings["lockout"]["threshold"], 5);

    let change =
        json!({ "passwords": { "history": null }, "sessions": null, "branding": { "accent_color": null } });
    let changed = patch(&api, &owner, Some(&second), change).await;
    let third = tag(&changed);
    let changed = changed.expect(200);
    let settings = &changed["settings"];
    assert_eq!(settings["registration"], "closed");
    assert_eq!(settings["passwords"], json!({ "min_length": 12, "history": 0 }));
    assert_eq!(settings["sessions"]["idle_seconds"], Value::Null);
    assert_eq!(settings["branding"]["product_name"], "Acme ID");

    // To change nothing is no change.
    let same = patch(&api, &owner, Some(&third), json!({ "registration": "closed" })).await;
    assert_eq!(tag(&same), third);
    same.expect(200);
    // The platform sees the same, and stored is what was chosen and nothing else.
    let seen = api.get_as(&admin, &format!("/v1/tenants/{id}")).await.expect(200);
    assert_eq!(seen["settings"], *settings);
    let chosen = format!(
        "SELECT count(*) FROM tenants WHERE id = '{id}' AND settings =
         '{{\"registration\": \"closed\", \"passwords\": {{\"min_length\": 12}}, \"branding\": {{\"product_name\": \"Acme ID\"}}}}'"
    );
    assert_eq!(api.scalar(&chosen).await, 1);
    // The trail has both sides of it.
    let trail = format!(
        "SELECT count(*) FROM audit_events WHERE tenant_id = '{id}' AND action = 'tenant.settings.update'
           AND detail->'before'->'passwords'->>'history' = '3' AND NOT detail->'after'->'passwords' ? 'history'"
    );
    assert_eq!(api.scalar(&trail).await, 1);
}

#[tokio::test]
async fn a_change_names_what_was_read() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let admin = api.admin().await;
    let (_, owner) = api.tenant(&admin, "acme").await;
    let read = tag(&api.get_as(&owner, TENANT).await);
    let closed = || json!({ "registration": "closed" });
    patch(&api, &owner, None, closed())
        .await
        .refused(428, "precondition_required");
    patch(&api, &owner, Some("3"), closed())
        .await
        .refused(400, "invalid_parameter");
    for stale in [r#""999""#, r#""nonsense""#, &format!("W/{read}")] {
        patch(&api, &owner, Some(stale), closed())
            .await
            .refused(412, "precondition_failed");
    }
    patch(&api, &owner, Some(&read), closed()).await.expect(200);
    patch(&api, &owner, Some(&read), json!({ "registration": "open" }))
        .await
        .refused(412, "precondition_failed");
    patch(&api, &owner, Some("*"), json!({ "registration": "open" }))
        .await
        .expect(200);
}

#[tokio::test]
async fn of_100_changes_of_one_version_one_is_made() {
    let bed = TestBed::new().await;
    let (first, second) = (Api::start(&bed).await, Api::start_another(&bed).await);
    let admin = first.admin().await;
    let (id, owner) = first.tenant(&admin, "acme").await;
    let read = tag(&first.get_as(&owner, TENANT).await);
    let changes = (0..100).map(|number| {
        let api = if number % 2 == 0 { &first } else { &second };
        let body = json!({ "branding": { "product_name": format!("Acme {number}") } });
        patch(api, &owner, Some(&read), body)
    });
    let (mut made, mut refused) = (Vec::new(), 0);
    for answer in join_all(changes).await {
        if answer.status == 200 {
            made.push(answer.json()["settings"]["branding"]["product_name"].clone());
        } else {
            answer.refused(412, "precondition_failed");
            refused += 1;
        }
    }
    assert_eq!((made.len(), refused), (1, 99));
    let now = first.get_as(&owner, TENANT).await.expect(200);
    assert_eq!(now["settings"]["branding"]["product_name"], made[0]);
    let trail = format!(
        "SELECT count(*) FROM audit_events WHERE tenant_id = '{id}' AND action = 'tenant.settings.update'"
    );
    assert_eq!(first.scalar(&trail).await, 1);
}

#[tokio::test]
async fn s39_every_setting_that_cannot_be_is_named() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let admin = api.admin().await;
    let (_, owner) = api.tenant(&admin, "acme").await;
    for (change, pointer, code) in [
        (
            json!({ "passwords": { "min_length": 7 } }),
            "/passwords/min_length",
            "too_small",
        ),
        (
            json!({ "passwords": { "min_length": 65 } }),
            "/passwords/min_length",
            "too_large",
        ),
        (
            json!({ "passwords": { "history": 25 } }),
            "/passwords/history",
            "too_large",
        ),
        (
            json!({ "passwords": { "history": -1 } }),
            "/passwords/history",
            "too_small",
        ),
        (
            json!({ "passwords": { "history": 1.5 } }),
            "/passwords/history",
            "wrong_type",
        ),
        (
            json!({ "registration": "sometimes" }),
            "/registration",
            "unknown_value",
        ),
        (
            json!({ "mfa": { "requirement": "required_for_roles" } }),
            "/mfa/roles",
            "required",
        ),
        (
            json!({ "mfa": { "remember_device_days": 366 } }),
            "/mfa/remember_device_days",
            "too_large",
        ),
        (
            json!({ "sessions": { "max_per_user": 0 } }),
            "/sessions/max_per_user",
            "too_small",
        ),
        (
            json!({ "sessions": { "idle_seconds": 7200, "absolute_seconds": 3600 } }),
            "/sessions/idle_seconds",
            "too_large",
        ),
        (
            json!({ "webhooks": { "payload_retention_days": 401 } }),
            "/webhooks/payload_retention_days",
            "too_large",
        ),
        (
            json!({ "lockout": { "threshold": 51 } }),
            "/lockout/threshold",
            "too_large",
        ),
        (
            json!({ "lockout": { "threshold": 9, "daily_limit": 8 } }),
            "/lockout/daily_limit",
            "too_small",
        ),
        (
            json!({ "branding": { "product_name": " \n" } }),
            "/branding/product_name",
            "invalid_format",
        ),
        (
            json!({ "branding": { "accent_color": "#12345g" } }),
            "/branding/accent_color",
            "invalid_format",
        ),
        (
            json!({ "branding": { "logo_url": "http://acme.com/a.png" } }),
            "/branding/logo_url",
            "invalid_format",
        ),
        (
            json!({ "branding": { "support_email": "a@b c" } }),
            "/branding/support_email",
            "invalid_format",
        ),
        (json!({ "hooks": {} }), "/hooks", "unknown_field"),
        (json!({ "rate_limits": {} }), "/rate_limits", "unknown_field"),
    ] {
        let problem = patch(&api, &owner, Some("*"), change.clone()).await;
        let problem = problem.refused(422, "validation_failed");
        let named = (&problem["errors"][0]["pointer"], &problem["errors"][0]["code"]);
        assert_eq!(named, (&json!(pointer), &json!(code)), "{change}");
    }
    assert_eq!(tag(&api.get_as(&owner, TENANT).await), r#""1""#);
}

#[tokio::test]
async fn s16_a_role_that_needs_a_second_factor_is_meant_however_its_name_is_written() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let admin = api.admin().await;
    let (_, owner) = api.tenant(&admin, "acme").await;
    let body = json!({ "mfa": { "requirement": "required_for_roles", "roles": ["owner", "auditor"] } });
    let problem = patch(&api, &owner, Some("*"), body)
        .await
        .refused(422, "validation_failed");
    let named = (&problem["errors"][0]["pointer"], &problem["errors"][0]["code"]);
    assert_eq!(named, (&json!("/mfa/roles"), &json!("unknown")));
    let body = json!({ "mfa": { "requirement": "required_for_roles", "roles": [" OWNER", "owner"] } });
    let changed = patch(&api, &owner, Some("*"), body).await.expect(200);
    assert_eq!(changed["settings"]["mfa"]["roles"], json!(["owner"]));
    api.get_as(&owner, "/v1/users")
        .await
        .refused(403, "mfa_enrollment_required");
}

#[tokio::test]
async fn s21_a_change_of_the_settings_holds_on_every_process_at_once() {
    let bed = TestBed::new().await;
    let (first, second) = (Api::start(&bed).await, Api::start_another(&bed).await);
    let admin = first.admin().await;
    let (_, owner) = first.tenant(&admin, "acme").await;
    let register = |api: &Api, number: usize| {
        let body = json!({ "email": format!("u{number}@example.com"), "password": PASSWORD });
        let request = api
            .request(Method::POST, "/v1/auth/register")
            .header("x-tenant-id", "acme");
        Api::send(request.json(&body))
    };
    register(&first, 1).await.expect(202);
    register(&second, 2).await.expect(202);
    patch(&first, &owner, Some("*"), json!({ "registration": "closed" }))
        .await
        .expect(200);
    register(&first, 3).await.refused(403, "registration_closed");
    let started = Instant::now();
    while register(&second, 4).await.status != 403 {
        assert!(
            started.elapsed() < Duration::from_secs(1),
            "registration is still open"
        );
    }

    // Who asks for a second factor has to set one up before anything else, and can.
    patch(
        &first,
        &owner,
        Some("*"),
        json!({ "mfa": { "requirement": "required" } }),
    )
    .await
    .expect(200);
    first
        .get_as(&owner, TENANT)
        .await
        .refused(403, "mfa_enrollment_required");
    first
        .post_as(&owner, "/v1/mfa/totp/setup", json!({ "password": PASSWORD }))
        .await
        .expect(200);
}

#[tokio::test]
async fn who_lacks_the_permission_neither_reads_nor_changes_settings() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let admin = api.admin().await;
    api.tenant(&admin, "acme").await;
    api.user("acme", "ada@example.com").await;
    let ada = text(&api.login("acme", "ada@example.com").await, "access_token");
    for path in [TENANT, "/v1/tenant/usage", "/v1/tenant/domains"] {
        api.get_as(&ada, path).await.refused(403, "forbidden");
    }
    patch(&api, &ada, Some("*"), json!({ "registration": "closed" }))
        .await
        .refused(403, "forbidden");
    api.post_as(&ada, "/v1/tenant/domains", json!({ "domain": "id.acme.com" }))
        .await
        .refused(403, "forbidden");
}
