//! No key outlives what it was made with, however close together both happen.

use chrono::TimeDelta;
use sea_orm::{ConnectionTrait, Database, DatabaseTransaction, TransactionTrait};
use serde_json::{Value, json};

use super::{World, path, request};
use crate::{
    service_accounts::{delete_as, member_with, own_role, patch_as},
    support::text,
};

/// Holds up who makes a key, once all that is asked before has been asked.
async fn hold_up(world: &World) -> DatabaseTransaction {
    let db = Database::connect(&world.bed.owner_url).await.unwrap();
    let held = db.begin().await.unwrap();
    held.execute_unprepared("SELECT set_config('latchkey.scope', 'cross_tenant', true)")
        .await
        .unwrap();
    held.execute_unprepared("SELECT 1 FROM tenants WHERE slug = 'acme' FOR NO KEY UPDATE")
        .await
        .unwrap();
    held
}

/// A user who may make keys: the id and an access token.
async fn key_maker(world: &World) -> (String, String) {
    let role = own_role(&world.api, "acme", "keys", &["api_keys:write", "users:read"]).await;
    let ada = member_with(&world.api, "acme", "ada@example.com", role).await;
    let me = world.api.get_as(&ada, "/v1/auth/me").await.expect(200);
    (text(&me["user"], "id"), ada)
}

#[tokio::test]
async fn s20_a_key_that_is_asked_for_while_its_session_or_key_ends_is_not_made() {
    let world = World::new().await;
    let api = &world.api;
    let (_, ada) = key_maker(&world).await;
    let body = request(&["api_keys:write"], json!({}));
    let first = api.post_as(&ada, "/v1/api-keys", body.clone()).await.expect(201);
    let (key, first) = (text(&first, "key"), path(&first["api_key"]));
    let of_tenant = request(&["api_keys:write"], json!({ "owner": { "type": "tenant" } }));
    for (credential, body) in [(&key, &body), (&ada, &of_tenant)] {
        let held = hold_up(&world).await;
        let (made, ()) = tokio::join!(api.post_as(credential, "/v1/api-keys", body.clone()), async {
            api.until_waiting(1).await;
            if *credential == key {
                delete_as(api, &world.owner, &first).await.expect(204);
            } else {
                api.post_as(&ada, "/v1/auth/logout", json!({})).await.expect(204);
            }
            held.rollback().await.unwrap();
        });
        made.refused(401, "unauthenticated");
    }
    assert_eq!(api.scalar("SELECT count(*) FROM api_keys").await, 1);
}

#[tokio::test]
async fn s20_a_key_that_is_made_while_a_new_password_is_required_ends_with_the_old_one() {
    let world = World::new().await;
    let api = &world.api;
    let (id, ada) = key_maker(&world).await;
    let held = hold_up(&world).await;
    let reset = format!("/v1/users/{id}/password-reset");
    let (made, reset, ()) = tokio::join!(
        api.post_as(&ada, "/v1/api-keys", request(&["users:read"], json!({}))),
        async {
            api.until_waiting(1).await;
            api.post_as(&world.owner, &reset, json!({})).await
        },
        async {
            api.until_waiting(2).await;
            held.rollback().await.unwrap();
        }
    );
    reset.expect(202);
    let key = text(&made.expect(201), "key");
    api.get_as(&key, "/v1/api-keys/self")
        .await
        .refused(401, "unauthenticated");
}

#[tokio::test]
async fn s28_a_successor_that_is_made_while_all_keys_of_its_owner_end_ends_with_them() {
    let world = World::new().await;
    let api = &world.api;
    let (id, ada) = key_maker(&world).await;
    let first = api
        .post_as(&ada, "/v1/api-keys", request(&["api_keys:write"], json!({})))
        .await
        .expect(201);
    let (key, rotate) = (text(&first, "key"), format!("{}/rotate", path(&first["api_key"])));
    let held = hold_up(&world).await;
    let all = json!({ "owner": { "type": "user", "id": id } });
    let (rotated, ended, ()) = tokio::join!(
        api.post_as(&key, &rotate, json!({})),
        async {
            api.until_waiting(1).await;
            api.post_as(&world.owner, "/v1/api-keys/revoke-batch", all).await
        },
        async {
            api.until_waiting(2).await;
            held.rollback().await.unwrap();
        }
    );
    assert_eq!(ended.expect(200)["revoked"], 2);
    let successor = text(&rotated.expect(201), "key");
    for key in [key, successor] {
        api.get_as(&key, "/v1/api-keys/self")
            .await
            .refused(401, "unauthenticated");
    }
}

