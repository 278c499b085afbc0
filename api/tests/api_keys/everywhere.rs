//! What is changed of a key holds on every process, with Redis and without.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use uuid::Uuid;

use super::{World, path};
use crate::{
    revocation::flush,
    service_accounts::{delete_as, patch_as},
    support::{Api, text},
};

/// Asks until the key is answered so; how long that took.
async fn answered(api: &Api, key: &str, path: &str, status: u16) -> Duration {
    let started = Instant::now();
    loop {
        let answer = api.get_as(key, path).await;
        if answer.status == status {
            return started.elapsed();
        }
        assert!(answer.status.as_u16() < 500, "{answer:?}");
        assert!(started.elapsed() < Duration::from_secs(5), "{answer:?}");
    }
}

const OPEN: &str = "/v1/webhooks/endpoints";

/// Each way of taking something from a key, on one process while another has it in memory; the slowest of them.
async fn slowest(world: &World, second: &Api) -> Duration {
    let api = &world.api;
    let mut slowest = Duration::ZERO;
    let role = crate::service_accounts::own_role(api, "acme", "hooks", &["webhooks:read"]).await;
    for what in [
        "revoke", "rotate", "narrow", "cidr", "expire", "roles", "disable", "delete",
    ] {
        let machine = api
            .post_as(
                &world.owner,
                "/v1/service-accounts",
                json!({ "name": "m", "role_ids": [role] }),
            )
            .await
            .expect(201);
        let owner = json!({ "owner": { "type": "service_account", "id": machine["id"] } });
        let (key, shown) = world.key_with(&["webhooks:read"], owner).await;
        second.get_as(&key, OPEN).await.expect(200);
        let machine = format!("/v1/service-accounts/{}", text(&machine, "id"));
        let token = &world.owner;
        let soon = world.bed.context.clock.now() + chrono::TimeDelta::seconds(30);
        let change = |path: String, body: Value| patch_as(api, token, Box::leak(path.into_boxed_str()), body);
        let status = match what {
            "revoke" => {
                delete_as(api, token, &path(&shown)).await.expect(204);
                401
            }
            "rotate" => {
                let rotate = format!("{}/rotate", path(&shown));
                api.post_as(token, &rotate, json!({ "overlap_seconds": 0 }))
                    .await
                    .expect(201);
                401
            }
            "narrow" => {
                change(path(&shown), json!({ "scopes": [] })).await.expect(200);
                403
            }
            "cidr" => {
                change(path(&shown), json!({ "allowed_cidrs": ["203.0.113.0/24"] }))
                    .await
                    .expect(200);
                401
            }
            "expire" => {
                change(path(&shown), json!({ "expires_at": soon }))
                    .await
                    .expect(200);
                world.bed.clock.advance(chrono::TimeDelta::seconds(30));
                401
            }
            "roles" => {
                change(machine, json!({ "role_ids": [] })).await.expect(200);
                403
            }
            "disable" => {
                change(machine, json!({ "status": "disabled" })).await.expect(200);
                401
            }
            _ => {
                delete_as(api, token, &machine).await.expect(204);
                401
            }
        };
        // Here at once, there in a moment.
        assert_eq!(api.get_as(&key, OPEN).await.status, status, "{what}");
        let took = answered(second, &key, OPEN, status).await;
        println!("{what}: {took:?}");
        slowest = slowest.max(took);
    }
    slowest.max(suspended(world, second, role).await)
}

