//! Nobody makes a key that can do more than they can, or acts for somebody else.

use latchkey_shared::postgres::CrossTenant;
use reqwest::Method;
use sea_orm::ConnectionTrait;
use serde_json::json;

use super::{World, path, request};
use crate::{
    service_accounts::{member_with, nobodys, own_role, patch_as},
    support::{Api, text},
};

#[tokio::test]
async fn s27_scopes_are_the_callers_own_when_a_key_is_made_changed_or_replaced() {
    let world = World::new().await;
    let api = &world.api;
    let role = own_role(api, "acme", "keys", &["api_keys:write", "users:read"]).await;
    let ada = member_with(api, "acme", "ada@example.com", role).await;
    let own = api
        .post_as(&ada, "/v1/api-keys", request(&["users:read"], json!({})))
        .await
        .expect(201);
    for owner in [json!({}), json!({ "owner": { "type": "tenant" } })] {
        let more = request(&["users:read", "users:write"], owner);
        api.post_as(&ada, "/v1/api-keys", more)
            .await
            .refused(403, "escalation");
    }
    let patch = json!({ "scopes": ["users:read", "users:write"] });
    patch_as(api, &ada, &path(&own["api_key"]), patch)
        .await
        .refused(403, "escalation");
    // A stronger key of the tenant's can be narrowed by whoever may write keys, and not be held by them.
    let (_, strong) = world
        .key_with(
            &["users:write", "users:read"],
            json!({ "owner": { "type": "tenant" } }),
        )
        .await;
    let rotate = format!("{}/rotate", path(&strong));
    api.post_as(&ada, &rotate, json!({}))
        .await
        .refused(403, "escalation");
    let narrower = json!({ "scopes": ["users:write"] });
    patch_as(api, &ada, &path(&strong), narrower).await.expect(200);
}

#[tokio::test]
async fn s28_a_key_acts_for_who_made_it_and_for_nobody_else() {
    let world = World::new().await;
    let api = &world.api;
    let role = own_role(
        api,
        "acme",
        "keys",
        &["api_keys:write", "users:read", "service_accounts:write"],
    )
    .await;
    let ada = member_with(api, "acme", "ada@example.com", role).await;
    let owner_id = api
        .scalar_text("SELECT id FROM users WHERE email = 'owner@acme.test'")
        .await;
    let ada_id = api
        .scalar_text("SELECT id FROM users WHERE email = 'ada@example.com'")
        .await;
    let for_user = |id: &str| request(&["users:read"], json!({ "owner": { "type": "user", "id": id } }));
    api.post_as(&ada, "/v1/api-keys", for_user(&ada_id))
        .await
        .expect(201);
    // Neither the tenant's owner for somebody else, nor somebody for the owner; and who is not there is no other answer.
    let stranger = nobodys().to_string();
    for (token, id) in [
        (&ada, &owner_id),
        (&world.owner, &ada_id),
        (&world.owner, &stranger),
    ] {
        api.post_as(token, "/v1/api-keys", for_user(id))
            .await
            .refused(403, "escalation");
    }
    // Whoever replaced another's key would hold it.
    let (_, owners) = world.key(&["users:read"]).await;
    let rotate = format!("{}/rotate", path(&owners));
    api.post_as(&ada, &rotate, json!({}))
        .await
        .refused(403, "escalation");
    api.post_as(&world.owner, &rotate, json!({})).await.expect(201);

    // A machine's key, of a machine that can do more.
    let strong = own_role(api, "acme", "strong", &["users:write"]).await;
    let machine = api
        .post_as(
            &world.owner,
            "/v1/service-accounts",
            json!({ "name": "m", "role_ids": [strong] }),
        )
        .await
        .expect(201);
    let body = request(
        &[],
        json!({ "owner": { "type": "service_account", "id": machine["id"] } }),
    );
    api.post_as(&ada, "/v1/api-keys", body.clone())
        .await
        .refused(403, "escalation");
    api.post_as(&world.owner, "/v1/api-keys", body).await.expect(201);
}

