//! Roles: made, changed, deleted.

use reqwest::Method;
use sea_orm::{ConnectionTrait, Database, TransactionTrait};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{World, names, problem};
use crate::support::{Api, text};

#[tokio::test]
async fn a_role_is_made_read_changed_and_deleted() {
    let world = World::new().await;
    let (api, owner) = (&world.api, &world.owner);
    let body = json!({ "name": " Support ", "description": "Looks after customers",
                       "permissions": ["users:read", "roles:read", "users:read"] });
    let created = api.post_as(owner, "/v1/roles", body).await;
    assert_eq!(created.headers["etag"], "\"1\"");
    let location = created.headers["location"].to_str().unwrap().to_owned();
    let role = created.expect(201);
    let id = text(&role, "id");
    assert_eq!(location, format!("/v1/roles/{id}"));
    assert_eq!(role["name"], "Support");
    assert_eq!(role["permissions"], json!(["roles:read", "users:read"]));
    assert_eq!(role["builtin"], false);

    let read = api.get_as(owner, &location).await;
    assert_eq!(read.headers["etag"], "\"1\"");
    assert_eq!(read.expect(200), role);

    let patch = json!({ "description": null, "permissions": ["users:read"] });
    let without = api
        .request(Method::PATCH, &location)
        .bearer_auth(owner)
        .json(&patch);
    Api::send(without).await.refused(428, "precondition_required");
    world
        .change_role(Method::PATCH, owner, &id, "1", Some(patch.clone()))
        .await
        .refused(400, "invalid_parameter");
    world
        .change_role(Method::PATCH, owner, &id, "\"7\"", Some(patch.clone()))
        .await
        .refused(412, "precondition_failed");
    let changed = world
        .change_role(Method::PATCH, owner, &id, "\"1\"", Some(patch))
        .await;
    assert_eq!(changed.headers["etag"], "\"2\"");
    let changed = changed.expect(200);
    assert_eq!(
        (&changed["name"], &changed["description"], &changed["permissions"]),
        (&json!("Support"), &Value::Null, &json!(["users:read"]))
    );
    // A change that changes nothing is none.
    let same = world
        .change_role(
            Method::PATCH,
            owner,
            &id,
            "\"2\"",
            Some(json!({ "name": "Support" })),
        )
        .await;
    assert_eq!(same.headers["etag"], "\"2\"");

    let delete = |tag| world.change_role(Method::DELETE, owner, &id, tag, None);
    delete("\"1\"").await.refused(412, "precondition_failed");
    delete("*").await.expect(204);
    delete("*").await.refused(404, "not_found");
    api.get_as(owner, &location).await.refused(404, "not_found");
    let audited =
        "SELECT count(*) FROM audit_events WHERE action IN ('role.create', 'role.update', 'role.delete')";
    assert_eq!(api.scalar(audited).await, 3);
}

#[tokio::test]
async fn a_name_is_taken_whatever_its_case_and_a_built_in_one_always_is() {
    let world = World::new().await;
    let support = world.role("Support", &[]).await;
    let create = |name: &str| {
        let body = json!({ "name": name, "permissions": [] });
        let world = &world;
        async move { world.api.post_as(&world.owner, "/v1/roles", body).await }
    };
    for taken in [
        "Support",
        "sUPPORT",
        " support\t",
        "owner",
        "Admin",
        "ＭＥＭＢＥＲ",
    ] {
        let problem = create(taken).await.refused(409, "name_taken");
        assert_eq!(problem["errors"][0]["pointer"], "/name", "{taken}");
    }
    for invalid in ["   ", "own\u{200b}er", "a\nb"] {
        let problem = create(invalid).await.refused(422, "validation_failed");
        assert_eq!(problem["errors"][0]["pointer"], "/name", "{invalid}");
    }
    // A tenant's names are its own business.
    let (globex, _) = world.globex().await;
    let body = json!({ "name": "Support", "permissions": [] });
    world.api.post_as(&globex, "/v1/roles", body).await.expect(201);

    let other = world.role("Other", &[]).await;
    let rename = |role: String, name: &str| {
        let body = json!({ "name": name });
        let world = &world;
        async move {
            world
                .change_role(Method::PATCH, &world.owner, &role, "*", Some(body))
                .await
        }
    };
    rename(other.clone(), "SUPPORT").await.refused(409, "name_taken");
    rename(other, "Owner").await.refused(409, "name_taken");
    assert_eq!(rename(support, "SUPPORT").await.expect(200)["name"], "SUPPORT");
}

