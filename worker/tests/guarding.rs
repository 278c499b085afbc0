//! Where no call may lead.

use std::{
    io,
    net::IpAddr,
    sync::{Arc, Mutex},
};

use futures::future::BoxFuture;
use latchkey_shared::entity::{DeliveryState, ErrorClass};
use latchkey_testing::{Answer, Receiver};
use latchkey_worker::Lookup;
use serde_json::json;

use crate::world::{Worker, World};

/// A resolver whose answer the test changes.
#[derive(Clone)]
struct Changing(Arc<Mutex<Vec<IpAddr>>>);

impl Changing {
    fn set(&self, addresses: &[&str]) {
        *self.0.lock().unwrap() = addresses.iter().map(|address| address.parse().unwrap()).collect();
    }
}

impl Lookup for Changing {
    fn lookup(&self, _: String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        let answer = self.0.lock().unwrap().clone();
        Box::pin(async move { Ok(answer) })
    }
}

#[tokio::test]
async fn s32_a_name_that_comes_to_lead_inside_is_called_no_more() {
    let (world, receiver) = (World::new().await, Receiver::start().await);
    let port = receiver.address().port();
    world.endpoint(&format!("http://rebind.example:{port}/")).await;
    let names = Changing(Arc::default());
    names.set(&["127.0.0.1"]);
    // Closed, so that the second call needs a connection of its own.
    receiver.answer([Answer::with_header(500, "connection", "close")]);
    let worker = Worker::start(world.bed.another_process().await, names.clone());
    world.publish("order.placed", json!({})).await;
    receiver.next().await;
    world.attempted(1).await;

    // Loopback alone is allowed here; one address inside besides it is one too many.
    names.set(&["127.0.0.1", "169.254.169.254"]);
    world.advance(6);
    let delivery = world.attempted(2).await;
    worker.stop().await;
    let attempts = world.attempts(delivery.id).await;
    assert_eq!(attempts[1].error_class, Some(ErrorClass::RefusedAddress));
    // What names mean inside is not for who may only name them.
    let detail = attempts[1].error_detail.as_deref().unwrap();
    assert!(
        !detail.contains("169.254") && !detail.contains("127.0"),
        "{detail}"
    );
    assert!(receiver.rest().await.is_empty());
}

#[tokio::test]
async fn s32_a_literal_that_slipped_into_the_database_is_not_called() {
    let (world, receiver) = (World::new().await, Receiver::start().await);
    world.endpoint(&receiver.url("/")).await;
    for url in [
        "http://[::1]:1/",
        "http://169.254.169.254/latest/meta-data/",
        "http://0xa9fea9fe/",
        "http://10.1/",
    ] {
        world
            .execute(&format!("UPDATE webhook_endpoints SET url = '{url}'"))
            .await;
        world.publish("order.placed", json!({})).await;
        let worker = world.worker().await;
        let delivery = world.attempted(1).await;
        worker.stop().await;
        let [attempt] = world.attempts(delivery.id).await.try_into().unwrap();
        assert_eq!(attempt.error_class, Some(ErrorClass::RefusedAddress), "{url}");
        world.execute("DELETE FROM deliveries").await;
    }
}

#[tokio::test]
async fn s32_what_one_tenant_may_reach_is_no_way_in_for_another() {
    let mut world = World::with(&[("webhooks.allowed_cidrs", "")]).await;
    let (acme, receiver) = (world.tenant, Receiver::start().await);
    world
        .execute("UPDATE tenants SET webhook_cidrs = '{127.0.0.0/8}'")
        .await;
    let url = format!("http://inside.example:{}/", receiver.address().port());
    world.endpoint(&url).await;
    let names = Changing(Arc::default());
    names.set(&["127.0.0.1"]);
    let worker = Worker::start(world.bed.another_process().await, names);
    world.publish("order.placed", json!({})).await;
    receiver.next().await;
    let delivery = world.attempted(1).await;
    assert_eq!(delivery.state, DeliveryState::Succeeded);

    // The connection that was just used is there still.
    world.turn_to("globex").await;
    world.endpoint(&url).await;
    world.publish("order.placed", json!({})).await;
    let delivery = world.attempted(1).await;
    let [attempt] = world.attempts(delivery.id).await.try_into().unwrap();
    assert_eq!(attempt.error_class, Some(ErrorClass::RefusedAddress));

    world.execute("DELETE FROM deliveries").await;
    world.execute("UPDATE tenants SET webhook_cidrs = '{}'").await;
    world.tenant = acme;
    world.publish("order.placed", json!({})).await;
    let delivery = world.attempted(1).await;
    worker.stop().await;
    let [attempt] = world.attempts(delivery.id).await.try_into().unwrap();
    assert_eq!(attempt.error_class, Some(ErrorClass::RefusedAddress));
    assert!(receiver.rest().await.is_empty());
}

#[tokio::test]
async fn s32_a_redirect_is_a_failed_attempt_and_not_followed() {
    let world = World::new().await;
    let (receiver, inside) = (Receiver::start().await, Receiver::start().await);
    world.endpoint(&receiver.url("/")).await;
    receiver.answer([Answer::with_header(307, "location", &inside.url("/admin"))]);
    let worker = world.worker().await;
    world.publish("order.placed", json!({})).await;
    let delivery = world.attempted(1).await;
    worker.stop().await;
    assert_eq!(delivery.state, DeliveryState::Pending);
    let [attempt] = world.attempts(delivery.id).await.try_into().unwrap();
    assert_eq!(
        (attempt.status, attempt.error_class),
        (Some(307), Some(ErrorClass::Redirect))
    );
    assert!(inside.rest().await.is_empty());
}

#[tokio::test]
async fn s32_an_endless_body_costs_16_kib() {
    let (world, receiver) = (World::new().await, Receiver::start().await);
    world.endpoint(&receiver.url("/")).await;
    receiver.answer([Answer::Endless]);
    let worker = world.worker().await;
    world.publish("order.placed", json!({})).await;
    let delivery = world.attempted(1).await;
    worker.stop().await;
    assert_eq!(delivery.state, DeliveryState::Succeeded);
    let [attempt] = world.attempts(delivery.id).await.try_into().unwrap();
    assert_eq!(attempt.response_body.unwrap().len(), 16 * 1024);
    // The rest was never read: what is gone beyond it filled the sockets' buffers.
    assert!(receiver.streamed() < 32 * 1024 * 1024, "{}", receiver.streamed());
}