#[tokio::test]
async fn s28_a_key_that_makes_keys_makes_them_for_its_owner_within_its_scopes() {
    let world = World::new().await;
    let api = &world.api;
    let role = own_role(api, "acme", "keys", &["api_keys:write", "users:read"]).await;
    let machine = api
        .post_as(
            &world.owner,
            "/v1/service-accounts",
            json!({ "name": "m", "role_ids": [role] }),
        )
        .await
        .expect(201);
    let more = json!({ "owner": { "type": "service_account", "id": machine["id"] } });
    let (key, _) = world.key_with(&["api_keys:write"], more).await;
    let made = api
        .post_as(&key, "/v1/api-keys", request(&["api_keys:write"], json!({})))
        .await
        .expect(201);
    assert_eq!(
        made["api_key"]["owner"],
        json!({ "type": "service_account", "id": machine["id"] })
    );
    api.post_as(&key, "/v1/api-keys", request(&["users:read"], json!({})))
        .await
        .refused(403, "escalation");
}

#[tokio::test]
async fn s27_at_use_a_key_does_what_its_scopes_and_its_owner_both_may() {
    let world = World::new().await;
    let api = &world.api;
    let role = own_role(api, "acme", "keys", &["api_keys:write", "webhooks:read"]).await;
    let machine = api
        .post_as(
            &world.owner,
            "/v1/service-accounts",
            json!({ "name": "m", "role_ids": [role] }),
        )
        .await
        .expect(201);
    let more = json!({ "owner": { "type": "service_account", "id": machine["id"] } });
    // The owner may grant more than the machine has: that is its ceiling all the same.
    let (key, _) = world.key_with(&["webhooks:read", "users:read"], more).await;
    assert_eq!(
        world.verify(json!({ "key": key })).await["scopes"],
        json!(["webhooks:read"])
    );
    api.get_as(&key, "/v1/webhooks/endpoints").await.expect(200);
    let machine = format!("/v1/service-accounts/{}", text(&machine, "id"));
    patch_as(api, &world.owner, &machine, json!({ "role_ids": [] }))
        .await
        .expect(200);
    api.get_as(&key, "/v1/webhooks/endpoints")
        .await
        .refused(403, "forbidden");
    assert_eq!(world.verify(json!({ "key": key })).await["scopes"], json!([]));
    patch_as(api, &world.owner, &machine, json!({ "status": "disabled" }))
        .await
        .expect(200);
    api.get_as(&key, "/v1/webhooks/endpoints")
        .await
        .refused(401, "unauthenticated");
    assert_eq!(world.code(&key).await, "owner_disabled");
}

#[tokio::test]
async fn s27_a_platform_permission_is_no_scope_in_a_tenant() {
    let world = World::new().await;
    let body = request(&["tenants:read"], json!({}));
    world
        .api
        .post_as(&world.owner, "/v1/api-keys", body)
        .await
        .refused(422, "validation_failed");
    // Not even where it came to stand in a key behind our back.
    let (key, _) = world
        .key_with(&["users:read"], json!({ "owner": { "type": "tenant" } }))
        .await;
    world
        .api
        .execute("UPDATE api_keys SET scopes = '{tenants:read,users:read}'")
        .await;
    world
        .api
        .get_as(&key, "/v1/tenants")
        .await
        .refused(403, "forbidden");
    assert_eq!(
        world.verify(json!({ "key": key })).await["scopes"],
        json!(["users:read"])
    );
    let platform = text(
        &world.api.login("platform", crate::support::ADMIN).await,
        "access_token",
    );
    let own = world
        .api
        .post_as(&platform, "/v1/api-keys", request(&["tenants:read"], json!({})))
        .await;
    world
        .api
        .get_as(&text(&own.expect(201), "key"), "/v1/tenants")
        .await
        .expect(200);
}

