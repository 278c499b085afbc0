//! Endpoints that fail for days are turned off, and who has to know hears of it.

use latchkey_shared::{
    partition,
    principal::Origin,
    webhook::{self, Endpoint, EndpointPatch},
};
use latchkey_testing::{Answer, Mailbox, Receiver};
use serde_json::json;

use crate::world::World;

const DAY: i64 = 24 * 3600;

async fn look(world: &World, endpoint: &Endpoint) -> Endpoint {
    webhook::get_endpoint(world.context(), &world.proof(), endpoint.id)
        .await
        .unwrap()
}

/// Publishes and waits until the call has failed, however old the events before are.
async fn fails(world: &World, receiver: &Receiver) {
    let failed = "SELECT count(*) FROM attempts";
    let before = world.count(failed).await;
    receiver.answer([Answer::status(500)]);
    world.publish("order.placed", json!({})).await;
    receiver.next().await;
    while world.count(failed).await == before {
        tokio::task::yield_now().await;
    }
}

async fn add_owner(world: &World, email: &str) {
    let tenant = world.tenant;
    world
        .execute(&format!(
            "WITH owner AS (
                 INSERT INTO roles (id, tenant_id, name, name_canonical, builtin, created_at, updated_at)
                 VALUES (gen_random_uuid(), '{tenant}', 'owner', 'owner', true, now(), now()) RETURNING id),
             person AS (
                 INSERT INTO users (id, tenant_id, email, email_canonical, password_hash, status, created_at, updated_at)
                 VALUES (gen_random_uuid(), '{tenant}', '{email}', '{email}', '!', 'active', now(), now()) RETURNING id)
             INSERT INTO role_assignments (tenant_id, user_id, role_id, created_at)
             SELECT '{tenant}', person.id, owner.id, now() FROM person, owner"
        ))
        .await;
}

#[tokio::test]
async fn five_days_of_failures_turn_an_endpoint_off_and_its_owners_hear_of_it() {
    // One call for each event: only what is published here fails.
    let world = World::with(&[("webhooks.schedule", "8640000")]).await;
    let (failing, other) = (Receiver::start().await, Receiver::start().await);
    add_owner(&world, "olive@example.com").await;
    let endpoint = world
        .endpoint_for(&failing.url("/?token=secret"), &["order.placed"])
        .await
        .endpoint;
    world
        .endpoint_for(&other.url("/"), &["webhook.endpoint.disabled"])
        .await;
    // Those that a worker would be making while the clock here leaps over days.
    partition::make_ahead(world.context()).await.unwrap();
    let worker = world.worker().await;

    fails(&world, &failing).await;
    while look(&world, &endpoint).await.failing_since.is_none() {
        tokio::task::yield_now().await;
    }
    world.advance(5 * DAY - 60);
    fails(&world, &failing).await;
    assert!(look(&world, &endpoint).await.enabled, "not yet");
    world.advance(120);
    fails(&world, &failing).await;

    let told = other.next().await.json();
    assert_eq!(told["data"]["reason"], "failing");
    let seen = look(&world, &endpoint).await;
    assert_eq!(
        (seen.enabled, seen.disabled_reason.as_deref()),
        (false, Some("failing"))
    );
    let mail = Mailbox::new(world.bed.mails.path())
        .wait("olive@example.com", 1)
        .await;
    worker.stop().await;
    assert!(
        mail.text.contains("every call has failed for days"),
        "{}",
        mail.raw
    );
    assert!(!mail.raw.contains("secret"), "{}", mail.raw);
    let left = "SELECT count(*) FROM deliveries WHERE state = 'pending'";
    assert_eq!(world.count(left).await, 0);

    let on = EndpointPatch {
        enabled: Some(true),
        ..EndpointPatch::default()
    };
    let again = webhook::update_endpoint(
        world.context(),
        &world.proof(),
        &Origin::default(),
        endpoint.id,
        on,
    )
    .await
    .unwrap();
    assert_eq!((again.failing_since, again.disabled_reason), (None, None));
}

#[tokio::test]
async fn one_success_begins_the_days_anew() {
    let world = World::with(&[("webhooks.schedule", "8640000")]).await;
    let receiver = Receiver::start().await;
    let endpoint = world.endpoint(&receiver.url("/")).await.endpoint;
    // Those that a worker would be making while the clock here leaps over days.
    partition::make_ahead(world.context()).await.unwrap();
    let worker = world.worker().await;
    fails(&world, &receiver).await;
    while look(&world, &endpoint).await.failing_since.is_none() {
        tokio::task::yield_now().await;
    }
    world.advance(4 * DAY);
    world.publish("order.placed", json!({})).await;
    receiver.next().await;
    while look(&world, &endpoint).await.failing_since.is_some() {
        tokio::task::yield_now().await;
    }
    world.advance(2 * DAY);
    fails(&world, &receiver).await;
    let began = look(&world, &endpoint).await.failing_since;
    worker.stop().await;
    assert!(look(&world, &endpoint).await.enabled);
    assert!(began.is_none_or(|began| began + chrono::TimeDelta::hours(1) > world.context().clock.now()));
}
