//! Making, reading, changing and revoking.

use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{World, path, request};
use crate::{
    service_accounts::{delete_as, nobodys, patch_as},
    support::{Api, text},
};

#[tokio::test]
async fn a_key_is_shown_once_and_opens_what_its_scopes_say() {
    let world = World::new().await;
    let api = &world.api;
    let more = json!({ "allowed_cidrs": ["127.0.0.0/8"], "metadata": { "team": "finance" },
                       "rate_limit": { "limit": 100, "window_seconds": 60 } });
    let body = request(&["webhooks:read"], more);
    let answer = api.post_as(&world.owner, "/v1/api-keys", body).await;
    let location = answer.headers["location"].to_str().unwrap().to_owned();
    let created = answer.expect(201);
    let (key, shown) = (text(&created, "key"), &created["api_key"]);
    assert!(key.starts_with("lk_live_") && key.len() == 57);
    assert_eq!(text(shown, "hint"), format!("lk_live_…{}", &key[53..]));
    assert_eq!(shown["status"], "active");
    assert_eq!(shown["owner"]["type"], "user");
    assert_eq!(&api.get_as(&world.owner, &location).await.expect(200), shown);
    let listed = api.get_as(&world.owner, "/v1/api-keys").await;
    assert!(!listed.text.contains(&key), "s35: a list never shows a key");
    assert_eq!(&listed.expect(200)["data"][0], shown);

    for header in ["authorization", "x-api-key"] {
        let value = if header == "x-api-key" {
            key.clone()
        } else {
            format!("Bearer {key}")
        };
        let request = api
            .request(Method::GET, "/v1/webhooks/endpoints")
            .header(header, value);
        Api::send(request).await.expect(200);
    }
    api.get_as(&key, "/v1/api-keys").await.refused(403, "forbidden");
    let own = api.get_as(&key, "/v1/api-keys/self").await.expect(200);
    assert_eq!(own["id"], shown["id"]);
    api.get_as(&world.owner, "/v1/api-keys/self")
        .await
        .refused(403, "forbidden");

    delete_as(api, &world.owner, &location).await.expect(204);
    delete_as(api, &world.owner, &location).await.expect(204);
    api.get_as(&key, "/v1/webhooks/endpoints")
        .await
        .refused(401, "unauthenticated");
    assert_eq!(
        api.get_as(&world.owner, &location).await.expect(200)["status"],
        "revoked"
    );
    let told = "SELECT count(*) FROM events WHERE type IN ('api_key.created', 'api_key.revoked')";
    assert_eq!(api.scalar(told).await, 2);
    let audited = "SELECT count(*) FROM audit_events WHERE action IN ('api_key.create', 'api_key.revoke')";
    assert_eq!(api.scalar(audited).await, 2);
    // What a key changes is put down to it.
    let (writer, shown) = world.key(&["webhooks:write"]).await;
    let endpoint = json!({ "url": "http://127.0.0.1:9/hook" });
    api.post_as(&writer, "/v1/webhooks/endpoints", endpoint)
        .await
        .expect(201);
    let by_key = format!(
        "SELECT count(*) FROM audit_events WHERE actor_kind = 'api_key' AND actor_id = '{}'",
        text(&shown, "id")
    );
    assert_eq!(api.scalar(&by_key).await, 1);
}

#[tokio::test]
async fn two_credentials_at_once_are_none_and_own_accounts_are_for_people() {
    let world = World::new().await;
    let (key, _) = world.key(&["webhooks:read"]).await;
    let both = world
        .api
        .request(Method::GET, "/v1/webhooks/endpoints")
        .bearer_auth(&world.owner)
        .header("x-api-key", &key);
    Api::send(both).await.refused(400, "bad_request");
    // A generated client may send one in both places.
    for one in [&world.owner, &key] {
        let twice = world
            .api
            .request(Method::GET, "/v1/webhooks/endpoints")
            .bearer_auth(one)
            .header("x-api-key", one);
        Api::send(twice).await.expect(200);
    }
    for path in ["/v1/auth/me", "/v1/sessions", "/v1/mfa", "/v1/auth/me/export"] {
        world
            .api
            .get_as(&key, path)
            .await
            .refused(403, "session_required");
    }
}

