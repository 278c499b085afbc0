//! A tenant's own share of the limits, and what it is counted to do.

use chrono::TimeDelta;
use latchkey_testing::TestBed;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{login, patch};
use crate::support::{Api, text};

#[tokio::test]
async fn a_tenant_at_its_own_limit_does_not_touch_another() {
    // A busy machine is no outage.
    let bed = TestBed::with(&[("limits.redis_timeout", "5")]).await;
    let api = Api::start(&bed).await;
    let admin = api.admin().await;
    let (acme, _) = api.tenant(&admin, "acme").await;
    api.tenant(&admin, "globex").await;
    let changed = patch(
        &api,
        &admin,
        acme,
        json!({ "rate_limits": { "sign_in": 2, "mail": 50 } }),
    )
    .await;
    assert_eq!(
        changed.expect(200)["rate_limits"],
        json!({ "sign_in": 2, "mail": 50, "token": null })
    );
    let passed = async |slug: &str, requests: usize| {
        let mut passed = 0;
        for _ in 0..requests {
            let answer = login(&api, slug, &format!("owner@{slug}.test")).await;
            if answer.status == 200 {
                passed += 1;
            } else {
                answer.refused(429, "rate_limited");
            }
        }
        passed
    };
    // Right after a change a process has to learn anew who the tenant is, and lets a request or two pass uncounted.
    let of_acme = passed("acme", 12).await;
    assert!((2..=6).contains(&of_acme), "{of_acme} of 12 passed");
    assert_eq!(passed("globex", 12).await, 12);
    assert!(passed("acme", 6).await <= 2);

    let changed = patch(&api, &admin, acme, json!({ "rate_limits": { "sign_in": null } })).await;
    assert_eq!(
        changed.expect(200)["rate_limits"],
        json!({ "sign_in": null, "mail": 50, "token": null })
    );
    assert_eq!(passed("acme", 12).await, 12);
    let changed = patch(&api, &admin, acme, json!({ "rate_limits": null }))
        .await
        .expect(200);
    assert_eq!(changed["rate_limits"]["mail"], Value::Null);
    let problem = patch(&api, &admin, acme, json!({ "rate_limits": { "token": 0 } })).await;
    let problem = problem.refused(422, "validation_failed");
    assert_eq!(problem["errors"][0]["pointer"], "/rate_limits/token");
}

#[tokio::test]
async fn what_a_tenant_does_is_counted_by_the_day_over_all_processes() {
    let bed = TestBed::new().await;
    let (first, second) = (Api::start(&bed).await, Api::start_another(&bed).await);
    let admin = first.admin().await;
    let (acme, owner) = first.tenant(&admin, "acme").await;
    let flush = async || {
        for api in [&first, &second] {
            api.context.usage.flush(&api.context.postgres).await.unwrap();
        }
    };
    flush().await;
    let usage = first.get_as(&owner, "/v1/tenant/usage").await.expect(200);
    let before = usage["days"][0].clone();
    assert_eq!(
        usage["totals"],
        json!({ "users": 1, "sessions": 1, "webhook_endpoints": 0, "domains": 0 })
    );
    assert_eq!(
        (&before["sign_ins"], &before["registrations"]),
        (&json!(1), &json!(1))
    );

    first.user("acme", "ada@example.com").await;
    let signed_in = first.login("acme", "ada@example.com").await;
    second.login("acme", "ada@example.com").await;
    second
        .refresh(&text(&signed_in, "refresh_token"))
        .await
        .expect(200);
    // What fails is not counted.
    let wrong = json!({ "email": "ada@example.com", "password": "not the password" });
    first
        .post("acme", "/v1/auth/login", wrong)
        .await
        .refused(401, "invalid_credentials");
    flush().await;
    let usage = first.get_as(&owner, "/v1/tenant/usage").await.expect(200);
    let now = &usage["days"][0];
    let more = |field: &str| now[field].as_i64().unwrap() - before[field].as_i64().unwrap();
    assert_eq!(
        (more("sign_ins"), more("registrations"), more("refreshes")),
        (2, 1, 1)
    );
    assert!(more("mails") >= 1 && more("events") >= 3, "{usage}");
    assert_eq!(
        usage["totals"],
        json!({ "users": 2, "sessions": 3, "webhook_endpoints": 0, "domains": 0 })
    );
    let events = format!("SELECT count(*) FROM events WHERE tenant_id = '{acme}'");
    assert_eq!(now["events"], first.scalar(&events).await);

    let path = format!("/v1/tenants/{acme}/usage");
    assert_eq!(first.get_as(&admin, &path).await.expect(200), usage);
    let nobody = format!("/v1/tenants/{}/usage", Uuid::nil());
    first.get_as(&admin, &nobody).await.refused(404, "not_found");
    first
        .get_as(&owner, "/v1/tenant/usage?days=0")
        .await
        .refused(400, "invalid_parameter");

    bed.clock.advance(TimeDelta::days(2));
    let admin = super::admin(&first).await;
    let later = first.get_as(&admin, &format!("{path}?days=3")).await.expect(200);
    assert_eq!(later["days"], json!([now]));
    let later = first.get_as(&admin, &format!("{path}?days=2")).await.expect(200);
    assert_eq!(later["days"], json!([]));
}
