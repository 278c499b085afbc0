//! Keys that leak, and keys that will expire.

use chrono::TimeDelta;
use futures::future::join_all;
use latchkey_shared::{
    api_key::{KeyEnvironment, KeyText, tell_expiring},
    random::OsRandom,
};
use reqwest::Method;
use serde_json::{Value, json};

use super::World;
use crate::support::{Answer, Api};

async fn report(api: &Api, body: Value) -> Answer {
    let forged = api
        .request(Method::POST, "/v1/api-keys/leaks")
        .header("x-forwarded-host", "evil.example");
    Api::send(forged.json(&body)).await
}

#[tokio::test]
async fn a_leaked_key_ends_and_its_owner_is_told() {
    let world = World::new().await;
    let (key, _) = world.key(&[]).await;
    let (tenants, _) = world
        .key_with(&[], json!({ "owner": { "type": "tenant" } }))
        .await;
    let made_up = KeyText::new(KeyEnvironment::Live, &OsRandom::new()).into_text();
    let told = world.api.mails("owner@acme.test").await.len();
    let mut bodies = Vec::new();
    for reported in [
        key.as_str(),
        tenants.as_str(),
        made_up.expose(),
        "nonsense",
        key.as_str(),
    ] {
        let body = json!({ "keys": [reported], "source_url": "https://git.example.com/a/b#L3" });
        bodies.push(report(&world.api, body).await.expect(202));
    }
    assert!(bodies.windows(2).all(|two| two[0] == two[1]), "{bodies:?}");
    for key in [&key, &tenants] {
        world
            .api
            .get_as(key, "/v1/api-keys/self")
            .await
            .refused(401, "unauthenticated");
        assert_eq!(world.code(key).await, "revoked");
    }
    let mails = world.api.mails("owner@acme.test").await;
    assert_eq!(mails.len(), told + 2);
    let mail = &mails[told];
    assert!(
        mail.text.contains("Export (lk_live_…") && mail.text.contains("It was revoked"),
        "{}",
        mail.text
    );
    assert!(!mail.text.contains("evil.example") && mail.text.contains("https://id.example.test/login"));
    assert!(!mail.text.contains(&key) && !mail.html.contains(&key));
    let reasons = "SELECT count(*) FROM api_keys WHERE revoke_reason = 'leaked'";
    assert_eq!(world.api.scalar(reasons).await, 2);
    let audited = "SELECT count(*) FROM audit_events WHERE action = 'api_key.report_leaked'";
    assert_eq!(world.api.scalar(audited).await, 2);
}

#[tokio::test]
async fn of_a_hundred_reports_of_one_key_one_is_told() {
    let world = World::new().await;
    let (key, _) = world.key(&[]).await;
    let told = world.api.mails("owner@acme.test").await.len();
    let reports = (0..100).map(|_| report(&world.api, json!({ "keys": [key] })));
    for answer in join_all(reports).await {
        answer.expect(202);
    }
    assert_eq!(world.api.mails("owner@acme.test").await.len(), told + 1);
}

#[tokio::test]
async fn where_that_is_how_it_is_set_a_leak_is_only_told_of() {
    let world = World::with(&[
        ("api_keys.revoke_leaked", "false"),
        ("limits.mail_per_account", "2/3600"),
    ])
    .await;
    let (key, _) = world.key(&[]).await;
    let told = world.api.mails("owner@acme.test").await.len();
    // And not as often as somebody likes.
    for _ in 0..5 {
        report(&world.api, json!({ "keys": [key] })).await.expect(202);
    }
    world.api.get_as(&key, "/v1/api-keys/self").await.expect(200);
    let mails = world.api.mails("owner@acme.test").await;
    assert_eq!(mails.len(), told + 2);
    assert!(mails[told].text.contains("It still works"));
}

#[tokio::test]
async fn an_expiry_is_told_once_and_in_time() {
    let world = World::new().await;
    let context = &world.bed.context;
    let now = context.clock.now();
    for days in [6, 20] {
        world
            .key_with(&[], json!({ "expires_at": now + TimeDelta::days(days) }))
            .await;
    }
    world.key(&[]).await;
    let told = || {
        world
            .api
            .scalar("SELECT count(*) FROM events WHERE type = 'api_key.expiring'")
    };
    // Workers that come at once tell of it once.
    let tellers = join_all((0..10).map(|_| tell_expiring(context, 100))).await;
    assert_eq!(tellers.into_iter().map(Result::unwrap).sum::<u64>(), 1);
    assert_eq!(told().await, 1);
    world.bed.clock.advance(TimeDelta::days(14));
    assert_eq!(tell_expiring(context, 100).await.unwrap(), 1);
    assert_eq!(tell_expiring(context, 100).await.unwrap(), 0);
    assert_eq!(told().await, 2);
}
