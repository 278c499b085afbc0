//! Ending many keys at once.

use serde_json::{Value, json};

use super::World;
use crate::{service_accounts::delete_as, support::text};

#[tokio::test]
async fn conditions_narrow_and_at_least_one_is_given() {
    let world = World::new().await;
    let api = &world.api;
    let batch = async |body: Value| {
        let answer = api.post_as(&world.owner, "/v1/api-keys/revoke-batch", body).await;
        answer.expect(200)["revoked"].as_u64().unwrap()
    };
    let (one, first) = world.key(&[]).await;
    let (two, _) = world.key(&[]).await;
    let (three, third) = world
        .key_with(&[], json!({ "owner": { "type": "tenant" } }))
        .await;
    let now = world.bed.context.clock.now();
    world.bed.clock.advance(chrono::TimeDelta::minutes(1));
    let (four, fourth) = world.key(&[]).await;
    api.post_as(&world.owner, "/v1/api-keys/revoke-batch", json!({}))
        .await
        .refused(422, "validation_failed");
    assert_eq!(batch(json!({ "ids": [] })).await, 0);
    assert_eq!(batch(json!({ "keys": ["nonsense"] })).await, 0);
    // Named, but not the tenant's.
    assert_eq!(
        batch(json!({ "ids": [first["id"]], "owner": { "type": "tenant" } })).await,
        0
    );
    assert_eq!(
        batch(json!({ "ids": [fourth["id"]], "created_before": now })).await,
        0
    );
    assert_eq!(
        batch(json!({ "ids": [first["id"], third["id"]], "keys": [two] })).await,
        3
    );
    assert_eq!(
        batch(json!({ "ids": [first["id"], third["id"]], "keys": [two] })).await,
        0
    );
    for key in [&one, &two, &three] {
        api.get_as(key, "/v1/api-keys/self")
            .await
            .refused(401, "unauthenticated");
    }
    api.get_as(&four, "/v1/api-keys/self").await.expect(200);
    assert_eq!(
        batch(json!({ "owner": { "type": "user", "id": fourth["owner"]["id"] } })).await,
        1
    );
    assert_eq!(
        api.scalar("SELECT count(*) FROM events WHERE type = 'api_key.revoked'")
            .await,
        4
    );
    assert_eq!(
        api.scalar("SELECT count(*) FROM audit_events WHERE action = 'api_key.revoke'")
            .await,
        4
    );
}

#[tokio::test]
async fn a_machines_keys_end_with_it() {
    let world = World::new().await;
    let api = &world.api;
    let machine = api
        .post_as(&world.owner, "/v1/service-accounts", json!({ "name": "m" }))
        .await
        .expect(201);
    let owner = json!({ "owner": { "type": "service_account", "id": machine["id"] } });
    let (key, _) = world.key_with(&[], owner).await;
    api.get_as(&key, "/v1/api-keys/self").await.expect(200);
    let path = format!("/v1/service-accounts/{}", text(&machine, "id"));
    delete_as(api, &world.owner, &path).await.expect(204);
    api.get_as(&key, "/v1/api-keys/self")
        .await
        .refused(401, "unauthenticated");
    assert_eq!(world.code(&key).await, "not_found");
    assert_eq!(
        api.scalar("SELECT count(*) FROM events WHERE type = 'api_key.revoked'")
            .await,
        1
    );
}
