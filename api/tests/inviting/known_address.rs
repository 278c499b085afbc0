//! Inviting an address that has an account already: whoever reads the mail gets the roles, and nobody else.

use latchkey_shared::postgres::CrossTenant;
use reqwest::Method;
use sea_orm::ConnectionTrait;
use serde_json::{Value, json};

use super::{ADA, accept, invite, roles_of};
use crate::{
    roles::{Person, World},
    second_factor::pyotp,
    support::{Answer, Api, PASSWORD, ndjson, text},
};

/// What whoever made the account in advance knows.
const MALLORYS: &str = "the password of whoever made it";
/// Of the password "password".
const IMPORTED: &str =
    "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc";
const SECRET: &str = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";

#[tokio::test]
async fn who_has_an_account_gets_the_roles_and_keeps_the_password() {
    let world = World::new().await;
    let bob = world.person("bob").await;
    let support = world.role("Support", &["users:read"]).await;
    invite(&world, &world.owner, "bob@example.com", &[&support])
        .await
        .expect(201);
    let body = json!({ "token": world.api.mailed_token("bob@example.com").await,
                       "password": "another password than before", "name": "Somebody Else" });
    let request = world
        .api
        .request(Method::POST, "/v1/invitations/accept")
        .json(&body);
    let accepted = Api::send(request).await.expect(201);
    assert_eq!(accepted["user"]["id"], bob.id);
    // The session goes on, and knows of the roles; the password is the one it was.
    assert_eq!(world.roles_of(&bob).await, json!(["Support", "member"]));
    assert_eq!(
        roles_of(&world, "bob@example.com").await,
        json!(["Support", "member"])
    );
    let events = "SELECT count(*) FROM events WHERE type = 'invitation.accepted'";
    assert_eq!(world.api.scalar(events).await, 2, "the owner's and Bob's");
}

/// Somebody of `acme` who may make users, and is nobody above the member that ADA is made.
async fn mallory(world: &World) -> Person {
    world.holder("mallory", &["users:read", "users:write"]).await
}

