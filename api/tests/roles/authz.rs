//! The answer to who may do what.

use serde_json::{Value, json};
use uuid::Uuid;

use super::World;
use crate::support::{Api, text};

async fn check(api: &Api, token: &str, body: Value) -> Value {
    api.post_as(token, "/v1/authz/check", body).await.expect(200)
}

#[tokio::test]
async fn a_service_learns_what_it_and_others_may_do() {
    let world = World::new().await;
    let service = world.holder("service", &["authz:check", "users:read"]).await;
    let ada = world.holder("ada", &["users:write"]).await;
    let ask = |body| check(&world.api, &service.token, body);
    assert_eq!(
        ask(json!({ "permission": "users:read" })).await,
        json!({ "allowed": true })
    );
    assert_eq!(
        ask(json!({ "permission": "users:write" })).await,
        json!({ "allowed": false })
    );
    assert_eq!(
        ask(json!({ "permission": "users:write", "user_id": ada.id })).await,
        json!({ "allowed": true })
    );
    let checks = json!({ "checks": [
        { "permission": "users:write", "user_id": ada.id },
        { "permission": "users:read", "user_id": ada.id },
        { "permission": "users:read" },
    ] });
    assert_eq!(
        ask(checks).await,
        json!({ "allowed": false, "results": [{ "allowed": true }, { "allowed": false }, { "allowed": true }] })
    );
    let all = json!({ "checks": [{ "permission": "users:read" }] });
    assert_eq!(
        ask(all).await,
        json!({ "allowed": true, "results": [{ "allowed": true }] })
    );
    world
        .api
        .post_as(
            &ada.token,
            "/v1/authz/check",
            json!({ "permission": "users:write" }),
        )
        .await
        .refused(403, "forbidden");
}

#[tokio::test]
async fn s25_of_who_is_not_there_is_disabled_or_elsewhere_the_answer_is_the_same() {
    let world = World::new().await;
    let service = world.holder("service", &["authz:check"]).await;
    let (globex, _) = world.globex().await;
    let stranger = text(
        &world.api.get_as(&globex, "/v1/auth/me").await.expect(200)["user"],
        "id",
    );
    let bob = world.holder("bob", &["users:read"]).await;
    let bar = format!("UPDATE users SET status = 'disabled' WHERE id = '{}'", bob.id);
    world.api.execute(&bar).await;
    let api = Api::start_another(&world.bed).await;
    for user in [stranger, bob.id, Uuid::nil().to_string()] {
        let body = json!({ "permission": "users:read", "user_id": user });
        assert_eq!(
            check(&api, &service.token, body).await,
            json!({ "allowed": false })
        );
    }
    let unknown = json!({ "permission": "no:such" });
    assert_eq!(
        check(&api, &service.token, unknown).await,
        json!({ "allowed": false })
    );
}

#[tokio::test]
async fn a_question_that_is_none_or_two_is_refused() {
    let world = World::new().await;
    let many: Vec<Value> = (0..101).map(|_| json!({ "permission": "a:b" })).collect();
    for (body, pointer) in [
        (json!({}), "/permission"),
        (json!({ "user_id": Uuid::nil() }), "/permission"),
        (
            json!({ "permission": "a:b", "checks": [{ "permission": "a:b" }] }),
            "/checks",
        ),
        (json!({ "checks": [] }), "/checks"),
        (json!({ "checks": many }), "/checks"),
        (
            json!({ "checks": [{ "user_id": Uuid::nil() }] }),
            "/checks/0/permission",
        ),
        (json!({ "permission": "a:b", "user_id": "ada" }), "/user_id"),
    ] {
        let problem = world
            .api
            .post_as(&world.owner, "/v1/authz/check", body)
            .await
            .refused(422, "validation_failed");
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{problem}");
    }
}

#[tokio::test]
async fn s21_an_answer_follows_a_change_of_roles_on_every_process_within_a_second() {
    let world = World::new().await;
    let second = Api::start_another(&world.bed).await;
    let ada = world.person("ada").await;
    let role = world.role("Support", &["users:read"]).await;
    let body = json!({ "permission": "users:read", "user_id": ada.id });
    let allowed = async || check(&second, &world.owner, body.clone()).await["allowed"] == true;
    assert!(!allowed().await);
    for held in [true, false] {
        if held {
            world.assign(&world.owner, &ada.id, &role).await.expect(204);
        } else {
            world.unassign(&world.owner, &ada.id, &role).await.expect(204);
        }
        let started = std::time::Instant::now();
        while allowed().await != held {
            assert!(started.elapsed().as_secs() < 1, "still {}", !held);
        }
    }
}
