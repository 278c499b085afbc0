//! Inviting: by whom, to what, and until when.

mod known_address;
mod worth;

use chrono::TimeDelta;
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    roles::{World, problem},
    support::{Answer, Api, PASSWORD, text},
};

const ADA: &str = "ada@new.test";

async fn invite(world: &World, token: &str, email: &str, roles: &[&str]) -> Answer {
    let body = json!({ "email": email, "role_ids": roles });
    world.api.post_as(token, "/v1/invitations", body).await
}

async fn accept(world: &World, token: &str) -> Answer {
    let body = json!({ "token": token, "password": PASSWORD });
    let request = world.api.request(Method::POST, "/v1/invitations/accept");
    Api::send(request.json(&body)).await
}

async fn revoke(world: &World, token: &str, id: &str) -> Answer {
    let request = world
        .api
        .request(Method::DELETE, &format!("/v1/invitations/{id}"));
    Api::send(request.bearer_auth(token)).await
}

async fn list(world: &World, query: &str) -> Vec<Value> {
    let path = format!("/v1/invitations{query}");
    let page = world.api.get_as(&world.owner, &path).await.expect(200);
    page["data"].as_array().unwrap().clone()
}

async fn roles_of(world: &World, email: &str) -> Value {
    let token = text(&world.api.login("acme", email).await, "access_token");
    world.api.get_as(&token, "/v1/auth/me").await.expect(200)["roles"].clone()
}

#[tokio::test]
async fn who_is_invited_accepts_and_holds_the_roles() {
    let world = World::new().await;
    let support = world.role("Support", &["users:read"]).await;
    let member = world.builtin("member").await;
    let patch = json!({ "name": "Olivia Owner" });
    let request = world
        .api
        .request(Method::PATCH, "/v1/auth/me")
        .bearer_auth(&world.owner);
    let me = Api::send(request.json(&patch)).await.expect(200);

    let created = invite(
        &world,
        &world.owner,
        "Ada@new.test",
        &[&support, &member, &support],
    )
    .await;
    let location = created.headers["location"].to_str().unwrap().to_owned();
    let created = created.expect(201);
    assert_eq!(location, format!("/v1/invitations/{}", text(&created, "id")));
    assert_eq!(
        (&created["email"], &created["status"]),
        (&json!("Ada@new.test"), &json!("pending"))
    );
    assert_eq!(created["invited_by"], me["user"]["id"]);
    let mut names: Vec<String> = created["roles"]
        .as_array()
        .unwrap()
        .iter()
        .map(|role| text(role, "name"))
        .collect();
    names.sort();
    assert_eq!(names, ["Support", "member"]);
    assert!(
        world.api.mails("Ada@new.test").await[0]
            .text
            .contains("Olivia Owner")
    );
    assert_eq!(
        list(&world, "?status=pending&email=ADA@new.test").await,
        [created]
    );

    let token = world.api.mailed_token("Ada@new.test").await;
    accept(&world, &token).await.expect(201);
    accept(&world, &token).await.refused(400, "invalid_token");
    assert_eq!(roles_of(&world, ADA).await, json!(["Support", "member"]));
    let accepted = list(&world, "?status=accepted&email=ada@new.test").await;
    assert_eq!(accepted.len(), 1);
    assert_ne!(accepted[0]["accepted_at"], Value::Null);
    assert!(list(&world, "?status=pending").await.is_empty());
    let told = "SELECT count(*) FROM events WHERE type = 'role.assigned' AND body LIKE '%Support%'";
    assert_eq!(world.api.scalar(told).await, 1);
}

#[tokio::test]
async fn an_invitation_without_roles_makes_a_member() {
    let world = World::new().await;
    let body = json!({ "email": ADA });
    let created = world
        .api
        .post_as(&world.owner, "/v1/invitations", body)
        .await
        .expect(201);
    assert_eq!(created["roles"][0]["name"], "member");
    accept(&world, &world.api.mailed_token(ADA).await)
        .await
        .expect(201);
    assert_eq!(roles_of(&world, ADA).await, json!(["member"]));
}

#[tokio::test]
async fn s27_nobody_invites_to_what_they_could_not_give() {
    let world = World::new().await;
    let clerk = world.holder("clerk", &["invitations:write", "users:read"]).await;
    let boss = world.builtin_holder("boss", "admin").await;
    let (less, more) = (
        world.role("Less", &["users:read"]).await,
        world.role("More", &["users:write"]).await,
    );
    let (owner, admin) = (world.builtin("owner").await, world.builtin("admin").await);
    invite(&world, &clerk.token, ADA, &[&less]).await.expect(201);
    for role in [&more, &admin, &owner] {
        invite(&world, &clerk.token, ADA, &[&less, role])
            .await
            .refused(403, "escalation");
    }
    invite(&world, &boss.token, ADA, &[&admin]).await.expect(201);
    invite(&world, &boss.token, ADA, &[&owner])
        .await
        .refused(403, "escalation");
    invite(&world, &world.owner, ADA, &[&owner]).await.expect(201);
    assert_eq!(list(&world, "?status=pending").await.len(), 1);
}

