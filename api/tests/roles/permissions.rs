//! The tenant's own permissions.

use reqwest::Method;
use serde_json::{Value, json};

use super::{World, names, problem};
use crate::support::{Answer, Api, text};

async fn create(world: &World, token: &str, name: &str) -> Answer {
    let body = json!({ "name": name, "description": "Ours." });
    world.api.post_as(token, "/v1/permissions", body).await
}

async fn delete(world: &World, token: &str, name: &str) -> Answer {
    let request = world
        .api
        .request(Method::DELETE, &format!("/v1/permissions/{name}"));
    Api::send(request.bearer_auth(token)).await
}

#[tokio::test]
async fn a_permission_of_a_tenants_own_is_held_by_who_governs_and_granted_by_roles() {
    let world = World::new().await;
    let (api, owner) = (&world.api, &world.owner);
    let boss = world.builtin_holder("bob", "admin").await;
    assert!(!world.holds(&boss.token, "invoices:approve").await);
    let created = create(&world, &boss.token, "invoices:approve").await;
    assert_eq!(created.headers["location"], "/v1/permissions/invoices:approve");
    assert_eq!(
        created.expect(201),
        json!({ "name": "invoices:approve", "description": "Ours.", "builtin": false })
    );
    for token in [owner, &boss.token] {
        assert!(world.holds(token, "invoices:approve").await);
    }
    create(&world, owner, "invoices:approve")
        .await
        .refused(409, "name_taken");

    let clerk = world.holder("ada", &["invoices:approve", "users:read"]).await;
    assert!(world.holds(&clerk.token, "invoices:approve").await);
    let role = api.get_as(owner, "/v1/roles?limit=1").await.expect(200)["data"][0].clone();

    // It goes from the role, from who holds it, and from who governs, all at once.
    delete(&world, owner, "invoices:approve").await.expect(204);
    delete(&world, owner, "invoices:approve")
        .await
        .refused(404, "not_found");
    for token in [owner, &boss.token, &clerk.token] {
        assert!(!world.holds(token, "invoices:approve").await);
    }
    assert!(world.holds(&clerk.token, "users:read").await);
    let after = api
        .get_as(owner, &format!("/v1/roles/{}", text(&role, "id")))
        .await;
    assert_eq!(
        after.headers["etag"], "\"2\"",
        "whoever has read it before must read it again"
    );
    assert_eq!(after.json()["permissions"], json!(["users:read"]));
}

#[tokio::test]
async fn s27_a_tenant_makes_no_permission_in_a_family_of_ours() {
    let world = World::new().await;
    for name in ["users:explode", "tenants:write", "audit:read", "api_keys:all"] {
        let problem = create(&world, &world.owner, name)
            .await
            .refused(422, "validation_failed");
        assert_eq!(problem["errors"][0]["code"], "reserved", "{name}");
    }
    for name in ["invoices", "Invoices:read", "a:b:c", "*:*", "invoices:*"] {
        let problem = create(&world, &world.owner, name)
            .await
            .refused(422, "validation_failed");
        assert_eq!(problem["errors"][0]["pointer"], "/name", "{name}");
    }
    delete(&world, &world.owner, "users:read")
        .await
        .refused(409, "built_in");
    // Outside the platform its permissions are not there.
    let absent = problem(delete(&world, &world.owner, "no:such").await);
    assert_eq!(
        problem(delete(&world, &world.owner, "tenants:write").await),
        absent
    );
    delete(&world, &world.admin, "tenants:write")
        .await
        .refused(409, "built_in");
}

