//! Endpoints that fail for days are turned off, and who has to know hears of it.

use std::time::{Duration, Instant};

use latchkey_shared::{
    entity::DeliveryState,
    partition,
    principal::Origin,
    webhook::{self, Endpoint, EndpointPatch, WebhookError},
};
use latchkey_testing::{Answer, Mailbox, Receiver};
use sea_orm::{ConnectionTrait, TransactionTrait};
use serde_json::json;

use crate::{prove_retention::owner, world::World};

const DAY: i64 = 24 * 3600;

async fn look(world: &World, endpoint: &Endpoint) -> Endpoint {
    webhook::get_endpoint(world.context(), &world.proof(), endpoint.id)
        .await
        .unwrap()
}

/// Publishes and waits until a call has failed, however old the events before are.
async fn fails(world: &World, receiver: &Receiver) {
    fail(world, receiver, 1).await;
}

/// As [`fails`], with all the attempts of a schedule with one wait.
async fn fails_for_good(world: &World, receiver: &Receiver) {
    fail(world, receiver, 2).await;
}

async fn fail(world: &World, receiver: &Receiver, attempts: i64) {
    let failed = "SELECT count(*) FROM attempts";
    let before = world.count(failed).await;
    receiver.answer((0..attempts).map(|_| Answer::status(500)));
    world.publish("order.placed", json!({})).await;
    for _ in 0..attempts {
        receiver.next().await;
    }
    while world.count(failed).await < before + attempts {
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
    let world = World::with(&[("webhooks.schedule", "0.01")]).await;
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

    fails_for_good(&world, &failing).await;
    while look(&world, &endpoint).await.failing_since.is_none() {
        tokio::task::yield_now().await;
    }
    world.advance(5 * DAY - 60);
    fails_for_good(&world, &failing).await;
    assert!(look(&world, &endpoint).await.enabled, "not yet");
    world.advance(120);
    fails_for_good(&world, &failing).await;

    let told = other.next().await.json();
    assert_eq!(told["data"]["reason"], "failing");
    // A path may be all that keeps others from calling: it is not for the tenant's other receivers.
    assert_eq!(told["data"]["url"], json!(failing.url("/").trim_end_matches('/')));
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

/// Nobody knows how it was in between.
#[tokio::test]
async fn a_failure_after_days_without_a_call_turns_off_nothing() {
    // One call for each event: only what is published here fails.
    let world = World::with(&[("webhooks.schedule", "8640000")]).await;
    let receiver = Receiver::start().await;
    let endpoint = world.endpoint(&receiver.url("/")).await.endpoint;
    partition::make_ahead(world.context()).await.unwrap();
    let worker = world.worker().await;
    fails(&world, &receiver).await;
    while look(&world, &endpoint).await.failing_since.is_none() {
        tokio::task::yield_now().await;
    }
    world.advance(7 * DAY);
    fails(&world, &receiver).await;
    worker.stop().await;
    assert!(look(&world, &endpoint).await.enabled);
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

async fn patched(world: &World, endpoint: &Endpoint, patch: EndpointPatch) {
    let (context, proof) = (world.context(), world.proof());
    webhook::update_endpoint(context, &proof, &Origin::default(), endpoint.id, patch)
        .await
        .unwrap();
}

#[tokio::test]
async fn more_than_one_transaction_holds_is_cancelled_when_an_endpoint_goes_off() {
    const MANY: usize = 12_000;
    let world = World::new().await;
    let endpoint = world.endpoint("http://127.0.0.1:9/").await.endpoint;
    world.backlog(MANY, 0).await;
    let off = EndpointPatch {
        enabled: Some(false),
        ..EndpointPatch::default()
    };
    let deadline = Instant::now() + Duration::from_secs(20);
    patched(&world, &endpoint, off).await;
    let said = format!("SELECT count(*) FROM events WHERE body LIKE '%\"cancelled_deliveries\":{MANY}%'");
    assert_eq!(world.count(&said).await, 1);
    let cancelled = "SELECT count(*) FROM deliveries WHERE state = 'cancelled'";
    while world.count(cancelled).await < i64::try_from(MANY).unwrap() {
        assert!(Instant::now() < deadline, "the rest waits");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn what_waited_when_an_endpoint_went_off_is_not_sent_when_it_is_on_again() {
    const MANY: usize = 12_000;
    let (world, receiver) = (World::new().await, Receiver::start().await);
    let endpoint = world.endpoint(&receiver.url("/")).await.endpoint;
    world.backlog(MANY, 0).await;
    // As a process leaves it that ends before it has cancelled the first.
    world
        .execute("UPDATE webhook_endpoints SET enabled = false")
        .await;
    let on = EndpointPatch {
        enabled: Some(true),
        ..EndpointPatch::default()
    };
    patched(&world, &endpoint, on).await;
    let cancelled = "SELECT count(*) FROM deliveries WHERE state = 'cancelled'";
    assert_eq!(world.count(cancelled).await, i64::try_from(MANY).unwrap());
    let worker = world.worker().await;
    let wanted = world.publish("order.placed", json!({})).await;
    assert_eq!(receiver.next().await.header("webhook-id"), wanted.to_string());
    worker.stop().await;
    assert!(receiver.rest().await.is_empty());
}

#[tokio::test]
async fn an_endpoint_is_not_turned_on_while_much_of_what_waited_is_yet_to_be_cancelled() {
    // Three times what one transaction cancels, and the first of them is held for longer than anybody waits.
    const MANY: usize = 12_000;
    let world = World::new().await;
    let endpoint = world.endpoint("http://127.0.0.1:9/").await.endpoint;
    world.backlog(MANY, 0).await;
    world
        .execute("UPDATE webhook_endpoints SET enabled = false")
        .await;
    let held = owner(&world).await.begin().await.unwrap();
    let first = "SELECT id FROM deliveries ORDER BY id LIMIT 1 FOR UPDATE";
    held.execute_unprepared(first).await.unwrap();
    let on = || EndpointPatch {
        enabled: Some(true),
        ..EndpointPatch::default()
    };
    let release = async {
        tokio::time::sleep(Duration::from_millis(3_500)).await;
        held.rollback().await.unwrap();
    };
    let (proof, origin) = (world.proof(), Origin::default());
    let refused = webhook::update_endpoint(world.context(), &proof, &origin, endpoint.id, on());
    let (refused, ()) = tokio::join!(refused, release);
    assert!(
        matches!(refused, Err(WebhookError::StillCancelling)),
        "{refused:?}"
    );
    assert!(!look(&world, &endpoint).await.enabled);
    // What was done by then stays done.
    let pending = "SELECT count(*) FROM deliveries WHERE state = 'pending'";
    assert_eq!(world.count(pending).await, 7_000);
    patched(&world, &endpoint, on()).await;
    assert!(look(&world, &endpoint).await.enabled);
    assert_eq!(world.count(pending).await, 0);
}

#[tokio::test]
async fn a_call_that_fails_while_its_endpoint_goes_off_is_the_last() {
    let world = World::new().await;
    let slow = Receiver::slow(Duration::from_millis(500)).await;
    let endpoint = world.endpoint(&slow.url("/")).await.endpoint;
    slow.answer([Answer::status(500)]);
    let worker = world.worker().await;
    world.publish("order.placed", json!({})).await;
    slow.next().await;
    let off = EndpointPatch {
        enabled: Some(false),
        ..EndpointPatch::default()
    };
    patched(&world, &endpoint, off).await;
    let delivery = world.attempted(1).await;
    worker.stop().await;
    assert_eq!(delivery.state, DeliveryState::Cancelled);
    assert_eq!(delivery.next_attempt_at, None);
    assert!(delivery.finished_at.is_some());
    assert_eq!(world.attempts(delivery.id).await[0].status, Some(500));
}

#[tokio::test]
async fn a_late_answer_turns_off_no_endpoint_that_was_mended_meanwhile() {
    let world = World::new().await;
    let (slow, mended) = (
        Receiver::slow(Duration::from_secs(1)).await,
        Receiver::start().await,
    );
    let endpoint = world.endpoint(&slow.url("/")).await.endpoint;
    slow.answer([Answer::status(410)]);
    let worker = world.worker().await;
    world.publish("order.placed", json!({})).await;
    slow.next().await;
    let elsewhere = EndpointPatch {
        url: Some(mended.url("/")),
        ..EndpointPatch::default()
    };
    patched(&world, &endpoint, elsewhere).await;
    let delivery = world.attempted(1).await;
    assert_eq!(world.attempts(delivery.id).await[0].status, Some(410));
    world.publish("order.placed", json!({})).await;
    mended.next().await;
    worker.stop().await;
    assert!(look(&world, &endpoint).await.enabled);
}

#[tokio::test]
async fn another_url_begins_the_days_anew() {
    let world = World::new().await;
    let endpoint = world.endpoint("http://127.0.0.1:9/").await.endpoint;
    world
        .execute("UPDATE webhook_endpoints SET failing_since = now() - interval '5 days'")
        .await;
    let named = EndpointPatch {
        description: Some(Some("the same place".to_owned())),
        ..EndpointPatch::default()
    };
    patched(&world, &endpoint, named).await;
    assert!(look(&world, &endpoint).await.failing_since.is_some());
    let elsewhere = EndpointPatch {
        url: Some("http://127.0.0.1:10/".to_owned()),
        ..EndpointPatch::default()
    };
    patched(&world, &endpoint, elsewhere).await;
    assert!(look(&world, &endpoint).await.failing_since.is_none());
}
