//! What an invitation is worth: as much as whoever made it.

use reqwest::Method;
use serde_json::{Value, json};

use super::{ADA, accept, invite, roles_of};
use crate::{
    roles::{Person, World},
    support::{Api, text},
};

/// An invitation by a clerk who holds `users:read`, to a role that grants it; and what happens then.
async fn invited_by_clerk(world: &World) -> (Person, String, String) {
    let clerk = world.holder("clerk", &["invitations:write", "users:read"]).await;
    let role = world.role("Less", &["users:read"]).await;
    invite(world, &clerk.token, ADA, &[&role]).await.expect(201);
    (clerk, role, world.api.mailed_token(ADA).await)
}

#[tokio::test]
async fn s27_an_invitation_is_void_once_its_maker_could_not_make_it() {
    let world = World::new().await;
    let (clerk, role, token) = invited_by_clerk(&world).await;
    let roles = world
        .api
        .get_as(&world.owner, &format!("/v1/users/{}/roles", clerk.id))
        .await
        .expect(200);
    let own = text(&roles["data"][0], "id");
    let patch = |permissions: Value, role: &str| {
        let (world, role) = (&world, role.to_owned());
        async move {
            let body = json!({ "permissions": permissions });
            world
                .change_role(Method::PATCH, &world.owner, &role, "*", Some(body))
                .await
                .expect(200);
        }
    };
    // The maker lost what the role grants; the right to invite; the role came to grant more; the maker is barred.
    patch(json!(["invitations:write"]), &own).await;
    accept(&world, &token).await.refused(400, "invalid_token");
    patch(json!(["users:read"]), &own).await;
    accept(&world, &token).await.refused(400, "invalid_token");
    patch(json!(["invitations:write", "users:read"]), &own).await;
    patch(json!(["users:read", "users:write"]), &role).await;
    accept(&world, &token).await.refused(400, "invalid_token");
    patch(json!(["users:read"]), &role).await;
    let status = |status: &str| format!("UPDATE users SET status = '{status}' WHERE id = '{}'", clerk.id);
    world.api.execute(&status("disabled")).await;
    accept(&world, &token).await.refused(400, "invalid_token");
    let made = "SELECT count(*) FROM users WHERE email = 'ada@new.test'";
    assert_eq!(world.api.scalar(made).await, 0);
    world.api.execute(&status("active")).await;
    accept(&world, &token).await.expect(201);
    assert_eq!(roles_of(&world, ADA).await, json!(["Less"]));
}

#[tokio::test]
async fn s27_an_owners_invitation_to_own_dies_with_the_ownership() {
    let world = World::new().await;
    let second = world.builtin_holder("bob", "owner").await;
    let owner = world.builtin("owner").await;
    invite(&world, &second.token, ADA, &[&owner]).await.expect(201);
    world
        .assign(&world.owner, &second.id, &world.builtin("admin").await)
        .await
        .expect(204);
    world.unassign(&world.owner, &second.id, &owner).await.expect(204);
    accept(&world, &world.api.mailed_token(ADA).await)
        .await
        .refused(400, "invalid_token");
}

/// A key with those fields; its id and its text.
async fn key(world: &World, token: &str, more: Value) -> (String, String) {
    let mut body = json!({ "name": "Onboarding", "environment": "live",
                           "scopes": ["invitations:write", "users:read"] });
    body.as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    let created = world.api.post_as(token, "/v1/api-keys", body).await.expect(201);
    (text(&created["api_key"], "id"), text(&created, "key"))
}

/// The token of an invitation to a role that grants `users:read`, made with the key.
async fn invited_with(world: &World, key: &str, role: &str, email: &str) -> String {
    invite(world, key, email, &[role]).await.expect(201);
    world.api.mailed_token(email).await
}