async fn import(world: &World, mallory: &Person, line: Value) {
    let request = world.api.request(Method::POST, "/v1/users/import");
    let request = request
        .bearer_auth(&mallory.token)
        .header("content-type", "application/x-ndjson")
        .body(ndjson([line]));
    let answer = Api::send(request).await;
    assert!(answer.text.contains(r#""status":"created""#), "{answer:?}");
}

async fn login(world: &World, password: &str) -> Answer {
    let body = json!({ "email": ADA, "password": password });
    world.api.post("acme", "/v1/auth/login", body).await
}

/// The owner invites the address to administer the tenant, and its owner accepts.
async fn promote(world: &World) {
    let admin = world.builtin("admin").await;
    invite(world, &world.owner, ADA, &[&admin]).await.expect(201);
    let accepted = accept(world, &world.api.mailed_token(ADA).await)
        .await
        .expect(201);
    assert_eq!(accepted["user"]["email_verified"], true);
}

#[tokio::test]
async fn s27_an_account_that_somebody_made_as_verified_gives_its_maker_nothing_once_its_address_is_invited() {
    let world = World::new().await;
    let mallory = mallory(&world).await;
    let body = json!({ "email": ADA, "password": MALLORYS, "email_verified": true, "name": "Ada" });
    world
        .api
        .post_as(&mallory.token, "/v1/users", body)
        .await
        .expect(201);
    let before = login(&world, MALLORYS).await.expect(200);
    promote(&world).await;
    login(&world, MALLORYS).await.refused(401, "invalid_credentials");
    let session = text(&before, "access_token");
    world
        .api
        .get_as(&session, "/v1/auth/me")
        .await
        .refused(401, "unauthenticated");
    let refresh = json!({ "refresh_token": before["refresh_token"] });
    let refreshed = world.api.request(Method::POST, "/v1/auth/refresh").json(&refresh);
    assert_eq!(Api::send(refreshed).await.status, 401);
    assert_eq!(roles_of(&world, ADA).await, json!(["admin", "member"]));
    let name = "SELECT name FROM users WHERE email = 'ada@new.test'";
    assert_eq!(world.api.scalar_text(name).await, "Ada");
}

#[tokio::test]
async fn s27_an_imported_password_opens_nothing_once_the_address_is_invited_and_the_second_factor_stays() {
    let world = World::new().await;
    let mallory = mallory(&world).await;
    let line =
        json!({ "email": ADA, "email_verified": true, "password_hash": IMPORTED, "totp_secret": SECRET });
    import(&world, &mallory, line).await;
    let challenge = login(&world, "password").await.expect(200);
    let code = pyotp(SECRET, world.bed.context.clock.now());
    let answer = json!({ "mfa_token": challenge["mfa_token"], "method": "totp", "code": code });
    promote(&world).await;
    let begun = world
        .api
        .request(Method::POST, "/v1/auth/mfa/verify")
        .json(&answer);
    assert_eq!(Api::send(begun).await.status, 401);
    login(&world, "password")
        .await
        .refused(401, "invalid_credentials");
    // The mail alone does not pass it, as with a reset: it may be the owner's.
    let challenge = login(&world, PASSWORD).await.expect(200);
    assert_eq!(challenge["status"], "mfa_required");
}

#[tokio::test]
async fn s27_keys_of_an_account_that_no_mail_has_proven_end_when_its_owner_claims_it() {
    let world = World::new().await;
    let maker = world.role("Maker", &["api_keys:write", "api_keys:read"]).await;
    let body = json!({ "email": ADA, "password": PASSWORD, "email_verified": true, "role_ids": [maker] });
    world
        .api
        .post_as(&world.owner, "/v1/users", body)
        .await
        .expect(201);
    let session = text(&world.api.login("acme", ADA).await, "access_token");
    let key = async || {
        let body = json!({ "name": "Kept", "environment": "live", "scopes": ["api_keys:read"] });
        let key = world
            .api
            .post_as(&session, "/v1/api-keys", body)
            .await
            .expect(201);
        text(&key, "key")
    };
    let (first, second) = (key().await, key().await);
    world.api.get_as(&first, "/v1/api-keys").await.expect(200);
    world
        .api
        .post("acme", "/v1/auth/password/forgot", json!({ "email": ADA }))
        .await
        .expect(202);
    let body = json!({ "token": world.api.mailed_token(ADA).await, "new_password": MALLORYS });
    let reset = world
        .api
        .request(Method::POST, "/v1/auth/password/reset")
        .json(&body);
    Api::send(reset).await.expect(204);
    for key in [first, second] {
        let ended = world.api.get_as(&key, "/v1/api-keys").await;
        ended.refused(401, "unauthenticated");
    }
    let told =
        "SELECT count(*) FROM events WHERE type = 'api_key.revoked' AND body LIKE '%account_taken_over%'";
    assert_eq!(world.api.scalar(told).await, 2);
}

#[tokio::test]
async fn an_address_is_claimed_once_and_then_its_account_keeps_its_password() {
    let world = World::new().await;
    let mallory = mallory(&world).await;
    let body = json!({ "email": ADA, "password": MALLORYS, "email_verified": true });
    world
        .api
        .post_as(&mallory.token, "/v1/users", body)
        .await
        .expect(201);
    promote(&world).await;
    let support = world.role("Support", &[]).await;
    invite(&world, &world.owner, ADA, &[&support]).await.expect(201);
    let body = json!({ "token": world.api.mailed_token(ADA).await, "password": MALLORYS });
    let request = world.api.request(Method::POST, "/v1/invitations/accept");
    Api::send(request.json(&body)).await.expect(201);
    assert_eq!(roles_of(&world, ADA).await, json!(["Support", "admin", "member"]));
    let words = "SELECT string_agg(detail->>'account', ' ' ORDER BY created_at) FROM audit_events
                 WHERE action = 'invitation.accept' AND detail->>'account' <> 'made'";
    assert_eq!(world.api.scalar_text(words).await, "claimed kept");
}

#[tokio::test]
async fn s27_an_account_that_leaves_the_address_while_it_is_invited_does_not_take_the_roles_along() {
    let world = World::new().await;
    let bob = world.person("bob").await;
    let support = world.role("Support", &["users:read"]).await;
    invite(&world, &world.owner, "bob@example.com", &[&support])
        .await
        .expect(201);
    let token = world.api.mailed_token("bob@example.com").await;
    let beside = world
        .api
        .context
        .postgres
        .cross_tenant(CrossTenant::Deliver)
        .await;
    let beside = beside.unwrap();
    // The account is being changed, and it is not yet seen what will come of it.
    let held = format!("SELECT 1 FROM users WHERE id = '{}' FOR NO KEY UPDATE", bob.id);
    beside.execute_unprepared(&held).await.unwrap();
    let leave = async {
        world.api.until_waiting(1).await;
        let left = format!(
            "UPDATE users SET email = 'bob@else.test', email_canonical = 'bob@else.test' WHERE id = '{}'",
            bob.id
        );
        beside.execute_unprepared(&left).await.unwrap();
        beside.commit().await.unwrap();
    };
    let (accepted, ()) = futures::join!(accept(&world, &token), leave);
    let accepted = accepted.expect(201);
    assert_ne!(accepted["user"]["id"], bob.id);
    let held = format!(
        "SELECT count(*) FROM role_assignments WHERE user_id = '{}' AND role_id = '{support}'",
        bob.id
    );
    assert_eq!(world.api.scalar(&held).await, 0);
    assert_eq!(roles_of(&world, "bob@example.com").await, json!(["Support"]));
}
