//! One key in the place of another.

use chrono::TimeDelta;
use futures::future::join_all;
use reqwest::{Method, header};
use serde_json::json;

use super::{World, path};
use crate::{
    service_accounts::delete_as,
    support::{Api, text},
};

#[tokio::test]
async fn a_key_is_rotated_with_nothing_said() {
    let world = World::new().await;
    let api = &world.api;
    let (_, mut shown) = world.key(&["users:read"]).await;
    // By clients that send no body, an empty one, or say what it would be.
    for content_type in [None, Some("application/json")] {
        let request = api.request(Method::POST, &format!("{}/rotate", path(&shown)));
        let request = content_type.into_iter().fold(request, |request, kind| {
            request.header(header::CONTENT_TYPE, kind).body("")
        });
        let created = Api::send(request.bearer_auth(&world.owner)).await.expect(201);
        assert_eq!(created["rotated_from"], shown["id"]);
        shown = created["api_key"].clone();
    }
    let request = api.request(Method::POST, &format!("{}/rotate", path(&shown)));
    Api::send(request.bearer_auth(&world.owner).body("overlap_seconds=0"))
        .await
        .refused(415, "unsupported_media_type");
}

#[tokio::test]
async fn s28_a_rotated_key_works_until_the_overlap_has_passed_and_its_limits_go_over() {
    let world = World::new().await;
    let api = &world.api;
    let expires_at = world.bed.context.clock.now() + TimeDelta::days(30);
    let more = json!({ "expires_at": expires_at, "allowed_cidrs": ["127.0.0.0/8"], "metadata": { "a": 1 },
                       "rate_limit": { "limit": 50, "window_seconds": 10 }, "environment": "test" });
    let (old, shown) = world.key_with(&["users:read"], more).await;
    let rotate = format!("{}/rotate", path(&shown));
    let created = api
        .post_as(&world.owner, &rotate, json!({ "overlap_seconds": 600 }))
        .await
        .expect(201);
    let (new, next) = (text(&created, "key"), &created["api_key"]);
    assert_eq!(created["rotated_from"], shown["id"]);
    for field in [
        "name",
        "scopes",
        "owner",
        "environment",
        "expires_at",
        "allowed_cidrs",
        "rate_limit",
        "metadata",
    ] {
        assert_eq!(next[field], shown[field], "{field}");
    }
    assert!(new.starts_with("lk_test_") && new != old);
    let before = api.get_as(&world.owner, &path(&shown)).await.expect(200);
    assert_eq!(
        (&before["status"], &before["rotated_to"]),
        (&json!("retiring"), &next["id"])
    );
    for key in [&old, &new] {
        api.get_as(key, "/v1/api-keys/self").await.expect(200);
    }
    world.bed.clock.advance(chrono::TimeDelta::minutes(10));
    api.get_as(&old, "/v1/api-keys/self")
        .await
        .refused(401, "unauthenticated");
    api.get_as(&new, "/v1/api-keys/self").await.expect(200);
    api.post_as(&world.owner, &rotate, json!({}))
        .await
        .refused(409, "api_key_not_active");
    let long = format!("{}/rotate", path(next));
    api.post_as(&world.owner, &long, json!({ "overlap_seconds": 604_801 }))
        .await
        .refused(422, "validation_failed");
    let at_once = api
        .post_as(&world.owner, &long, json!({ "overlap_seconds": 0 }))
        .await
        .expect(201);
    api.get_as(&new, "/v1/api-keys/self")
        .await
        .refused(401, "unauthenticated");
    api.get_as(&text(&at_once, "key"), "/v1/api-keys/self")
        .await
        .expect(200);
    assert_eq!(
        api.scalar("SELECT count(*) FROM events WHERE type = 'api_key.rotated'")
            .await,
        2
    );
    // Ending the one does not end the other.
    delete_as(api, &world.owner, &path(next)).await.expect(204);
    api.get_as(&text(&at_once, "key"), "/v1/api-keys/self")
        .await
        .expect(200);
}

#[tokio::test]
async fn of_a_hundred_rotations_at_once_one_makes_a_successor() {
    let world = World::new().await;
    let (_, shown) = world.key(&["users:read"]).await;
    let rotate = format!("{}/rotate", path(&shown));
    let tries = (0..100).map(|_| world.api.post_as(&world.owner, &rotate, json!({})));
    let answers = join_all(tries).await;
    let made = answers.iter().filter(|answer| answer.status == 201).count();
    let late = answers.iter().filter(|answer| answer.status == 409).count();
    assert_eq!((made, late), (1, 99));
    assert_eq!(
        world
            .api
            .scalar("SELECT count(*) FROM api_keys WHERE rotated_from IS NOT NULL")
            .await,
        1
    );
    assert_eq!(
        world
            .api
            .scalar("SELECT count(*) FROM events WHERE type = 'api_key.rotated'")
            .await,
        1
    );
}

#[tokio::test]
async fn a_rotation_that_races_a_revocation_leaves_the_old_key_dead() {
    let world = World::new().await;
    let api = &world.api;
    for _ in 0..10 {
        let (old, shown) = world.key(&[]).await;
        let (path, rotate) = (path(&shown), format!("{}/rotate", path(&shown)));
        let (rotated, revoked) = tokio::join!(
            api.post_as(&world.owner, &rotate, json!({})),
            delete_as(api, &world.owner, &path)
        );
        assert_eq!(revoked.status, 204);
        assert!([201, 409].contains(&rotated.status.as_u16()), "{rotated:?}");
        api.get_as(&old, "/v1/api-keys/self")
            .await
            .refused(401, "unauthenticated");
    }
}

#[tokio::test]
async fn of_a_hundred_keys_at_once_no_more_are_made_than_one_may_have() {
    let world = World::new().await;
    world
        .api
        .execute(
            "INSERT INTO api_keys (id, tenant_id, user_id, hash, hint, name, environment, scopes, allowed_cidrs, metadata, created_at, updated_at)
             SELECT gen_random_uuid(), u.tenant_id, u.id, decode(md5(n::text), 'hex'), '', 'x', 'live', '{}', '{}', '{}', now(), now()
             FROM users u, generate_series(1, 190) AS n WHERE u.email = 'owner@acme.test'",
        )
        .await;
    let body = super::request(&[], json!({}));
    let tries = (0..100).map(|_| world.api.post_as(&world.owner, "/v1/api-keys", body.clone()));
    let answers = join_all(tries).await;
    let made = answers.iter().filter(|answer| answer.status == 201).count();
    assert_eq!(made, 10);
    for refused in answers.into_iter().filter(|answer| answer.status != 201) {
        refused.refused(409, "limit_reached");
    }
}
