//! Nobody grants what they do not hold; owners alone decide over owners; the last owner stays.

use reqwest::Method;
use serde_json::json;

use super::{Person, World};
use crate::support::{Api, PASSWORD, text};

#[tokio::test]
async fn s27_nobody_makes_a_role_that_grants_more_than_they_hold() {
    let world = World::new().await;
    let clerk = world
        .holder("ada", &["roles:write", "roles:read", "users:read"])
        .await;
    let create = |name: &str, permissions: &[&str]| {
        let body = json!({ "name": name, "permissions": permissions });
        let (api, clerk) = (&world.api, &clerk);
        async move { api.post_as(&clerk.token, "/v1/roles", body).await }
    };
    create("More", &["users:read", "users:write"])
        .await
        .refused(403, "escalation");
    create("Less", &["users:read"]).await.expect(201);
    create("Nothing", &[]).await.expect(201);
}

#[tokio::test]
async fn s27_nobody_changes_a_role_by_what_they_do_not_hold() {
    let world = World::new().await;
    let clerk = world.holder("ada", &["roles:write", "users:read"]).await;
    let role = world.role("Support", &["users:read", "webhooks:write"]).await;
    let patch = |permissions: &[&str]| {
        let body = json!({ "permissions": permissions });
        let (world, clerk, role) = (&world, &clerk, &role);
        async move {
            world
                .change_role(Method::PATCH, &clerk.token, role, "*", Some(body))
                .await
        }
    };
    // What it gains, and what it loses.
    patch(&["users:read", "webhooks:write", "users:write"])
        .await
        .refused(403, "escalation");
    patch(&["users:read"]).await.refused(403, "escalation");
    // What stays is nobody's business.
    patch(&["webhooks:write"]).await.expect(200);
    patch(&["users:read", "webhooks:write"]).await.expect(200);
    // What people are told of all of it is.
    for told in [json!({ "name": "Helpers" }), json!({ "description": "Reads." })] {
        world
            .change_role(Method::PATCH, &clerk.token, &role, "*", Some(told.clone()))
            .await
            .refused(403, "escalation");
        world
            .change_role(Method::PATCH, &world.owner, &role, "*", Some(told))
            .await
            .expect(200);
    }
    world
        .change_role(Method::DELETE, &clerk.token, &role, "*", None)
        .await
        .refused(403, "escalation");
}

#[tokio::test]
async fn s27_nobody_gives_or_takes_a_role_that_grants_what_they_do_not_hold() {
    let world = World::new().await;
    let clerk = world.holder("ada", &["roles:write", "users:read"]).await;
    let bob = world.person("bob").await;
    let (less, more) = (
        world.role("Less", &["users:read"]).await,
        world.role("More", &["users:read", "users:write"]).await,
    );
    world.assign(&clerk.token, &bob.id, &less).await.expect(204);
    world.unassign(&clerk.token, &bob.id, &less).await.expect(204);
    // To others, to themselves, and by the names that are built in.
    for role in [
        more.clone(),
        world.builtin("admin").await,
        world.builtin("owner").await,
    ] {
        for user in [&bob.id, &clerk.id] {
            world
                .assign(&clerk.token, user, &role)
                .await
                .refused(403, "escalation");
        }
    }
    world.assign(&world.owner, &bob.id, &more).await.expect(204);
    world
        .unassign(&clerk.token, &bob.id, &more)
        .await
        .refused(403, "escalation");
    // Who lacks the permission to assign does not get so far.
    world
        .assign(&bob.token, &bob.id, &less)
        .await
        .refused(403, "forbidden");
}

#[tokio::test]
async fn s27_an_admin_does_what_an_owner_does_but_decides_over_no_owner() {
    let world = World::new().await;
    let boss = world.builtin_holder("bob", "admin").await;
    let ada = world.person("ada").await;
    let me = world.api.get_as(&world.owner, "/v1/auth/me").await.expect(200);
    let owner_id = text(&me["user"], "id");
    let (owner, admin, member) = (
        world.builtin("owner").await,
        world.builtin("admin").await,
        world.builtin("member").await,
    );
    world.assign(&boss.token, &ada.id, &admin).await.expect(204);
    world.unassign(&boss.token, &ada.id, &admin).await.expect(204);
    for user in [&ada.id, &boss.id, &owner_id] {
        world
            .assign(&boss.token, user, &owner)
            .await
            .refused(403, "escalation");
        world
            .unassign(&boss.token, user, &owner)
            .await
            .refused(403, "escalation");
    }
    for role in [&member, &admin] {
        world
            .assign(&boss.token, &owner_id, role)
            .await
            .refused(403, "escalation");
        world
            .unassign(&boss.token, &owner_id, role)
            .await
            .refused(403, "escalation");
    }
    world.assign(&world.owner, &ada.id, &owner).await.expect(204);
    world.assign(&ada.token, &owner_id, &member).await.expect(204);
}