/// The same of the tenant's suspension, for its keys together, whosever they are.
async fn suspended(world: &World, second: &Api, role: Uuid) -> Duration {
    let (api, token) = (&world.api, &world.owner);
    let machine = json!({ "name": "m", "role_ids": [role] });
    let machine = api
        .post_as(token, "/v1/service-accounts", machine)
        .await
        .expect(201);
    let mut keys = Vec::new();
    for owner in [
        json!({}),
        json!({ "owner": { "type": "tenant" } }),
        json!({ "owner": { "type": "service_account", "id": machine["id"] } }),
    ] {
        let (key, _) = world.key_with(&["webhooks:read"], owner).await;
        for process in [api, second] {
            process.get_as(&key, OPEN).await.expect(200);
        }
        keys.push(key);
    }
    let me = api.get_as(token, "/v1/auth/me").await.expect(200);
    let suspend = format!("/v1/tenants/{}/suspend", text(&me["tenant"], "id"));
    let admin = api.admin().await;
    api.post_as(&admin, &suspend, json!({})).await.expect(204);
    let started = Instant::now();
    for key in &keys {
        api.get_as(key, OPEN).await.refused(401, "unauthenticated");
        answered(second, key, OPEN, 401).await;
    }
    let took = started.elapsed();
    println!("suspend: {took:?}");
    took
}

#[tokio::test]
async fn s28_what_is_taken_from_a_key_is_gone_on_a_second_process_within_a_second() {
    let world = World::new().await;
    let second = Api::start_another(&world.bed).await;
    let took = slowest(&world, &second).await;
    assert!(took < Duration::from_secs(1), "{took:?}");
}

#[tokio::test]
async fn s22_without_redis_what_is_taken_from_a_key_is_gone_everywhere_all_the_same() {
    // A port where nothing listens.
    let world = World::with(&[("redis.url", "redis://127.0.0.1:9/0")]).await;
    let second = Api::start_another(&world.bed).await;
    let took = slowest(&world, &second).await;
    assert!(took < Duration::from_secs(5), "{took:?}");
}

#[tokio::test]
async fn s22_a_flush_of_redis_revives_no_key() {
    let world = World::new().await;
    let second = Api::start_another(&world.bed).await;
    let (key, shown) = world.key(&["webhooks:read"]).await;
    second.get_as(&key, OPEN).await.expect(200);
    delete_as(&world.api, &world.owner, &path(&shown))
        .await
        .expect(204);
    answered(&second, &key, OPEN, 401).await;
    flush(&world.bed).await;
    let third = Api::start_another(&world.bed).await;
    for api in [&world.api, &second, &third] {
        api.get_as(&key, OPEN).await.refused(401, "unauthenticated");
    }
}

#[tokio::test]
async fn s21_a_key_ends_with_its_user_on_every_process() {
    let world = World::new().await;
    let second = Api::start_another(&world.bed).await;
    let api = &world.api;
    let role = crate::service_accounts::own_role(api, "acme", "keys", &["api_keys:write"]).await;
    let ada = crate::service_accounts::member_with(api, "acme", "ada@example.com", role).await;
    let body = super::request(&["api_keys:write"], json!({}));
    let key = text(&api.post_as(&ada, "/v1/api-keys", body).await.expect(201), "key");
    second.get_as(&key, "/v1/api-keys/self").await.expect(200);
    let body = json!({ "password": crate::support::PASSWORD });
    let delete = api
        .request(reqwest::Method::DELETE, "/v1/auth/me")
        .bearer_auth(&ada)
        .json(&body);
    Api::send(delete).await.expect(204);
    let took = answered(&second, &key, "/v1/api-keys/self", 401).await;
    assert!(took < Duration::from_secs(1), "{took:?}");
    assert_eq!(world.code(&key).await, "not_found");
    assert_eq!(api.scalar("SELECT count(*) FROM api_keys").await, 0);
}

#[tokio::test]
async fn s28_a_hundred_uses_that_race_a_revocation_end_with_it() {
    let world = World::new().await;
    let api = &world.api;
    for _ in 0..5 {
        let (key, shown) = world.key(&["webhooks:read"]).await;
        let uses = (0..100).map(|_| api.get_as(&key, OPEN));
        let (path, uses) = (path(&shown), futures::future::join_all(uses));
        let (_, revoked) = tokio::join!(uses, delete_as(api, &world.owner, &path));
        revoked.expect(204);
        // However a look-up and the revocation met, nothing of it stays in memory.
        for answer in futures::future::join_all((0..20).map(|_| api.get_as(&key, OPEN))).await {
            answer.refused(401, "unauthenticated");
        }
    }
}