#[tokio::test]
async fn the_tenants_own_permissions_are_listed_first_then_the_built_in_ones() {
    let world = World::new().await;
    for name in ["one:a", "two:b"] {
        create(&world, &world.owner, name).await.expect(201);
    }
    let (globex, _) = world.globex().await;
    create(&world, &globex, "theirs:c").await.expect(201);

    let (mut listed, mut cursor) = (Vec::new(), String::new());
    loop {
        let path = format!("/v1/permissions?limit=3{cursor}");
        let page = world.api.get_as(&world.owner, &path).await.expect(200);
        listed.extend(names(&page));
        if page["has_more"] == false {
            assert_eq!(page["next_cursor"], Value::Null);
            break;
        }
        cursor = format!("&cursor={}", text(&page, "next_cursor"));
    }
    assert_eq!(listed[..3], ["two:b", "one:a", "users:read"]);
    assert!(
        !listed
            .iter()
            .any(|name| name.starts_with("tenants:") || name == "theirs:c")
    );
    let mut once = listed.clone();
    once.sort();
    once.dedup();
    assert_eq!(once.len(), listed.len());
    let all = world
        .api
        .get_as(&world.admin, "/v1/permissions?limit=100")
        .await
        .expect(200);
    assert_eq!(names(&all)[0], "tenants:read");
}

#[tokio::test]
async fn s25_another_tenants_permission_is_not_deleted() {
    let world = World::new().await;
    let (globex, _) = world.globex().await;
    create(&world, &globex, "invoices:approve").await.expect(201);
    let absent = problem(delete(&world, &world.owner, "no:such").await);
    assert_eq!(
        problem(delete(&world, &world.owner, "invoices:approve").await),
        absent
    );
    assert!(world.holds(&globex, "invoices:approve").await);
}

#[tokio::test]
async fn s27_nobody_deletes_a_permission_that_others_have_and_they_lack() {
    let world = World::new().await;
    let clerk = world.holder("clerk", &["roles:write"]).await;
    for (name, in_a_key) in [("invoices:approve", false), ("invoices:send", true)] {
        create(&world, &world.owner, name).await.expect(201);
        if in_a_key {
            let key = json!({ "name": "Billing", "environment": "live", "scopes": [name] });
            world
                .api
                .post_as(&world.owner, "/v1/api-keys", key)
                .await
                .expect(201);
        } else {
            world.role(name, &[name]).await;
        }
        delete(&world, &clerk.token, name)
            .await
            .refused(403, "escalation");
        assert!(world.holds(&world.owner, name).await);
    }
    // Nothing is taken from anybody: it was made by mistake, perhaps by the same machine.
    create(&world, &clerk.token, "invoices:aprove").await.expect(201);
    delete(&world, &clerk.token, "invoices:aprove").await.expect(204);
}

#[tokio::test]
async fn a_permission_that_goes_while_roles_are_made_with_it_is_in_none_of_them() {
    let world = World::new().await;
    create(&world, &world.owner, "invoices:approve").await.expect(201);
    let make = |n: usize| {
        let world = &world;
        async move {
            if n == 20 {
                return delete(world, &world.owner, "invoices:approve").await.status == 204;
            }
            let body = json!({ "name": format!("role {n}"), "permissions": ["invoices:approve"] });
            let answer = world.api.post_as(&world.owner, "/v1/roles", body).await;
            assert!(answer.status == 201 || answer.status == 422, "{answer:?}");
            answer.status == 201
        }
    };
    let done = futures::future::join_all((0..100).map(make)).await;
    assert!(
        done[20] && done.iter().any(|made| !made),
        "the race was none: {done:?}"
    );
    let left = "SELECT count(*) FROM roles WHERE 'invoices:approve' = ANY(permissions)";
    assert_eq!(world.api.scalar(left).await, 0);
}

#[tokio::test]
async fn a_tenant_has_so_many_permissions_of_its_own_and_no_more() {
    let world = World::new().await;
    world
        .api
        .execute(
            "INSERT INTO permissions (id, tenant_id, name, created_at)
             SELECT gen_random_uuid(), id, 'many:p' || n, now() FROM tenants, generate_series(1, 499) n WHERE slug = 'acme'",
        )
        .await;
    create(&world, &world.owner, "last:one").await.expect(201);
    create(&world, &world.owner, "one:more")
        .await
        .refused(409, "limit_reached");
}
