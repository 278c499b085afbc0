//! Who holds which role.

use serde_json::{Value, json};
use uuid::Uuid;

use super::{World, names, problem};
use crate::support::text;

#[tokio::test]
async fn a_role_is_given_once_and_taken_once() {
    let world = World::new().await;
    let ada = world.person("ada").await;
    let role = world.role("Support", &["users:read"]).await;
    for _ in 0..2 {
        world.assign(&world.owner, &ada.id, &role).await.expect(204);
    }
    assert_eq!(world.roles_of(&ada).await, json!(["Support", "member"]));
    assert!(world.holds(&ada.token, "users:read").await);
    for _ in 0..2 {
        world.unassign(&world.owner, &ada.id, &role).await.expect(204);
    }
    assert_eq!(world.roles_of(&ada).await, json!(["member"]));
    assert!(!world.holds(&ada.token, "users:read").await);
    let events =
        |event: &str| format!("SELECT count(*) FROM events WHERE type = '{event}' AND body LIKE '%{role}%'");
    assert_eq!(world.api.scalar(&events("role.assigned")).await, 1);
    assert_eq!(world.api.scalar(&events("role.unassigned")).await, 1);
    let audited = format!(
        "SELECT count(*) FROM audit_events WHERE action LIKE 'role.%assign' AND target_id = '{}'",
        ada.id
    );
    assert_eq!(world.api.scalar(&audited).await, 2);
}

#[tokio::test]
async fn of_100_assignments_at_once_all_succeed_and_one_is_told_of() {
    let world = World::new().await;
    let ada = world.person("ada").await;
    let role = world.role("Support", &[]).await;
    let answers =
        futures::future::join_all((0..100).map(|_| world.assign(&world.owner, &ada.id, &role))).await;
    assert!(answers.iter().all(|answer| answer.status == 204));
    let told = format!("SELECT count(*) FROM events WHERE type = 'role.assigned' AND body LIKE '%{role}%'");
    assert_eq!(world.api.scalar(&told).await, 1);
}

#[tokio::test]
async fn a_users_roles_are_listed_newest_first_page_by_page() {
    let world = World::new().await;
    let ada = world.person("ada").await;
    for name in ["one", "two"] {
        let role = world.role(name, &[]).await;
        world.assign(&world.owner, &ada.id, &role).await.expect(204);
    }
    let path = format!("/v1/users/{}/roles?limit=2", ada.id);
    let first = world.api.get_as(&world.owner, &path).await.expect(200);
    assert_eq!(names(&first), ["two", "one"]);
    let next = format!("{path}&cursor={}", text(&first, "next_cursor"));
    let next = world.api.get_as(&world.owner, &next).await.expect(200);
    assert_eq!(
        (names(&next), &next["next_cursor"]),
        (vec!["member".to_owned()], &Value::Null)
    );
    world
        .api
        .get_as(&ada.token, &path)
        .await
        .refused(403, "forbidden");
}

#[tokio::test]
async fn a_role_that_goes_is_taken_from_whoever_holds_it() {
    let world = World::new().await;
    let role = world.role("Support", &["users:read"]).await;
    let body = json!({ "name": "CI", "role_ids": [role] });
    let machine = world
        .api
        .post_as(&world.owner, "/v1/service-accounts", body)
        .await
        .expect(201);
    let machine = text(&machine, "id");
    let (ada, bob) = (world.person("ada").await, world.person("bob").await);
    for person in [&ada, &bob] {
        world.assign(&world.owner, &person.id, &role).await.expect(204);
        assert!(world.holds(&person.token, "users:read").await);
    }
    world
        .change_role(reqwest::Method::DELETE, &world.owner, &role, "*", None)
        .await
        .expect(204);
    for person in [&ada, &bob] {
        assert_eq!(world.roles_of(person).await, json!(["member"]));
    }
    let named = format!(
        "SELECT count(*) FROM audit_events WHERE action = 'role.delete' AND detail -> 'service_account_ids' = '[\"{machine}\"]'"
    );
    assert_eq!(world.api.scalar(&named).await, 1);
    let told = format!("SELECT count(*) FROM events WHERE type = 'role.unassigned' AND body LIKE '%{role}%'");
    assert_eq!(world.api.scalar(&told).await, 2);
}