#[tokio::test]
async fn s18_a_key_and_the_other_tokens_never_stand_for_one_another() {
    let world = World::new().await;
    let api = &world.api;
    let (key, _) = world.key(&["webhooks:read"]).await;
    api.refresh(&key).await.refused(401, "invalid_refresh_token");
    let verify = api
        .request(Method::POST, "/v1/auth/email/verify")
        .json(&json!({ "token": key }));
    Api::send(verify).await.refused(400, "invalid_token");
    let introspected = api
        .post_as(&world.owner, "/v1/auth/introspect", json!({ "token": key }))
        .await
        .expect(200);
    assert_eq!(introspected["active"], false);
    let session = api.login("acme", "owner@acme.test").await;
    for other in [text(&session, "access_token"), text(&session, "refresh_token")] {
        let request = api
            .request(Method::GET, "/v1/webhooks/endpoints")
            .header("x-api-key", &other);
        Api::send(request).await.refused(401, "unauthenticated");
        assert_eq!(world.code(&other).await, "not_found");
    }
    // A key of another tenant opens nothing in the one that is named.
    let named = api
        .request(Method::GET, "/v1/webhooks/endpoints")
        .bearer_auth(&key)
        .header("x-tenant-id", "platform");
    Api::send(named).await.refused(403, "tenant_mismatch");
}

#[tokio::test]
async fn s36_only_the_hash_of_a_key_is_kept() {
    let world = World::new().await;
    let (key, _) = world.key(&["webhooks:read"]).await;
    world.api.get_as(&key, "/v1/webhooks/endpoints").await.expect(200);
    for table in [
        "api_keys",
        "audit_events",
        "events",
        "deliveries",
        "signals",
        "mails",
    ] {
        let row = format!("SELECT coalesce(string_agg(t::text, ' '), '') FROM {table} t");
        let rows = world.api.scalar_text(&row).await;
        let hexed = hex::encode(&key);
        assert!(!rows.contains(&key) && !rows.contains(&hexed), "{table}");
    }
    assert_eq!(
        world.api.scalar("SELECT octet_length(hash) FROM api_keys").await,
        32
    );
}

#[tokio::test]
async fn s39_fields_that_break_rules_are_named() {
    let world = World::new().await;
    for (more, pointer) in [
        (json!({ "scopes": ["no:such"] }), "/scopes/0"),
        (
            json!({ "allowed_cidrs": ["10.0.0.0/8", "nonsense"] }),
            "/allowed_cidrs/1",
        ),
        (json!({ "allowed_cidrs": vec!["10.0.0.1"; 33] }), "/allowed_cidrs"),
        (json!({ "expires_at": "2001-01-01T00:00:00Z" }), "/expires_at"),
        (json!({ "expires_at": "+12001-01-01T00:00:00Z" }), "/expires_at"),
        (json!({ "expires_at": "tomorrow" }), "/expires_at"),
        (json!({ "metadata": { "a": "x".repeat(5000) } }), "/metadata"),
        (json!({ "metadata": { "a": ["b\u{0}"] } }), "/metadata/a"),
        (
            json!({ "rate_limit": { "limit": 0, "window_seconds": 1 } }),
            "/rate_limit/limit",
        ),
        (json!({ "owner": { "type": "user" } }), "/owner/id"),
        (
            json!({ "owner": { "type": "tenant", "id": Uuid::nil() } }),
            "/owner/id",
        ),
        (json!({ "owner": { "type": "nobody" } }), "/owner/type"),
        (json!({ "environment": "prod" }), "/environment"),
        (json!({ "name": "" }), "/name"),
    ] {
        let body = request(&[], more.clone());
        let refused = world.api.post_as(&world.owner, "/v1/api-keys", body).await;
        let refused = refused.refused(422, "validation_failed");
        assert_eq!(refused["errors"][0]["pointer"], pointer, "{more}: {refused}");
    }
    for query in [
        "owner_id=00000000-0000-0000-0000-000000000000",
        "owner_type=user",
        "status=none",
    ] {
        let list = format!("/v1/api-keys?{query}");
        world
            .api
            .get_as(&world.owner, &list)
            .await
            .refused(400, "invalid_parameter");
    }
}