#[tokio::test]
async fn s27_a_role_that_names_the_platforms_permissions_grants_nothing_outside_the_platform() {
    let world = World::new().await;
    let ada = world.person("ada").await;
    // Behind the server's back, for there is no way through it.
    world
        .api
        .execute(&format!(
            "WITH made AS (
                 INSERT INTO roles (id, tenant_id, name, name_canonical, builtin, permissions, created_at, updated_at)
                 SELECT gen_random_uuid(), id, 'platform owner', 'platform owner', false,
                        '{{tenants:read,tenants:write,users:read}}', now(), now()
                 FROM tenants WHERE slug = 'acme' RETURNING id, tenant_id)
             INSERT INTO role_assignments SELECT tenant_id, '{}', id, now() FROM made",
            ada.id
        ))
        .await;
    let api = Api::start_another(&world.bed).await;
    assert!(super::holds(&api, &ada.token, "users:read").await);
    assert!(!super::holds(&api, &ada.token, "tenants:write").await);
    api.get_as(&ada.token, "/v1/tenants")
        .await
        .refused(403, "forbidden");
    api.post_as(
        &ada.token,
        "/v1/tenants",
        json!({ "slug": "evil", "name": "Evil" }),
    )
    .await
    .refused(403, "forbidden");
}

/// So many more owners of `acme`.
async fn owners(world: &World, count: usize) -> Vec<Person> {
    let mut owners = Vec::new();
    for n in 0..count {
        owners.push(world.builtin_holder(&format!("owner{n}"), "owner").await);
    }
    owners
}

const OWNERS: &str = "SELECT count(*) FROM role_assignments a JOIN roles r ON r.id = a.role_id
    JOIN users u ON u.id = a.user_id JOIN tenants t ON t.id = a.tenant_id
    WHERE t.slug = 'acme' AND r.name = 'owner' AND r.builtin AND u.status = 'active'";

#[tokio::test]
async fn s27_the_last_owner_stays() {
    let world = World::new().await;
    let owner = world.builtin("owner").await;
    let me = world.api.get_as(&world.owner, "/v1/auth/me").await.expect(200);
    let id = text(&me["user"], "id");
    world
        .unassign(&world.owner, &id, &owner)
        .await
        .refused(409, "last_owner");
    // One who cannot sign in does not count.
    let other = world.builtin_holder("ada", "owner").await;
    let bar = format!("UPDATE users SET status = 'disabled' WHERE id = '{}'", other.id);
    world.api.execute(&bar).await;
    world
        .unassign(&world.owner, &id, &owner)
        .await
        .refused(409, "last_owner");
    // And can go.
    world.unassign(&world.owner, &other.id, &owner).await.expect(204);
    assert_eq!(world.api.scalar(OWNERS).await, 1);
    assert!(world.holds(&world.owner, "users:write").await);
}

#[tokio::test]
async fn s27_of_two_owners_who_remove_each_other_one_stays() {
    let world = World::new().await;
    let owner = world.builtin("owner").await;
    let pair = owners(&world, 2).await;
    let me = world.api.get_as(&world.owner, "/v1/auth/me").await.expect(200);
    let first = text(&me["user"], "id");
    world.unassign(&pair[0].token, &first, &owner).await.expect(204);
    for _ in 0..10 {
        let [ada, bob] = &pair[..] else { unreachable!() };
        let (left, right) = futures::join!(
            world.unassign(&ada.token, &bob.id, &owner),
            world.unassign(&bob.token, &ada.id, &owner)
        );
        let (stays, goes, refused) = if left.status == 204 {
            (ada, bob, right)
        } else {
            (bob, ada, left)
        };
        // It was an owner no longer, when it was its turn; or it had lost `roles:write` before it was asked.
        assert_eq!(refused.status, 403, "{refused:?}");
        assert_eq!(world.api.scalar(OWNERS).await, 1);
        world.assign(&stays.token, &goes.id, &owner).await.expect(204);
    }
}

#[tokio::test]
async fn s27_of_owners_who_all_leave_at_once_one_stays() {
    let world = World::new().await;
    let owner = world.builtin("owner").await;
    let mut all = owners(&world, 4).await;
    let me = world.api.get_as(&world.owner, "/v1/auth/me").await.expect(200);
    all.push(Person {
        id: text(&me["user"], "id"),
        token: world.owner.clone(),
    });
    // A hundred at once: each takes it from itself and from every other, four times.
    let pairs = all.iter().flat_map(|by| all.iter().map(move |of| (by, of)));
    let removals = pairs
        .cycle()
        .take(100)
        .map(|(by, of)| world.unassign(&by.token, &of.id, &owner));
    for answer in futures::future::join_all(removals).await {
        assert!([204, 403, 409].contains(&answer.status.as_u16()), "{answer:?}");
    }
    assert_eq!(world.api.scalar(OWNERS).await, 1);
}

#[tokio::test]
async fn s27_of_owners_of_whom_some_leave_and_some_delete_their_account_one_stays() {
    let world = World::new().await;
    let owner = world.builtin("owner").await;
    let mut all = owners(&world, 7).await;
    let me = world.api.get_as(&world.owner, "/v1/auth/me").await.expect(200);
    all.push(Person {
        id: text(&me["user"], "id"),
        token: world.owner.clone(),
    });
    let leave = |(n, person): (usize, &Person)| {
        let (world, owner) = (&world, &owner);
        let (id, token) = (person.id.clone(), person.token.clone());
        async move {
            if n.is_multiple_of(2) {
                return world.unassign(&token, &id, owner).await;
            }
            let delete = world
                .api
                .request(Method::DELETE, "/v1/auth/me")
                .bearer_auth(&token);
            Api::send(delete.json(&json!({ "password": PASSWORD }))).await
        }
    };
    let answers = futures::future::join_all(all.iter().enumerate().map(leave)).await;
    let refused: Vec<_> = answers
        .into_iter()
        .filter(|answer| answer.status != 204)
        .collect();
    assert_eq!(refused.len(), 1, "{refused:?}");
    assert_eq!(refused[0].code(), "last_owner");
    assert_eq!(world.api.scalar(OWNERS).await, 1);
}