#[tokio::test]
async fn s27_nobody_loosens_a_key_that_may_do_more_than_they() {
    let world = World::new().await;
    let api = &world.api;
    let (_, ada) = key_maker(&world).await;
    let soon = (world.bed.context.clock.now() + TimeDelta::days(1)).to_rfc3339();
    let bounds = json!({
        "expires_at": soon, "allowed_cidrs": ["203.0.113.0/24", "198.51.100.0/24"],
        "rate_limit": { "limit": 10, "window_seconds": 60 }
    });
    let (_, strong) = world.key_with(&["users:write"], bounds.clone()).await;
    let (_, own) = world.key_with(&["users:read"], bounds).await;
    let later = (world.bed.context.clock.now() + TimeDelta::days(2)).to_rfc3339();
    let sooner = (world.bed.context.clock.now() + TimeDelta::hours(1)).to_rfc3339();
    for looser in [
        json!({ "expires_at": null }),
        json!({ "expires_at": later }),
        json!({ "allowed_cidrs": null }),
        json!({ "allowed_cidrs": ["203.0.113.0/24", "192.0.2.0/24"] }),
        json!({ "rate_limit": null }),
        json!({ "rate_limit": { "limit": 11, "window_seconds": 60 } }),
        json!({ "rate_limit": { "limit": 10, "window_seconds": 59 } }),
        // The tenant's services may decide by it.
        json!({ "metadata": { "plan": "unlimited" } }),
    ] {
        patch_as(api, &ada, &path(&strong), looser.clone())
            .await
            .refused(403, "escalation");
        // What the caller could make is the caller's to loosen.
        patch_as(api, &ada, &path(&own), looser.clone()).await.expect(200);
        patch_as(api, &world.owner, &path(&strong), looser)
            .await
            .expect(200);
        let again: Value = json!({
            "expires_at": soon, "allowed_cidrs": ["203.0.113.0/24", "198.51.100.0/24"],
            "rate_limit": { "limit": 10, "window_seconds": 60 }
        });
        patch_as(api, &world.owner, &path(&strong), again)
            .await
            .expect(200);
    }
    let tighter = json!({
        "expires_at": sooner, "allowed_cidrs": ["203.0.113.0/24"], "name": "Tight",
        "rate_limit": { "limit": 9, "window_seconds": 61 }
    });
    patch_as(api, &ada, &path(&strong), tighter).await.expect(200);
}

#[tokio::test]
async fn s34_the_end_of_a_deleted_users_keys_is_told_and_audited() {
    let world = World::new().await;
    let api = &world.api;
    let (id, ada) = key_maker(&world).await;
    let made = api
        .post_as(&ada, "/v1/api-keys", request(&["users:read"], json!({})))
        .await
        .expect(201);
    let key = text(&made["api_key"], "id");
    delete_as(api, &world.owner, &format!("/v1/users/{id}"))
        .await
        .expect(204);
    let audited = format!(
        "SELECT count(*) FROM audit_events WHERE action = 'api_key.revoke' AND target_id = '{key}'
           AND detail ->> 'reason' = 'owner_deleted'"
    );
    assert_eq!(api.scalar(&audited).await, 1);
    let told = "SELECT count(*) FROM events WHERE type = 'api_key.revoked'";
    assert_eq!(api.scalar(told).await, 1);
    assert_eq!(api.scalar("SELECT count(*) FROM api_keys").await, 0);
}
