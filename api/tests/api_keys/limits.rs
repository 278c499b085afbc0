//! A key's own rate limit.

use futures::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::{Duration, Instant};

use super::{World, path};
use crate::support::Api;

fn limit(limit: u32) -> Value {
    json!({ "rate_limit": { "limit": limit, "window_seconds": 3600 } })
}

#[tokio::test]
async fn uses_beyond_the_limit_are_refused_with_headers() {
    let world = World::with(&[("limits.redis_timeout", "5")]).await;
    let (key, _) = world.key_with(&[], limit(3)).await;
    for remaining in [2, 1, 0] {
        let answer = world.api.get_as(&key, "/v1/api-keys/self").await;
        assert_eq!(answer.headers["ratelimit-policy"], "\"api_key\";q=3;w=3600");
        let told = answer.headers["ratelimit"].to_str().unwrap();
        assert!(told.starts_with(&format!("\"api_key\";r={remaining};")), "{told}");
        answer.expect(200);
    }
    let refused = world.api.get_as(&key, "/v1/api-keys/self").await;
    let wait: u64 = refused.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1100..=1200).contains(&wait), "{wait}");
    refused.refused(429, "rate_limited");
    let verified = world.verify(json!({ "key": key })).await;
    assert_eq!(
        (&verified["code"], &verified["rate_limit"]["remaining"]),
        (&json!("rate_limited"), &json!(0))
    );
    // The limit is one key's, and what is refused for another reason uses nothing up.
    let (other, _) = world.key_with(&[], limit(3)).await;
    let asked = json!({ "key": other, "permissions": ["users:read"] });
    assert_eq!(world.verify(asked).await["code"], "insufficient_permissions");
    assert_eq!(
        world.verify(json!({ "key": other })).await["rate_limit"]["remaining"],
        2
    );
}

#[tokio::test]
async fn a_use_can_be_worth_several_and_parallel_ones_count_exactly() {
    for settings in [
        [("limits.redis_timeout", "5")],
        [("redis.url", "redis://127.0.0.1:9/0")],
    ] {
        let world = World::with(&settings).await;
        let (key, _) = world.key_with(&[], limit(50)).await;
        let ask = |cost: u32| world.verify(json!({ "key": key, "cost": cost }));
        assert_eq!(ask(51).await["code"], "rate_limited");
        assert_eq!(ask(10).await["rate_limit"]["remaining"], 40);
        assert_eq!(ask(41).await["code"], "rate_limited");
        let answers = join_all((0..100).map(|_| ask(1))).await;
        let good = answers.iter().filter(|answer| answer["valid"] == true).count();
        assert_eq!(good, 40, "{settings:?}");
        world
            .api
            .post_as(
                &world.owner,
                "/v1/api-keys/verify",
                json!({ "key": key, "cost": 0 }),
            )
            .await
            .refused(422, "validation_failed");
    }
}

#[tokio::test]
async fn two_processes_share_a_keys_limit() {
    let world = World::with(&[("limits.redis_timeout", "5")]).await;
    let second = Api::start_another(&world.bed).await;
    let (key, _) = world.key_with(&[], limit(20)).await;
    let uses = (0..50).map(|at| {
        let api = if at % 2 == 0 { &world.api } else { &second };
        api.get_as(&key, "/v1/api-keys/self")
    });
    let answers = join_all(uses).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 20);
    assert_eq!(answers.iter().filter(|answer| answer.status == 429).count(), 30);
}

#[tokio::test]
async fn a_limit_that_is_raised_holds_at_once() {
    let world = World::with(&[("limits.redis_timeout", "5")]).await;
    let slow = json!({ "rate_limit": { "limit": 2, "window_seconds": 86400 } });
    let (key, shown) = world.key_with(&[], slow).await;
    for code in ["valid", "valid", "rate_limited"] {
        assert_eq!(world.verify(json!({ "key": key })).await["code"], code);
    }
    let request = world
        .api
        .request(Method::PATCH, &path(&shown))
        .bearer_auth(&world.owner);
    let faster = json!({ "rate_limit": { "limit": 1000, "window_seconds": 60 } });
    Api::send(request.json(&faster)).await.expect(200);
    // A minute makes 1,000 requests good: the first of them is there within the sixteenth part of a second.
    let deadline = Instant::now() + Duration::from_secs(20);
    while world.verify(json!({ "key": key })).await["code"] != "valid" {
        assert!(Instant::now() < deadline, "still refused");
    }
}
