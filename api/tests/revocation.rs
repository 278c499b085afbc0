//! Ended sessions, on every process.

use std::time::{Duration, Instant};

use chrono::TimeDelta;
use latchkey_shared::{
    id::TenantId,
    principal::{Actor, Origin},
    signal::SignalKind,
};
use latchkey_testing::TestBed;
use serde_json::json;
use uuid::Uuid;

use crate::support::{ADMIN, Api, text};

/// Asks until the token is refused; how long that took.
async fn refused_after(api: &Api, token: &str) -> Duration {
    let started = Instant::now();
    loop {
        let answer = api.get_as(token, "/v1/auth/me").await;
        if answer.status == 401 {
            return started.elapsed();
        }
        assert_eq!(answer.status, 200, "{answer:?}");
        assert!(
            started.elapsed() < Duration::from_secs(5),
            "the token is still good"
        );
    }
}

pub(crate) async fn flush(bed: &TestBed) {
    // The server is shared with other tests: only what is this test's is removed.
    let mut connection = bed.context.redis.connection();
    let keys: Vec<String> = redis::cmd("KEYS")
        .arg(format!("{}:*", bed.context.config.redis.key_prefix))
        .query_async(&mut connection)
        .await
        .unwrap();
    for key in keys {
        redis::cmd("DEL")
            .arg(key)
            .exec_async(&mut connection)
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn s19_a_second_process_refuses_an_ended_session_within_a_second() {
    let bed = TestBed::new().await;
    let (first, second) = (Api::start(&bed).await, Api::start_another(&bed).await);
    first.admin().await;
    for _ in 0..5 {
        let token = text(&first.login("platform", ADMIN).await, "access_token");
        second.get_as(&token, "/v1/auth/me").await.expect(200);
        first
            .post_as(&token, "/v1/auth/logout", json!({}))
            .await
            .expect(204);
        first
            .get_as(&token, "/v1/auth/me")
            .await
            .refused(401, "unauthenticated");
        let took = refused_after(&second, &token).await;
        assert!(took < Duration::from_secs(1), "{took:?}");
    }
}

#[tokio::test]
async fn s22_a_flush_of_redis_revives_nothing() {
    let bed = TestBed::new().await;
    let (first, second) = (Api::start(&bed).await, Api::start_another(&bed).await);
    first.admin().await;
    let before = text(&first.login("platform", ADMIN).await, "access_token");
    first
        .post_as(&before, "/v1/auth/logout", json!({}))
        .await
        .expect(204);
    refused_after(&second, &before).await;

    flush(&bed).await;
    let after = text(&first.login("platform", ADMIN).await, "access_token");
    second.get_as(&after, "/v1/auth/me").await.expect(200);
    first
        .post_as(&after, "/v1/auth/logout", json!({}))
        .await
        .expect(204);
    let took = refused_after(&second, &after).await;
    assert!(took < Duration::from_secs(1), "{took:?}");
    second
        .get_as(&before, "/v1/auth/me")
        .await
        .refused(401, "unauthenticated");
    // A process that starts now knows it too.
    let third = Api::start_another(&bed).await;
    for token in [&before, &after] {
        third
            .get_as(token, "/v1/auth/me")
            .await
            .refused(401, "unauthenticated");
    }
}

#[tokio::test]
async fn s22_without_redis_sessions_still_end_everywhere() {
    // A port where nothing listens.
    let bed = TestBed::with(&[("redis.url", "redis://127.0.0.1:9/0")]).await;
    let (first, second) = (Api::start(&bed).await, Api::start_another(&bed).await);
    first.admin().await;
    let token = text(&first.login("platform", ADMIN).await, "access_token");
    second.get_as(&token, "/v1/auth/me").await.expect(200);
    first
        .post_as(&token, "/v1/auth/logout", json!({}))
        .await
        .expect(204);
    let took = refused_after(&second, &token).await;
    assert!(took < Duration::from_secs(1), "{took:?}");
}

#[tokio::test]
async fn s21_a_verified_address_shows_on_every_process_at_once() {
    let bed = TestBed::new().await;
    let (first, second) = (Api::start(&bed).await, Api::start_another(&bed).await);
    let admin = first.admin().await;
    first
        .post_as(&admin, "/v1/tenants", json!({ "slug": "acme", "name": "Acme" }))
        .await
        .expect(201);
    first
        .execute("UPDATE tenants SET settings = '{\"email_verification\": \"optional\"}' WHERE slug = 'acme'")
        .await;
    let body = json!({ "email": "ada@example.com", "password": crate::support::PASSWORD });
    first.post("acme", "/v1/auth/register", body).await.expect(201);
    let token = text(&first.login("acme", "ada@example.com").await, "access_token");
    assert_eq!(
        second.get_as(&token, "/v1/auth/me").await.expect(200)["user"]["email_verified"],
        false
    );

    // Verification became required, so a mail can be asked for and used.
    first
        .post(
            "acme",
            "/v1/auth/email/verify/resend",
            json!({ "email": "ada@example.com" }),
        )
        .await
        .expect(202);
    let body = json!({ "token": first.mailed_token("ada@example.com").await });
    Api::send(
        first
            .request(reqwest::Method::POST, "/v1/auth/email/verify")
            .json(&body),
    )
    .await
    .expect(200);
    let deadline = Instant::now() + Duration::from_secs(1);
    while second.get_as(&token, "/v1/auth/me").await.expect(200)["user"]["email_verified"] == false {
        assert!(
            Instant::now() < deadline,
            "the second process still says it is not"
        );
    }
}

#[tokio::test]
async fn s22_without_redis_what_took_long_to_commit_is_heard_as_well() {
    let bed = TestBed::with(&[("redis.url", "redis://127.0.0.1:1")]).await;
    let (first, second) = (Api::start(&bed).await, Api::start_another(&bed).await);
    first.admin().await;
    let session = async || {
        let login = first.login("platform", ADMIN).await;
        (
            text(&login, "access_token"),
            text(&login, "session_id").parse::<Uuid>().unwrap(),
        )
    };
    let ((slow, slow_session), (quick, _)) = (session().await, session().await);
    let platform = first
        .scalar_text("SELECT id::text FROM tenants WHERE slug = 'platform'")
        .await;
    let tenant = TenantId(platform.parse().unwrap());
    let origin = Origin::default();
    let mut change = bed.context.change(tenant, Actor::System, &origin).await.unwrap();
    change
        .signal(SignalKind::SessionRevoked, slow_session)
        .await
        .unwrap();
    // Meanwhile the second process reads on, to where nothing so old is looked for.
    bed.clock.advance(TimeDelta::seconds(30));
    first
        .post_as(&quick, "/v1/auth/logout", json!({}))
        .await
        .expect(204);
    refused_after(&second, &quick).await;
    second.get_as(&slow, "/v1/auth/me").await.expect(200);
    change.commit().await.unwrap();
    let took = refused_after(&second, &slow).await;
    assert!(took < Duration::from_secs(2), "{took:?}");
}