#[tokio::test]
async fn built_in_roles_show_what_they_grant_and_stay_as_they_are() {
    let world = World::new().await;
    let (api, owner) = (&world.api, &world.owner);
    for name in ["owner", "admin", "member"] {
        let id = world.builtin(name).await;
        let role = api.get_as(owner, &format!("/v1/roles/{id}")).await.expect(200);
        let granted = role["permissions"].as_array().unwrap();
        assert_eq!(role["builtin"], true);
        assert_eq!(
            granted.contains(&json!("users:write")),
            name != "member",
            "{name}"
        );
        assert!(!granted.contains(&json!("tenants:write")), "{name}");
        for (method, body) in [
            (Method::PATCH, Some(json!({ "permissions": [] }))),
            (Method::PATCH, Some(json!({ "name": "Boss" }))),
            (Method::DELETE, None),
        ] {
            world
                .change_role(method, owner, &id, "*", body)
                .await
                .refused(409, "built_in");
        }
    }
    let roles = api.get_as(&world.admin, "/v1/roles").await.expect(200);
    let granted = roles["data"].as_array().unwrap().iter().filter(|role| {
        role["permissions"]
            .as_array()
            .unwrap()
            .contains(&json!("tenants:write"))
    });
    assert_eq!(granted.count(), 2, "the platform's owner and admin");
}

#[tokio::test]
async fn s25_a_permission_that_is_not_there_is_named_by_its_place_whosesoever_it_is() {
    let world = World::new().await;
    let (globex, _) = world.globex().await;
    let permission = json!({ "name": "invoices:approve" });
    world
        .api
        .post_as(&globex, "/v1/permissions", permission)
        .await
        .expect(201);
    let create = |unknown: &str| {
        let body = json!({ "name": "Role", "permissions": ["users:read", unknown, "no:such"] });
        let world = &world;
        async move {
            let answer = world.api.post_as(&world.owner, "/v1/roles", body).await;
            assert_eq!(answer.status, 422, "{answer:?}");
            problem(answer)
        }
    };
    let made_up = create("invoices:made_up").await;
    let pointers: Vec<&Value> = made_up["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|error| &error["pointer"])
        .collect();
    assert_eq!(pointers, ["/permissions/1", "/permissions/2"]);
    // Another tenant's, and the platform's.
    assert_eq!(create("invoices:approve").await, made_up);
    assert_eq!(create("tenants:write").await, made_up);
}

#[tokio::test]
async fn of_100_changes_of_one_version_at_once_one_is_made() {
    let world = World::new().await;
    let id = world.role("Role", &[]).await;
    let changes = (0..100).map(|n| {
        let body = json!({ "description": format!("change {n}") });
        world.change_role(Method::PATCH, &world.owner, &id, "\"1\"", Some(body))
    });
    let answers = futures::future::join_all(changes).await;
    let (made, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(|answer| answer.status == 200);
    assert_eq!(made.len(), 1);
    for answer in refused {
        answer.refused(412, "precondition_failed");
    }
    let role = world.api.get_as(&world.owner, &format!("/v1/roles/{id}")).await;
    assert_eq!(role.headers["etag"], "\"2\"");
    assert_eq!(role.json()["description"], made[0].json()["description"]);
}

#[tokio::test]
async fn of_100_roles_of_one_name_at_once_one_is_made() {
    let world = World::new().await;
    let create = |n: usize| {
        let name = if n.is_multiple_of(2) { "Role" } else { "ROLE" };
        let body = json!({ "name": name, "permissions": [] });
        let world = &world;
        async move { world.api.post_as(&world.owner, "/v1/roles", body).await }
    };
    let answers = futures::future::join_all((0..100).map(create)).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 201).count(), 1);
    assert_eq!(answers.iter().filter(|answer| answer.status == 409).count(), 99);
}

#[tokio::test]
async fn roles_are_listed_newest_first_page_by_page() {
    let world = World::new().await;
    for name in ["one", "two", "three"] {
        world.role(name, &[]).await;
    }
    let first = world
        .api
        .get_as(&world.owner, "/v1/roles?limit=4")
        .await
        .expect(200);
    assert_eq!(names(&first)[..3], ["three", "two", "one"]);
    let next = format!("/v1/roles?limit=4&cursor={}", text(&first, "next_cursor"));
    let next = world.api.get_as(&world.owner, &next).await.expect(200);
    assert_eq!((names(&next).len(), &next["has_more"]), (2, &json!(false)));
    world
        .api
        .get_as(&world.owner, "/v1/roles?cursor=nonsense")
        .await
        .refused(400, "invalid_cursor");
}