#[tokio::test]
async fn a_list_is_filtered_and_paged() {
    let world = World::new().await;
    let api = &world.api;
    let mut ids = Vec::new();
    for at in 0..5 {
        let more = match at {
            0 => json!({ "environment": "test" }),
            1 => json!({ "owner": { "type": "tenant" } }),
            2 => json!({ "expires_at": world.bed.context.clock.now() + chrono::TimeDelta::hours(1) }),
            _ => json!({}),
        };
        ids.push(world.key_with(&[], more).await.1["id"].clone());
    }
    delete_as(
        api,
        &world.owner,
        &format!("/v1/api-keys/{}", ids[3].as_str().unwrap()),
    )
    .await
    .expect(204);
    let rotate = format!("/v1/api-keys/{}/rotate", ids[4].as_str().unwrap());
    let rotated = api.post_as(&world.owner, &rotate, json!({})).await.expect(201);
    ids.push(rotated["api_key"]["id"].clone());
    world.bed.clock.advance(chrono::TimeDelta::hours(2));
    let owner = text(&api.login("acme", "owner@acme.test").await, "access_token");
    let list = |query: &'static str| {
        let (api, owner) = (api, owner.clone());
        async move {
            let page = api
                .get_as(&owner, &format!("/v1/api-keys?{query}"))
                .await
                .expect(200);
            let ids = page["data"]
                .as_array()
                .unwrap()
                .iter()
                .map(|key| key["id"].clone());
            ids.collect::<Vec<Value>>()
        }
    };
    let of = |which: &[usize]| which.iter().map(|at| ids[*at].clone()).collect::<Vec<_>>();
    assert_eq!(list("limit=100").await, of(&[5, 4, 3, 2, 1, 0]));
    assert_eq!(list("environment=test").await, of(&[0]));
    assert_eq!(list("owner_type=tenant").await, of(&[1]));
    assert_eq!(list("status=expired").await, of(&[2]));
    assert_eq!(list("status=revoked").await, of(&[3]));
    assert_eq!(list("status=retiring").await, of(&[4]));
    assert_eq!(list("status=active").await, of(&[5, 1, 0]));
    assert_eq!(list("status=active&limit=1").await, of(&[5]));
}

#[tokio::test]
async fn a_change_holds_at_once_and_an_ended_key_takes_none() {
    let world = World::new().await;
    let api = &world.api;
    let (key, shown) = world.key(&["webhooks:read", "users:read"]).await;
    let asked = json!({ "key": key, "permissions": ["webhooks:read"] });
    assert_eq!(world.verify(asked.clone()).await["code"], "valid");
    let patch = json!({ "name": "Import", "scopes": ["users:read"], "metadata": { "a": 1 }, "allowed_cidrs": ["192.0.2.0/24"] });
    let changed = patch_as(api, &world.owner, &path(&shown), patch)
        .await
        .expect(200);
    assert_eq!(
        (&changed["name"], &changed["metadata"]),
        (&json!("Import"), &json!({ "a": 1 }))
    );
    assert_eq!(world.verify(asked.clone()).await["code"], "ip_denied");
    patch_as(api, &world.owner, &path(&shown), json!({ "allowed_cidrs": null }))
        .await
        .expect(200);
    assert_eq!(world.verify(asked).await["code"], "insufficient_permissions");
    delete_as(api, &world.owner, &path(&shown)).await.expect(204);
    patch_as(api, &world.owner, &path(&shown), json!({ "name": "x" }))
        .await
        .refused(409, "api_key_not_active");
}

#[tokio::test]
async fn s25_another_tenants_key_is_none() {
    let world = World::new().await;
    let api = &world.api;
    let admin = text(
        &api.login("platform", crate::support::ADMIN).await,
        "access_token",
    );
    let (_, other) = api.tenant(&admin, "globex").await;
    let foreign = api
        .post_as(&other, "/v1/api-keys", request(&[], json!({})))
        .await
        .expect(201);
    let foreign_key = text(&foreign, "key");
    let foreign: Uuid = text(&foreign["api_key"], "id").parse().unwrap();
    let made_up = latchkey_shared::api_key::KeyText::new(
        latchkey_shared::api_key::KeyEnvironment::Live,
        &latchkey_shared::random::OsRandom::new(),
    );
    let made_up = made_up.into_text().expose().clone();
    let mut answers = Vec::new();
    for (id, key) in [(foreign, foreign_key.clone()), (nobodys(), made_up)] {
        let path = format!("/v1/api-keys/{id}");
        let seen = [
            api.get_as(&world.owner, &path).await,
            api.get_as(&world.owner, &format!("{path}/usage")).await,
            patch_as(api, &world.owner, &path, json!({ "name": "mine" })).await,
            delete_as(api, &world.owner, &path).await,
            api.post_as(&world.owner, &format!("{path}/rotate"), json!({}))
                .await,
            api.post_as(&world.owner, "/v1/api-keys/verify", json!({ "key": key }))
                .await,
            api.post_as(
                &world.owner,
                "/v1/api-keys/revoke-batch",
                json!({ "ids": [id], "keys": [key] }),
            )
            .await,
        ];
        let plain = seen.map(|answer| {
            let mut body = answer.text.parse::<Value>().unwrap_or_default();
            if let Some(body) = body.as_object_mut() {
                body.remove("request_id");
            }
            (answer.status.as_u16(), body)
        });
        answers.push(plain);
    }
    assert_eq!(answers[0], answers[1]);
    let statuses = answers[0].clone().map(|(status, _)| status);
    assert_eq!(statuses, [404, 404, 404, 404, 404, 200, 200]);
    api.get_as(&foreign_key, "/v1/api-keys/self").await.expect(200);
}