#[tokio::test]
async fn s16_a_users_key_enters_by_the_same_rules_as_the_user() {
    let world = World::new().await;
    let api = &world.api;
    let (key, _) = world.key(&["webhooks:read"]).await;
    let open = "/v1/webhooks/endpoints";
    for (bar, lift) in [
        (
            "UPDATE users SET status = 'disabled' WHERE email = 'owner@acme.test'",
            "UPDATE users SET status = 'active' WHERE email = 'owner@acme.test'",
        ),
        (
            "UPDATE users SET email_verified_at = NULL, email_proven = false WHERE email = 'owner@acme.test'",
            "UPDATE users SET email_verified_at = now() WHERE email = 'owner@acme.test'",
        ),
        (
            "UPDATE tenants SET settings = '{\"mfa\": {\"requirement\": \"required\"}}' WHERE slug = 'acme'",
            "UPDATE tenants SET settings = '{}' WHERE slug = 'acme'",
        ),
        (
            "UPDATE tenants SET status = 'suspended' WHERE slug = 'acme'",
            "UPDATE tenants SET status = 'active' WHERE slug = 'acme'",
        ),
    ] {
        api.execute(bar).await;
        // A process of its own has nothing in memory that the statement did not tell of.
        let fresh = crate::support::Api::start_another(&world.bed).await;
        fresh.get_as(&key, open).await.refused(401, "unauthenticated");
        api.execute(lift).await;
        let fresh = crate::support::Api::start_another(&world.bed).await;
        fresh.get_as(&key, open).await.expect(200);
    }
}

#[tokio::test]
async fn s27_a_permission_that_is_deleted_and_made_anew_is_in_no_key_of_before() {
    let world = World::new().await;
    let api = &world.api;
    let own = json!({ "name": "reports:read" });
    api.post_as(&world.owner, "/v1/permissions", own.clone())
        .await
        .expect(201);
    let tenants = json!({ "owner": { "type": "tenant" } });
    let (text, made) = world.key_with(&["reports:read", "users:read"], tenants).await;
    let asked = json!({ "key": text, "permissions": ["reports:read"] });
    let verify = async || {
        let verify = api.post_as(&world.owner, "/v1/api-keys/verify", asked.clone());
        verify.await.expect(200)["code"].clone()
    };
    assert_eq!(verify().await, "valid");
    let delete = api
        .request(Method::DELETE, "/v1/permissions/reports:read")
        .bearer_auth(&world.owner);
    Api::send(delete).await.expect(204);
    api.post_as(&world.owner, "/v1/permissions", own)
        .await
        .expect(201);
    assert_eq!(verify().await, "insufficient_permissions");
    let now = api.get_as(&world.owner, &path(&made)).await.expect(200);
    assert_eq!(now["scopes"], json!(["users:read"]));
}

#[tokio::test]
async fn s27_a_permission_that_goes_while_keys_get_it_is_in_none_of_them() {
    let world = World::new().await;
    let api = &world.api;
    let own = json!({ "name": "reports:read" });
    api.post_as(&world.owner, "/v1/permissions", own)
        .await
        .expect(201);
    let (_, patched) = world.key(&[]).await;
    let (_, rotated) = world.key(&["reports:read"]).await;
    // The deletion has begun, and has looked for keys.
    let deletion = api
        .context
        .postgres
        .cross_tenant(CrossTenant::Deliver)
        .await
        .unwrap();
    for step in [
        "SELECT 1 FROM roles WHERE name = 'owner' AND builtin FOR NO KEY UPDATE",
        "DELETE FROM permissions WHERE name = 'reports:read'",
        "UPDATE api_keys SET scopes = array_remove(scopes, 'reports:read')",
    ] {
        deletion.execute_unprepared(step).await.unwrap();
    }
    let scopes = json!({ "scopes": ["reports:read"] });
    let patch = api
        .request(Method::PATCH, &path(&patched))
        .bearer_auth(&world.owner);
    let rotate = format!("{}/rotate", path(&rotated));
    let requests = async {
        futures::join!(
            api.post_as(
                &world.owner,
                "/v1/api-keys",
                request(&["reports:read"], json!({}))
            ),
            Api::send(patch.json(&scopes)),
            api.post_as(&world.owner, &rotate, json!({})),
        )
    };
    let commit = async {
        api.until_waiting(3).await;
        deletion.commit().await.unwrap();
    };
    let ((made, patched, rotated), ()) = futures::join!(requests, commit);
    for refused in [made, patched] {
        let problem = refused.refused(422, "validation_failed");
        assert_eq!(problem["errors"][0]["pointer"], "/scopes/0");
    }
    assert_eq!(rotated.expect(201)["api_key"]["scopes"], json!([]));
    let left = "SELECT count(*) FROM api_keys WHERE 'reports:read' = ANY(scopes)";
    assert_eq!(api.scalar(left).await, 0);
}
