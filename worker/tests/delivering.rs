//! What arrives, and where.

use std::collections::BTreeSet;

use latchkey_shared::{
    entity::DeliveryState,
    principal::Origin,
    queue::Lane,
    trace::TraceContext,
    webhook::{self, EndpointPatch, Headers, NewEndpoint},
};
use latchkey_testing::{Answer, Receiver};
use serde_json::{Map, json};

use crate::world::World;

#[tokio::test]
async fn s33_the_official_library_verifies_what_arrives() {
    let (world, receiver) = (World::new().await, Receiver::start().await);
    let endpoint = world.endpoint(&receiver.url("/hook?x=1")).await;
    let worker = world.worker().await;
    let event = world
        .publish("order.placed", json!({"number": 7, "who": "Ünal \u{0}"}))
        .await;

    let got = receiver.next().await;
    let verifier = standardwebhooks::Webhook::new(endpoint.secret.expose()).unwrap();
    verifier.verify(&got.body, &got.headers).unwrap();
    assert_eq!(got.path, "/hook?x=1");
    assert_eq!(got.header("webhook-id"), event.to_string());
    assert_eq!(got.header("content-type"), "application/json");
    assert!(got.header("user-agent").starts_with("Latchkey-Webhooks/"));
    let body = got.json();
    assert_eq!(body["type"], "order.placed");
    assert_eq!(body["tenant_id"], world.tenant.to_string());
    assert_eq!(body["data"], json!({"number": 7, "who": "Ünal \u{0}"}));

    let delivery = world.attempted(1).await;
    assert_eq!(delivery.state, DeliveryState::Succeeded);
    assert_eq!(delivery.next_attempt_at, None);
    let [attempt] = world.attempts(delivery.id).await.try_into().unwrap();
    assert_eq!(
        (attempt.number, attempt.succeeded, attempt.status),
        (1, true, Some(204))
    );
    assert_eq!(attempt.address, Some(receiver.address().to_string()));
    worker.stop().await;
}

#[tokio::test]
async fn an_event_goes_to_the_endpoints_that_ask_for_it() {
    let world = World::new().await;
    let (all, orders, invoices) = (
        Receiver::start().await,
        Receiver::start().await,
        Receiver::start().await,
    );
    world.endpoint(&all.url("/")).await;
    world
        .endpoint_for(&orders.url("/"), &["order.placed", "user.registered"])
        .await;
    world.endpoint_for(&invoices.url("/"), &["invoice.paid"]).await;
    let worker = world.worker().await;
    let order = world.publish("order.placed", json!({})).await.to_string();
    let invoice = world.publish("invoice.paid", json!({})).await.to_string();

    assert_eq!(orders.next().await.header("webhook-id"), order);
    assert_eq!(invoices.next().await.header("webhook-id"), invoice);
    let both = [all.next().await, all.next().await].map(|got| got.header("webhook-id").to_owned());
    assert_eq!(BTreeSet::from(both), BTreeSet::from([order, invoice]));
    worker.stop().await;
    assert!(
        orders.rest().await.is_empty() && invoices.rest().await.is_empty() && all.rest().await.is_empty()
    );
}

#[tokio::test]
async fn an_endpoints_own_headers_are_sent_and_its_changes_hold_for_what_is_pending() {
    let (world, receiver) = (World::new().await, Receiver::start().await);
    let new = NewEndpoint {
        url: "http://127.0.0.1:1/old".to_owned(),
        description: None,
        event_types: Vec::new(),
        headers: Headers::from([("Authorization".to_owned(), "Bearer canary-1".to_owned())]),
        enabled: true,
        ..NewEndpoint::default()
    };
    let created = webhook::create_endpoint(world.context(), &world.proof(), &Origin::default(), new)
        .await
        .unwrap();
    assert_eq!(created.endpoint.header_names, ["authorization"]);
    world.publish("order.placed", json!({})).await;
    let patch = EndpointPatch {
        url: Some(receiver.url("/new")),
        ..EndpointPatch::default()
    };
    webhook::update_endpoint(
        world.context(),
        &world.proof(),
        &Origin::default(),
        created.endpoint.id,
        patch,
    )
    .await
    .unwrap();

    let worker = world.worker().await;
    let got = receiver.next().await;
    assert_eq!(
        (got.path.as_str(), got.header("authorization")),
        ("/new", "Bearer canary-1")
    );
    worker.stop().await;
}