#[tokio::test]
async fn s27_an_invitation_ends_with_the_key_that_it_was_made_with() {
    let world = World::new().await;
    let role = world.role("Less", &["users:read"]).await;
    let tenants = json!({ "owner": { "type": "tenant" } });
    for (n, (owner, end)) in [
        (json!({}), "revoke"),
        (tenants.clone(), "revoke"),
        (tenants.clone(), "rotate"),
        (tenants.clone(), "remove"),
        (tenants, "expire"),
    ]
    .into_iter()
    .enumerate()
    {
        let (kept, ended) = (format!("kept{n}@new.test"), format!("ended{n}@new.test"));
        let (id, text) = key(&world, &world.owner, owner).await;
        let (kept, ended) = (
            invited_with(&world, &text, &role, &kept).await,
            invited_with(&world, &text, &role, &ended).await,
        );
        accept(&world, &kept).await.expect(201);
        let path = format!("/v1/api-keys/{id}");
        match end {
            "revoke" => {
                let request = world.api.request(Method::DELETE, &path);
                Api::send(request.bearer_auth(&world.owner)).await.expect(204);
            }
            // Who replaces a key at once, because it leaked, means what was done with it too.
            "rotate" => {
                let body = json!({ "overlap_seconds": 0 });
                let path = format!("{path}/rotate");
                world.api.post_as(&world.owner, &path, body).await.expect(201);
            }
            "remove" => {
                world
                    .api
                    .execute(&format!("DELETE FROM api_keys WHERE id = '{id}'"))
                    .await;
            }
            _ => {
                let over = "UPDATE api_keys SET expires_at = created_at";
                world.api.execute(&format!("{over} WHERE id = '{id}'")).await;
            }
        }
        accept(&world, &ended).await.refused(400, "invalid_token");
    }
}

#[tokio::test]
async fn s27_what_a_key_has_made_grants_no_more_than_the_key_could() {
    let world = World::new().await;
    let role = world.role("Less", &["users:read"]).await;
    let (id, text) = key(&world, &world.owner, json!({ "owner": { "type": "tenant" } })).await;
    let token = invited_with(&world, &text, &role, ADA).await;
    let grants = async |permissions: Value| {
        let body = json!({ "permissions": permissions });
        let answer = world.change_role(Method::PATCH, &world.owner, &role, "*", Some(body));
        answer.await.expect(200);
    };
    let scopes = async |scopes: Value| {
        let request = world.api.request(Method::PATCH, &format!("/v1/api-keys/{id}"));
        let request = request
            .bearer_auth(&world.owner)
            .json(&json!({ "scopes": scopes }));
        Api::send(request).await.expect(200);
    };
    grants(json!(["users:read", "users:write"])).await;
    accept(&world, &token).await.refused(400, "invalid_token");
    grants(json!(["users:read"])).await;
    scopes(json!(["invitations:write"])).await;
    accept(&world, &token).await.refused(400, "invalid_token");
    scopes(json!(["users:read"])).await;
    accept(&world, &token).await.refused(400, "invalid_token");
    scopes(json!(["invitations:write", "users:read"])).await;
    accept(&world, &token).await.expect(201);
    assert_eq!(roles_of(&world, ADA).await, json!(["Less"]));
}

#[tokio::test]
async fn s27_what_a_machine_has_made_is_void_while_the_machine_may_not_make_it() {
    let world = World::new().await;
    let less = world.role("Less", &["users:read"]).await;
    let clerk = world.role("Clerk", &["invitations:write", "users:read"]).await;
    let body = json!({ "name": "Onboarding", "role_ids": [clerk] });
    let machine = world
        .api
        .post_as(&world.owner, "/v1/service-accounts", body)
        .await;
    let machine = text(&machine.expect(201), "id");
    let owner = json!({ "owner": { "type": "service_account", "id": machine } });
    let (_, text) = key(&world, &world.owner, owner).await;
    let token = invited_with(&world, &text, &less, ADA).await;
    let patch = async |body: Value| {
        let path = format!("/v1/service-accounts/{machine}");
        let request = world.api.request(Method::PATCH, &path).bearer_auth(&world.owner);
        Api::send(request.json(&body)).await.expect(200);
    };
    for (barred, again) in [
        (json!({ "status": "disabled" }), json!({ "status": "active" })),
        (json!({ "role_ids": [less] }), json!({ "role_ids": [clerk] })),
    ] {
        patch(barred).await;
        accept(&world, &token).await.refused(400, "invalid_token");
        patch(again).await;
    }
    accept(&world, &token).await.expect(201);
}

#[tokio::test]
async fn s27_what_a_users_key_has_made_is_void_while_the_user_may_not_make_it() {
    let world = World::new().await;
    let permissions = ["invitations:write", "users:read", "api_keys:write"];
    let clerk = world.holder("clerk", &permissions).await;
    let role = world.role("Less", &["users:read"]).await;
    let (_, text) = key(&world, &clerk.token, json!({})).await;
    let token = invited_with(&world, &text, &role, ADA).await;
    let status = async |status: &str| {
        let id = &clerk.id;
        let set = format!("UPDATE users SET status = '{status}' WHERE id = '{id}'");
        world.api.execute(&set).await;
    };
    status("disabled").await;
    accept(&world, &token).await.refused(400, "invalid_token");
    status("active").await;
    accept(&world, &token).await.expect(201);
}
