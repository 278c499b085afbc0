//! Changes of roles hold in every process within a second.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::json;

use super::{World, holds};
use crate::support::Api;

/// Waits until the other process says so too.
async fn becomes(api: &Api, token: &str, permission: &str, held: bool) {
    let started = Instant::now();
    while holds(api, token, permission).await != held {
        assert!(
            started.elapsed() < Duration::from_secs(1),
            "the other process does not know that {permission} is held: {held}"
        );
    }
}

#[tokio::test]
async fn s21_a_second_process_follows_each_change_of_roles_within_a_second() {
    let world = World::new().await;
    let second = Api::start_another(&world.bed).await;
    let ada = world.person("ada").await;
    let role = world.role("Support", &["users:read"]).await;
    let now = |permission, held| becomes(&second, &ada.token, permission, held);
    now("users:read", false).await;

    world.assign(&world.owner, &ada.id, &role).await.expect(204);
    now("users:read", true).await;
    world.unassign(&world.owner, &ada.id, &role).await.expect(204);
    now("users:read", false).await;
    world.assign(&world.owner, &ada.id, &role).await.expect(204);
    now("users:read", true).await;

    let patch = json!({ "permissions": ["roles:read"] });
    world
        .change_role(Method::PATCH, &world.owner, &role, "*", Some(patch))
        .await
        .expect(200);
    now("users:read", false).await;
    now("roles:read", true).await;
    second.get_as(&ada.token, "/v1/roles").await.expect(200);

    world
        .change_role(Method::DELETE, &world.owner, &role, "*", None)
        .await
        .expect(204);
    now("roles:read", false).await;
    second
        .get_as(&ada.token, "/v1/roles")
        .await
        .refused(403, "forbidden");
}

#[tokio::test]
async fn s21_a_second_process_follows_the_tenants_own_permissions_within_a_second() {
    let world = World::new().await;
    let second = Api::start_another(&world.bed).await;
    let permission = json!({ "name": "invoices:approve" });
    let owner = &world.owner;
    becomes(&second, owner, "invoices:approve", false).await;
    world
        .api
        .post_as(owner, "/v1/permissions", permission)
        .await
        .expect(201);
    becomes(&second, owner, "invoices:approve", true).await;
    let ada = world.holder("ada", &["invoices:approve"]).await;
    becomes(&second, &ada.token, "invoices:approve", true).await;
    let delete = world
        .api
        .request(Method::DELETE, "/v1/permissions/invoices:approve");
    Api::send(delete.bearer_auth(owner)).await.expect(204);
    for token in [owner, &ada.token] {
        becomes(&second, token, "invoices:approve", false).await;
    }
}

#[tokio::test]
async fn s16_a_role_that_needs_a_second_factor_asks_for_it_as_soon_as_it_is_given() {
    let world = World::new().await;
    world
        .api
        .execute(
            r#"UPDATE tenants SET settings = settings || '{"mfa": {"requirement": "required_for_roles", "roles": ["Support"]}}'
               WHERE slug = 'acme'"#,
        )
        .await;
    let api = Api::start_another(&world.bed).await;
    let ada = world.person("ada").await;
    let role = world.role("Support", &[]).await;
    api.get_as(&ada.token, "/v1/sessions").await.expect(200);
    world.assign(&world.owner, &ada.id, &role).await.expect(204);
    let started = Instant::now();
    while api.get_as(&ada.token, "/v1/sessions").await.status == 200 {
        assert!(started.elapsed() < Duration::from_secs(1));
    }
    api.get_as(&ada.token, "/v1/sessions")
        .await
        .refused(403, "mfa_enrollment_required");
}