#[tokio::test]
async fn a_role_that_goes_while_it_is_given_is_nobodys() {
    let world = World::new().await;
    let ada = world.person("ada").await;
    for round in 0..5 {
        let role = world.role(&format!("role {round}"), &[]).await;
        let act = |n: usize| {
            let (world, ada, role) = (&world, &ada, &role);
            async move {
                if n == 5 {
                    let method = reqwest::Method::DELETE;
                    return world.change_role(method, &world.owner, role, "*", None).await;
                }
                world.assign(&world.owner, &ada.id, role).await
            }
        };
        for answer in futures::future::join_all((0..20).map(act)).await {
            assert!(answer.status == 204 || answer.status == 422, "{answer:?}");
        }
    }
    assert_eq!(world.roles_of(&ada).await, json!(["member"]));
}

#[tokio::test]
async fn s25_ids_of_another_tenant_answer_as_absent_ones_in_path_and_body() {
    let world = World::new().await;
    let (globex, theirs) = world.globex().await;
    let stranger = text(
        &world.api.get_as(&globex, "/v1/auth/me").await.expect(200)["user"],
        "id",
    );
    let (ada, mine) = (world.person("ada").await, world.role("Mine", &[]).await);
    let nobody = Uuid::nil().to_string();

    let assign = |user: String, role: String| {
        let world = &world;
        async move { problem(world.assign(&world.owner, &user, &role).await) }
    };
    let foreign = assign(stranger.clone(), mine.clone()).await;
    assert_eq!(foreign["status"], 404);
    assert_eq!(foreign, assign(nobody.clone(), mine.clone()).await);
    let foreign = assign(ada.id.clone(), theirs.clone()).await;
    assert_eq!(
        (&foreign["status"], &foreign["errors"][0]["pointer"]),
        (&json!(422), &json!("/role_id"))
    );
    assert_eq!(foreign, assign(ada.id.clone(), nobody.clone()).await);

    let unassign = |user: String, role: String| {
        let world = &world;
        async move {
            let answer = world.unassign(&world.owner, &user, &role).await;
            assert_eq!(answer.status, 404, "{answer:?}");
            problem(answer)
        }
    };
    assert_eq!(
        unassign(stranger.clone(), mine.clone()).await,
        unassign(nobody.clone(), mine).await
    );
    assert_eq!(
        unassign(ada.id.clone(), theirs).await,
        unassign(ada.id, nobody.clone()).await
    );

    let list = |user: String| {
        let world = &world;
        async move {
            let path = format!("/v1/users/{user}/roles");
            let answer = world.api.get_as(&world.owner, &path).await;
            assert_eq!(answer.status, 404, "{answer:?}");
            problem(answer)
        }
    };
    assert_eq!(list(stranger).await, list(nobody).await);
}

#[tokio::test]
async fn a_user_holds_so_many_roles_and_no_more() {
    let world = World::new().await;
    let ada = world.person("ada").await;
    world
        .api
        .execute(&format!(
            "WITH made AS (
                 INSERT INTO roles (id, tenant_id, name, name_canonical, builtin, created_at, updated_at)
                 SELECT gen_random_uuid(), id, 'role ' || n, 'role ' || n, false, now(), now()
                 FROM tenants, generate_series(1, 48) n WHERE slug = 'acme' RETURNING id, tenant_id)
             INSERT INTO role_assignments SELECT tenant_id, '{}', id, now() FROM made",
            ada.id
        ))
        .await;
    let (fits, beyond) = (world.role("fits", &[]).await, world.role("beyond", &[]).await);
    world.assign(&world.owner, &ada.id, &fits).await.expect(204);
    world
        .assign(&world.owner, &ada.id, &beyond)
        .await
        .refused(409, "limit_reached");
    world.assign(&world.owner, &ada.id, &fits).await.expect(204);
}