#[tokio::test]
async fn a_role_that_is_gone_is_not_given_and_the_invitation_stands() {
    let world = World::new().await;
    let (kept, gone) = (world.role("Kept", &[]).await, world.role("Gone", &[]).await);
    invite(&world, &world.owner, ADA, &[&kept, &gone])
        .await
        .expect(201);
    world
        .change_role(Method::DELETE, &world.owner, &gone, "*", None)
        .await
        .expect(204);
    assert_eq!(
        list(&world, "?status=pending").await[0]["roles"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    accept(&world, &world.api.mailed_token(ADA).await)
        .await
        .expect(201);
    assert_eq!(roles_of(&world, ADA).await, json!(["Kept"]));
}

#[tokio::test]
async fn s25_a_role_that_is_not_there_is_named_by_its_place_whosesoever_it_is() {
    let world = World::new().await;
    let (globex, theirs) = world.globex().await;
    let mine = world.role("Mine", &[]).await;
    let foreign = invite(&world, &world.owner, ADA, &[&mine, &theirs]).await;
    assert_eq!(foreign.status, 422);
    let foreign = problem(foreign);
    assert_eq!(foreign["errors"][0]["pointer"], "/role_ids/1");
    let nobodys = Uuid::nil().to_string();
    assert_eq!(
        foreign,
        problem(invite(&world, &world.owner, ADA, &[&mine, &nobodys]).await)
    );

    let created = invite(&world, &globex, ADA, &[&theirs]).await.expect(201);
    let foreign = revoke(&world, &world.owner, &text(&created, "id")).await;
    assert_eq!(foreign.status, 404);
    assert_eq!(
        problem(foreign),
        problem(revoke(&world, &world.owner, &nobodys).await)
    );
    assert!(list(&world, "?email=ada@new.test").await.is_empty());
}

#[tokio::test]
async fn s09_an_invitation_that_was_taken_back_is_dead_at_once() {
    let world = World::new().await;
    let created = invite(&world, &world.owner, ADA, &[]).await.expect(201);
    let (id, token) = (text(&created, "id"), world.api.mailed_token(ADA).await);
    for _ in 0..2 {
        revoke(&world, &world.owner, &id).await.expect(204);
    }
    accept(&world, &token).await.refused(400, "invalid_token");
    assert_eq!(list(&world, "?status=revoked").await[0]["id"], id);

    invite(&world, &world.owner, ADA, &[]).await.expect(201);
    accept(&world, &world.api.mailed_token(ADA).await)
        .await
        .expect(201);
    let accepted = text(
        &list(&world, "?status=accepted&email=ada@new.test").await[0],
        "id",
    );
    revoke(&world, &world.owner, &accepted)
        .await
        .refused(409, "invitation_accepted");
    let clerk = world.person("clerk").await;
    invite(&world, &clerk.token, ADA, &[])
        .await
        .refused(403, "forbidden");
    revoke(&world, &clerk.token, &id).await.refused(403, "forbidden");
    let answer = world.api.get_as(&clerk.token, "/v1/invitations").await;
    answer.refused(403, "forbidden");
}

#[tokio::test]
async fn s09_a_newer_invitation_takes_the_place_of_the_older() {
    let world = World::new().await;
    invite(&world, &world.owner, ADA, &[]).await.expect(201);
    let older = world.api.mailed_token(ADA).await;
    let support = world.role("Support", &[]).await;
    invite(&world, &world.owner, "ADA@NEW.test", &[&support])
        .await
        .expect(201);
    accept(&world, &older).await.refused(400, "invalid_token");
    accept(&world, &world.api.mailed_token("ADA@new.test").await)
        .await
        .expect(201);
    assert_eq!(roles_of(&world, ADA).await, json!(["Support"]));
    let all: Vec<String> = list(&world, "?email=ada@new.test")
        .await
        .iter()
        .map(|row| text(row, "status"))
        .collect();
    assert_eq!(all, ["accepted", "revoked"]);
}

#[tokio::test]
async fn s09_an_invitation_expires() {
    let world = World::new().await;
    invite(&world, &world.owner, ADA, &[]).await.expect(201);
    let token = world.api.mailed_token(ADA).await;
    world
        .bed
        .clock
        .advance(TimeDelta::days(7) + TimeDelta::seconds(1));
    accept(&world, &token).await.refused(400, "invalid_token");
    let owner = text(&world.api.login("acme", "owner@acme.test").await, "access_token");
    let expired = world
        .api
        .get_as(&owner, "/v1/invitations?status=expired")
        .await
        .expect(200);
    assert_eq!(expired["data"][0]["email"], ADA);
    let pending = world
        .api
        .get_as(&owner, "/v1/invitations?status=pending")
        .await
        .expect(200);
    assert_eq!(pending["data"], json!([]));
    // It is in nobody's way.
    invite(&world, &owner, ADA, &[]).await.expect(201);
    accept(&world, &world.api.mailed_token(ADA).await)
        .await
        .expect(201);
}

#[tokio::test]
async fn s09_of_100_invitations_to_one_address_at_once_one_stays_open() {
    let world = World::with(&[("limits.mail_per_account", "100/60")]).await;
    let answers = futures::future::join_all((0..100).map(|_| invite(&world, &world.owner, ADA, &[]))).await;
    for answer in answers {
        assert_eq!(answer.status, 201, "{answer:?}");
    }
    assert_eq!(list(&world, "?status=pending&limit=100").await.len(), 1);
    let tokens = "SELECT count(*) FROM one_time_tokens WHERE purpose = 'accept_invitation'";
    assert_eq!(world.api.scalar(tokens).await, 1);
}

#[tokio::test]
async fn s09_of_acceptances_and_a_revocation_at_once_either_one_acceptance_counts_or_none() {
    let world = World::new().await;
    let (mut accepted, mut revoked) = (0, 0);
    for round in 0..10 {
        let email = format!("ada{round}@new.test");
        let created = invite(&world, &world.owner, &email, &[]).await.expect(201);
        let (id, token) = (text(&created, "id"), world.api.mailed_token(&email).await);
        let act = |n: usize| {
            let (world, id, token) = (&world, &id, &token);
            async move {
                if n == 2 * round {
                    (true, revoke(world, &world.owner, id).await.status.as_u16())
                } else {
                    (false, accept(world, token).await.status.as_u16())
                }
            }
        };
        let answers = futures::future::join_all((0..20).map(act)).await;
        let taken_back = answers.contains(&(true, 204));
        let made = answers.iter().filter(|answer| **answer == (false, 201)).count();
        assert_eq!(made, usize::from(!taken_back), "{answers:?}");
        assert!(
            answers
                .iter()
                .all(|(_, status)| [201, 204, 400, 409].contains(status)),
            "{answers:?}"
        );
        let exists = format!("SELECT count(*) FROM users WHERE email = '{email}'");
        assert_eq!(world.api.scalar(&exists).await, i64::from(!taken_back));
        if taken_back { revoked += 1 } else { accepted += 1 }
    }
    println!("{accepted} accepted, {revoked} taken back");
}

#[tokio::test]
async fn invitations_are_listed_newest_first_page_by_page() {
    let world = World::new().await;
    for n in 0..3 {
        invite(&world, &world.owner, &format!("ada{n}@new.test"), &[])
            .await
            .expect(201);
    }
    let path = "/v1/invitations?status=pending&limit=2";
    let first = world.api.get_as(&world.owner, path).await.expect(200);
    assert_eq!(first["data"][0]["email"], "ada2@new.test");
    let next = format!("{path}&cursor={}", text(&first, "next_cursor"));
    let next = world.api.get_as(&world.owner, &next).await.expect(200);
    assert_eq!(
        (&next["data"][0]["email"], &next["has_more"]),
        (&json!("ada0@new.test"), &json!(false))
    );
    // The platform's own, by which the tenant's owner came, is nobody's.
    let accepted = list(&world, "?status=accepted").await;
    assert_eq!(accepted[0]["invited_by"], Value::Null);
    for (query, code) in [
        ("status=odd", "invalid_parameter"),
        ("email=odd", "invalid_parameter"),
        ("cursor=odd", "invalid_cursor"),
    ] {
        let answer = world
            .api
            .get_as(&world.owner, &format!("/v1/invitations?{query}"))
            .await;
        answer.refused(400, code);
    }
}

#[tokio::test]
async fn a_tenant_has_so_many_pending_invitations_and_no_more() {
    let world = World::new().await;
    world
        .api
        .execute(
            "INSERT INTO invitations (id, tenant_id, email, email_canonical, role_ids, created_at, expires_at)
             SELECT gen_random_uuid(), id, n || '@many.test', n || '@many.test', '{}', now(), now() + interval '1 day'
             FROM tenants, generate_series(1, 999) n WHERE slug = 'acme'",
        )
        .await;
    invite(&world, &world.owner, ADA, &[]).await.expect(201);
    invite(&world, &world.owner, "bob@new.test", &[])
        .await
        .refused(409, "limit_reached");
    // In the place of another there is room.
    invite(&world, &world.owner, ADA, &[]).await.expect(201);
}