#[tokio::test]
async fn s25_another_tenants_role_answers_as_an_absent_one() {
    let world = World::new().await;
    let (_, theirs) = world.globex().await;
    let nobodys = Uuid::nil().to_string();
    for (method, body) in [
        (Method::GET, None),
        (Method::PATCH, Some(json!({ "name": "Mine" }))),
        (Method::DELETE, None),
    ] {
        let send = |role: String| {
            let (method, body) = (method.clone(), body.clone());
            let world = &world;
            async move {
                let answer = world.change_role(method, &world.owner, &role, "*", body).await;
                assert_eq!(answer.status, 404, "{answer:?}");
                problem(answer)
            }
        };
        assert_eq!(
            send(theirs.clone()).await,
            send(nobodys.clone()).await,
            "{method}"
        );
    }
    let kept = "SELECT count(*) FROM roles WHERE name = 'Theirs'";
    assert_eq!(world.api.scalar(kept).await, 1);
}

#[tokio::test]
async fn a_tenant_has_so_many_roles_of_its_own_and_no_more() {
    let world = World::new().await;
    world
        .api
        .execute(
            "INSERT INTO roles (id, tenant_id, name, name_canonical, builtin, created_at, updated_at)
             SELECT gen_random_uuid(), id, 'role ' || n, 'role ' || n, false, now(), now()
             FROM tenants, generate_series(1, 199) n WHERE slug = 'acme'",
        )
        .await;
    let create = |n: usize| {
        let body = json!({ "name": format!("new {n}"), "permissions": [] });
        let world = &world;
        async move { world.api.post_as(&world.owner, "/v1/roles", body).await }
    };
    let answers = futures::future::join_all((0..20).map(create)).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 201).count(), 1);
    for answer in answers.into_iter().filter(|answer| answer.status != 201) {
        answer.refused(409, "limit_reached");
    }
}

#[tokio::test]
async fn a_role_that_is_renamed_stays_the_one_that_the_policy_on_second_factors_means() {
    let world = World::new().await;
    let id = world.role("Billing", &[]).await;
    let person = world.person("ada").await;
    world.assign(&world.owner, &person.id, &id).await.expect(204);
    world
        .api
        .execute(
            r#"UPDATE tenants SET settings = settings || '{"mfa": {"requirement": "required_for_roles", "roles": ["Other", "Billing"]}}'
               WHERE slug = 'acme'"#,
        )
        .await;
    let renamed = json!({ "name": "Finance" });
    world
        .change_role(Method::PATCH, &world.owner, &id, "*", Some(renamed))
        .await
        .expect(200);
    world
        .api
        .get_as(&person.token, "/v1/sessions")
        .await
        .refused(403, "mfa_enrollment_required");
    let kept = r#"SELECT count(*) FROM tenants WHERE settings -> 'mfa' -> 'roles' = '["Other", "Finance"]'"#;
    assert_eq!(world.api.scalar(kept).await, 1);
    let told = "SELECT count(*) FROM audit_events WHERE action = 'tenant.settings.update' AND detail -> 'renamed_role' ->> 'after' = 'Finance'";
    assert_eq!(world.api.scalar(told).await, 1);
}

async fn set_policy(world: &World, policy: Value) -> Value {
    let body = json!({ "mfa": policy });
    let patch = world.api.request(Method::PATCH, "/v1/tenant/settings");
    let patch = patch.bearer_auth(&world.owner).header("if-match", "*");
    Api::send(patch.json(&body)).await.expect(200)
}

#[tokio::test]
async fn s16_a_role_that_a_policy_comes_to_name_stays_the_one_it_means() {
    let world = World::new().await;
    let db = Database::connect(&world.bed.owner_url).await.unwrap();
    for (name, change) in [("Billing", Some(json!({ "name": "Finance" }))), ("Audit", None)] {
        let id = world.role(name, &[]).await;
        // The settings have looked the role up, and are not committed.
        let held = db.begin().await.unwrap();
        held.execute_unprepared("LOCK TABLE audit_events IN SHARE MODE")
            .await
            .unwrap();
        let role = async {
            world.api.until_waiting(1).await;
            let method = change.as_ref().map_or(Method::DELETE, |_| Method::PATCH);
            world
                .change_role(method, &world.owner, &id, "*", change.clone())
                .await
        };
        let release = async {
            world.api.until_waiting(2).await;
            held.rollback().await.unwrap();
        };
        let policy = json!({ "requirement": "required_for_roles", "roles": [name] });
        let (_, role, ()) = tokio::join!(set_policy(&world, policy), role, release);
        if change.is_some() {
            role.expect(200);
            let named = r#"SELECT count(*) FROM tenants WHERE settings -> 'mfa' -> 'roles' = '["Finance"]'"#;
            assert_eq!(world.api.scalar(named).await, 1);
        } else {
            role.refused(409, "role_in_policy");
            let there = world.api.get_as(&world.owner, &format!("/v1/roles/{id}")).await;
            assert_eq!(there.expect(200)["name"], name);
            set_policy(&world, Value::Null).await;
            world
                .change_role(Method::DELETE, &world.owner, &id, "*", None)
                .await
                .expect(204);
        }
    }
}