#[tokio::test]
async fn s36_neither_a_signing_secret_nor_a_header_stands_in_the_database() {
    let (world, receiver) = (World::new().await, Receiver::start().await);
    let new = NewEndpoint {
        url: receiver.url("/"),
        description: None,
        event_types: Vec::new(),
        headers: Headers::from([("x-token".to_owned(), "canary-2".to_owned())]),
        enabled: true,
        ..NewEndpoint::default()
    };
    let created = webhook::create_endpoint(world.context(), &world.proof(), &Origin::default(), new)
        .await
        .unwrap();
    let worker = world.worker().await;
    world.publish("order.placed", json!({})).await;
    receiver.next().await;
    world.attempted(1).await;
    worker.stop().await;

    let secret = created.secret.expose().strip_prefix("whsec_").unwrap();
    for table in [
        "webhook_endpoints",
        "events",
        "deliveries",
        "attempts",
        "audit_events",
    ] {
        let found = format!(
            "SELECT count(*) FROM {table} t WHERE t::text LIKE '%canary-2%' OR t::text LIKE '%{secret}%'
                OR t::text LIKE '%' || encode(decode('{secret}', 'base64'), 'hex') || '%'
                OR t::text LIKE '%' || encode('canary-2', 'hex') || '%'"
        );
        assert_eq!(world.count(&found).await, 0, "{table}");
    }
}

#[tokio::test]
async fn s30_two_workers_make_one_call_however_often_a_job_is_queued() {
    const EVENTS: usize = 40;
    let (world, receiver) = (World::new().await, Receiver::start().await);
    world.endpoint(&receiver.url("/")).await;
    let ids = world.publish_many(EVENTS).await;
    for _ in 0..5 {
        world.context().queue.push(
            Lane::Fresh,
            world.deliveries().await.iter().map(|delivery| delivery.id.0),
        );
        world.context().queue.push(
            Lane::Retry,
            world.deliveries().await.iter().map(|delivery| delivery.id.0),
        );
    }
    let (one, other) = (world.worker().await, world.worker().await);
    let mut got = BTreeSet::new();
    for _ in 0..EVENTS {
        got.insert(receiver.next().await.header("webhook-id").to_owned());
    }
    one.stop().await;
    other.stop().await;
    assert_eq!(got, ids);
    assert!(receiver.rest().await.is_empty());
    assert_eq!(
        world.count("SELECT count(*) FROM attempts").await,
        i64::try_from(EVENTS).unwrap()
    );
}

#[tokio::test]
async fn a_call_goes_on_in_the_trace_of_the_request_that_caused_it_each_attempt_at_a_place_of_its_own() {
    let (world, receiver) = (World::new().await, Receiver::start().await);
    world.endpoint(&receiver.url("/")).await;
    receiver.answer([Answer::status(500)]);
    let worker = world.worker().await;
    let given = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let origin = Origin {
        trace: TraceContext::parse(given),
        ..Origin::default()
    };
    world.publish_from(&origin, "order.placed", &Map::new()).await;

    let first = receiver.next().await;
    world.attempted(1).await;
    world.advance(6);
    let sent = [first, receiver.next().await].map(|got| got.header("traceparent").to_owned());
    for traceparent in &sent {
        assert_eq!(traceparent[..36], given[..36], "another trace");
        assert_eq!(traceparent[52..], given[52..], "other flags");
        assert_ne!(traceparent, given);
    }
    assert_ne!(sent[0], sent[1]);
    let delivery = world.attempted(2).await;
    let [first, second] = world.attempts(delivery.id).await.try_into().unwrap();
    assert_eq!([first.traceparent, second.traceparent], sent.map(Some));
    worker.stop().await;
}
