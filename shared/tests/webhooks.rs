//! Endpoints, events and the outbox: what the services promise.

#![expect(clippy::unwrap_used, reason = "a test says so by panicking")]

use futures::future::join_all;
use latchkey_shared::{
    context::Context,
    entity::{TenantStatus, tenant},
    id::{TenantId, UserId},
    idempotency::{self, Begun},
    outbox::{self, Payload, event::UserRegistered},
    page::PageRequest,
    permission::{Authorized, EventsPublish, Permission},
    postgres::CrossTenant,
    principal::{Actor, Origin, Principal, Subject},
    trace::TraceContext,
    version::Version,
    webhook::{
        self, DeliveryFilter, Endpoint, EndpointPatch, EventFilter, HeaderFault, Headers, NewEndpoint,
        Publisher, UrlFault, WebhookError,
    },
};
use latchkey_testing::TestBed;
use sea_orm::{ActiveModelTrait, ActiveValue::Set, ConnectionTrait, DbBackend, Statement};
use serde_json::{Map, Value, json};

async fn add_tenant(context: &Context, slug: &str) -> TenantId {
    let now = context.clock.now();
    let id = TenantId(context.uuid(now));
    let tx = context
        .postgres
        .cross_tenant(CrossTenant::Bootstrap)
        .await
        .unwrap();
    let row = tenant::ActiveModel {
        id: Set(id),
        slug: Set(slug.to_owned()),
        name: Set(slug.to_owned()),
        status: Set(TenantStatus::Active),
        settings: Set(json!({})),
        version: Set(Version::FIRST),
        rate_limits: Set(json!({})),
        webhook_cidrs: Set(Vec::new()),
        delete_at: Set(None),
        created_at: Set(now),
        updated_at: Set(now),
    };
    row.insert(&tx).await.unwrap();
    tx.commit().await.unwrap();
    id
}

fn proof<P: Permission>(context: &Context, tenant: TenantId) -> Authorized<P> {
    let now = context.clock.now();
    let principal = Principal {
        tenant,
        subject: Subject::User(UserId(context.uuid(now))),
        key: None,
        session: None,
        permissions: [P::NAME].into_iter().collect(),
    };
    Authorized::prove(principal).unwrap()
}

fn new_endpoint() -> NewEndpoint {
    NewEndpoint {
        url: "https://example.com/hook".to_owned(),
        description: Some("ours".to_owned()),
        event_types: vec!["order.placed".to_owned(), "user.registered".to_owned()],
        headers: Headers::from([("X-Token".to_owned(), "canary".to_owned())]),
        enabled: true,
        ..NewEndpoint::default()
    }
}

async fn create(context: &Context, tenant: TenantId) -> Endpoint {
    let caller = proof(context, tenant);
    webhook::create_endpoint(context, &caller, &Origin::default(), new_endpoint())
        .await
        .unwrap()
        .endpoint
}

async fn update(context: &Context, tenant: TenantId, endpoint: &Endpoint, patch: EndpointPatch) -> Endpoint {
    let caller = proof(context, tenant);
    webhook::update_endpoint(context, &caller, &Origin::default(), endpoint.id, patch)
        .await
        .unwrap()
}

async fn publish(
    context: &Context,
    tenant: TenantId,
    name: &str,
) -> Result<latchkey_shared::id::EventId, WebhookError> {
    let payload = Map::from_iter([("number".to_owned(), json!(1))]);
    Publisher::new(context)
        .publish(&proof(context, tenant), &Origin::default(), name, &payload)
        .await
}

async fn count(context: &Context, select: &str) -> i64 {
    let tx = context.postgres.cross_tenant(CrossTenant::Sweep).await.unwrap();
    let row = tx
        .query_one_raw(Statement::from_string(DbBackend::Postgres, select))
        .await
        .unwrap();
    row.unwrap().try_get("", "count").unwrap()
}

fn first_page() -> PageRequest {
    PageRequest::new(Some(100), None).unwrap()
}

#[tokio::test]
async fn a_patch_changes_what_it_names_and_nothing_else() {
    let bed = TestBed::new().await;
    let context = &bed.context;
    let tenant = add_tenant(context, "acme").await;
    let created = create(context, tenant).await;
    assert_eq!(created.header_names, ["x-token"]);

    let same = update(context, tenant, &created, EndpointPatch::default()).await;
    assert_eq!(same, created);
    let cleared = EndpointPatch {
        description: Some(None),
        event_types: Some(Vec::new()),
        ..EndpointPatch::default()
    };
    let changed = update(context, tenant, &created, cleared).await;
    let expected = Endpoint {
        description: None,
        event_types: Vec::new(),
        updated_at: changed.updated_at,
        ..created.clone()
    };
    assert_eq!(changed, expected);
    let read = webhook::get_endpoint(context, &proof(context, tenant), created.id)
        .await
        .unwrap();
    assert_eq!(read, changed);
    let audited = "SELECT count(*) FROM audit_events WHERE action IN ('webhook_endpoint.create', 'webhook_endpoint.update')
                      AND detail::text NOT LIKE '%canary%'";
    assert_eq!(count(context, audited).await, 2);
}

#[tokio::test]
async fn turning_an_endpoint_off_cancels_what_waits_and_deleting_it_keeps_the_history() {
    let bed = TestBed::new().await;
    let context = &bed.context;
    let tenant = add_tenant(context, "acme").await;
    let endpoint = create(context, tenant).await;
    publish(context, tenant, "order.placed").await.unwrap();
    let off = EndpointPatch {
        enabled: Some(false),
        ..EndpointPatch::default()
    };
    update(context, tenant, &endpoint, off).await;
    assert_eq!(
        count(
            context,
            "SELECT count(*) FROM deliveries WHERE state = 'cancelled'"
        )
        .await,
        1
    );
    publish(context, tenant, "order.placed").await.unwrap();
    assert_eq!(count(context, "SELECT count(*) FROM deliveries").await, 1);

    webhook::delete_endpoint(context, &proof(context, tenant), &Origin::default(), endpoint.id)
        .await
        .unwrap();
    let again =
        webhook::delete_endpoint(context, &proof(context, tenant), &Origin::default(), endpoint.id).await;
    assert!(matches!(again, Err(WebhookError::NotFound)));
    let read = webhook::get_endpoint(context, &proof(context, tenant), endpoint.id).await;
    assert!(matches!(read, Err(WebhookError::NotFound)));
    let filter = DeliveryFilter {
        endpoint_id: Some(endpoint.id),
        ..DeliveryFilter::default()
    };
    let history = webhook::list_deliveries(context, &proof(context, tenant), &filter, first_page())
        .await
        .unwrap();
    assert_eq!(history.data.len(), 1);
    let wiped = "SELECT count(*) FROM webhook_endpoints WHERE sealed_secret = '' AND sealed_headers = ''";
    assert_eq!(count(context, wiped).await, 1);
}

#[tokio::test]
async fn s25_another_tenants_endpoints_events_and_deliveries_are_absent() {
    let bed = TestBed::new().await;
    let context = &bed.context;
    let (acme, other) = (
        add_tenant(context, "acme").await,
        add_tenant(context, "other").await,
    );
    let endpoint = create(context, acme).await;
    create(context, other).await;
    let event = publish(context, acme, "order.placed").await.unwrap();
    let filter = DeliveryFilter::default();
    let deliveries = webhook::list_deliveries(context, &proof(context, acme), &filter, first_page())
        .await
        .unwrap();
    let [delivery] = deliveries.data.try_into().unwrap();

    let origin = Origin::default();
    let patch = EndpointPatch {
        enabled: Some(false),
        ..EndpointPatch::default()
    };
    let refused = [
        webhook::get_endpoint(context, &proof(context, other), endpoint.id)
            .await
            .map(drop),
        webhook::update_endpoint(context, &proof(context, other), &origin, endpoint.id, patch)
            .await
            .map(drop),
        webhook::delete_endpoint(context, &proof(context, other), &origin, endpoint.id).await,
        webhook::get_event(context, &proof(context, other), event)
            .await
            .map(drop),
        webhook::get_delivery(context, &proof(context, other), delivery.id)
            .await
            .map(drop),
        webhook::list_attempts(context, &proof(context, other), delivery.id, first_page())
            .await
            .map(drop),
    ];
    assert!(
        refused
            .iter()
            .all(|result| matches!(result, Err(WebhookError::NotFound))),
        "{refused:?}"
    );
    let caller = proof(context, other);
    assert_eq!(
        webhook::list_events(context, &caller, &EventFilter::default(), first_page())
            .await
            .unwrap()
            .data,
        []
    );
    assert_eq!(
        webhook::list_endpoints(context, &caller, first_page())
            .await
            .unwrap()
            .data
            .len(),
        1
    );
    let filter = DeliveryFilter {
        endpoint_id: Some(endpoint.id),
        ..DeliveryFilter::default()
    };
    assert_eq!(
        webhook::list_deliveries(context, &caller, &filter, first_page())
            .await
            .unwrap()
            .data,
        []
    );
}

#[tokio::test]
async fn what_is_not_valid_is_named() {
    let bed = TestBed::new().await;
    let context = &bed.context;
    let tenant = add_tenant(context, "acme").await;
    let try_with = async |change: fn(&mut NewEndpoint)| {
        let mut new = new_endpoint();
        change(&mut new);
        webhook::create_endpoint(context, &proof(context, tenant), &Origin::default(), new)
            .await
            .unwrap_err()
    };
    let error = try_with(|new| new.url = "https://10.0.0.1/".to_owned()).await;
    assert!(matches!(error, WebhookError::InvalidUrl(UrlFault::NotPublic)));
    let error = try_with(|new| new.event_types = vec!["user.exploded".to_owned()]).await;
    assert!(matches!(error, WebhookError::InvalidEventType { name, .. } if name == "user.exploded"));
    let error = try_with(|new| new.headers = Headers::from([("Host".to_owned(), "x".to_owned())])).await;
    assert!(matches!(error, WebhookError::InvalidHeader(HeaderFault::Reserved(name)) if name == "Host"));
    let error = try_with(|new| new.description = Some("a\0b".to_owned())).await;
    assert!(matches!(error, WebhookError::InvalidDescription(_)));

    for name in ["user.registered", "nonsense", "a.\0"] {
        let error = publish(context, tenant, name).await.unwrap_err();
        assert!(matches!(error, WebhookError::InvalidEventType { .. }), "{name:?}");
    }
    let publish_large = async |beyond: usize| {
        let text = "x".repeat(webhook::MAX_PAYLOAD + beyond - r#"{"text":""}"#.len());
        let payload = Map::from_iter([("text".to_owned(), Value::String(text))]);
        Publisher::new(context)
            .publish(&proof(context, tenant), &Origin::default(), "a.b", &payload)
            .await
    };
    assert!(publish_large(0).await.is_ok());
    let error = publish_large(1).await.unwrap_err();
    assert!(matches!(error, WebhookError::PayloadTooLarge(_)));
    let filter = DeliveryFilter {
        event_type: Some("\0".to_owned()),
        ..DeliveryFilter::default()
    };
    let listed = webhook::list_deliveries(context, &proof(context, tenant), &filter, first_page()).await;
    assert!(matches!(listed, Err(WebhookError::InvalidEventType { .. })));
}

#[tokio::test]
async fn parallel_creations_stop_at_the_limit() {
    let bed = TestBed::with(&[("webhooks.max_endpoints", "20")]).await;
    let context = &bed.context;
    let tenant = add_tenant(context, "acme").await;
    let fill = format!(
        "INSERT INTO webhook_endpoints
             (id, tenant_id, url, event_types, header_names, sealed_headers, enabled, sealed_secret, created_at, updated_at)
         SELECT gen_random_uuid(), '{tenant}', 'https://example.com/', '{{}}', '{{}}', '', true, '', now(), now()
         FROM generate_series(1, {})",
        context.config.webhooks.max_endpoints - 1
    );
    let tx = context.postgres.cross_tenant(CrossTenant::Sweep).await.unwrap();
    tx.execute_unprepared(&fill).await.unwrap();
    tx.commit().await.unwrap();
    let (caller, origin) = (proof(context, tenant), Origin::default());
    let made =
        join_all((0..6).map(|_| webhook::create_endpoint(context, &caller, &origin, new_endpoint()))).await;
    let refused = made
        .iter()
        .filter(|made| matches!(made, Err(WebhookError::LimitReached(_))))
        .count();
    assert_eq!(refused, 5);
}

#[tokio::test]
async fn an_event_stands_or_falls_with_its_change() {
    let bed = TestBed::new().await;
    let context = &bed.context;
    let tenant = add_tenant(context, "acme").await;
    create(context, tenant).await;
    let origin = Origin::default();
    let mut change = context.change(tenant, Actor::System, &origin).await.unwrap();
    outbox::emit(&mut change, None, &UserRegistered::example())
        .await
        .unwrap();
    drop(change);
    assert_eq!(count(context, "SELECT count(*) FROM events").await, 0);
    assert_eq!(count(context, "SELECT count(*) FROM deliveries").await, 0);

    let mut change = context.change(tenant, Actor::System, &origin).await.unwrap();
    let data = UserRegistered::example();
    let event = outbox::emit(&mut change, None, &data).await.unwrap();
    change.commit().await.unwrap();
    let read = webhook::get_event(context, &proof(context, tenant), event)
        .await
        .unwrap();
    assert_eq!(
        (read.event_type.as_str(), Value::Object(read.payload)),
        ("user.registered", json!(data))
    );
    let due = "SELECT count(*) FROM deliveries WHERE state = 'pending' AND attempts = 0 AND sweep_at > now()";
    assert_eq!(count(context, due).await, 1);
}

#[tokio::test]
async fn a_list_is_read_page_by_page_newest_first() {
    let bed = TestBed::new().await;
    let context = &bed.context;
    let tenant = add_tenant(context, "acme").await;
    let mut made = Vec::new();
    for _ in 0..5 {
        made.push(publish(context, tenant, "order.placed").await.unwrap());
    }
    let (mut read, mut cursor) = (Vec::new(), None);
    loop {
        let request = PageRequest::new(Some(2), cursor.as_deref()).unwrap();
        let page = webhook::list_events(context, &proof(context, tenant), &EventFilter::default(), request)
            .await
            .unwrap();
        read.extend(page.data.iter().map(|event| event.id));
        cursor = page.next_cursor;
        if cursor.is_none() {
            break;
        }
    }
    made.sort();
    made.reverse();
    assert_eq!(read, made);
}

#[tokio::test]
async fn what_is_published_at_once_is_written_together_each_under_its_own_id() {
    let bed = TestBed::new().await;
    let context = &bed.context;
    let tenant = add_tenant(context, "acme").await;
    create(context, tenant).await;
    let publisher = Publisher::new(context);
    let proof = proof(context, tenant);
    let trace = |number: usize| format!("00-{number:032x}-00f067aa0ba902b7-01");
    let publish = async |number: usize| {
        // The first names none: zeroes are no trace.
        let origin = Origin {
            trace: TraceContext::parse(&trace(number)),
            ..Origin::default()
        };
        let payload = Map::from_iter([("number".to_owned(), json!(number))]);
        let event_type = ["order.placed", "order.paid", "order.sent"][number % 3];
        publisher
            .publish(&proof, &origin, event_type, &payload)
            .await
            .unwrap()
    };
    let events = join_all((0..200).map(publish)).await;
    for (number, event) in events.into_iter().enumerate() {
        let event = webhook::get_event(context, &self::proof(context, tenant), event)
            .await
            .unwrap();
        assert_eq!(event.payload["number"], json!(number));
        assert_eq!(event.traceparent, (number > 0).then(|| trace(number)));
        assert_eq!(
            event.event_type,
            ["order.placed", "order.paid", "order.sent"][number % 3]
        );
    }
    assert_eq!(count(context, "SELECT count(*) FROM events").await, 200);
    // The endpoint takes the first of the three types.
    assert_eq!(count(context, "SELECT count(*) FROM deliveries").await, 67);
    // Rows bear the number of the transaction that wrote them.
    let transactions = count(context, "SELECT count(DISTINCT xmin::text) FROM events").await;
    assert!(transactions <= 20, "200 events took {transactions} transactions");
}

#[tokio::test]
async fn an_attempt_that_was_taken_over_publishes_nothing_and_fails_nobody_beside_it() {
    let bed = TestBed::new().await;
    let context = &bed.context;
    let tenant = add_tenant(context, "acme").await;
    let publisher = Publisher::new(context);
    let proof: Authorized<EventsPublish> = proof(context, tenant);
    let claim = async |key: &str| {
        let begun = idempotency::begin(context, proof.principal(), key, &[b"an event"]).await;
        let Ok(Begun::New(claim)) = begun else {
            panic!("the key is new")
        };
        claim
    };
    let (held, mut taken_over) = (claim("a").await, claim("b").await);
    taken_over.id = context.uuid(context.clock.now());
    let origins = [Some(held), Some(taken_over), None].map(|claim| Origin {
        claim,
        ..Origin::default()
    });
    let payload = Map::new();
    let attempts = origins
        .iter()
        .map(|origin| publisher.publish(&proof, origin, "order.placed", &payload));
    let done: Vec<bool> = join_all(attempts).await.iter().map(Result::is_ok).collect();
    assert_eq!(done, [true, false, true]);
    assert_eq!(count(context, "SELECT count(*) FROM events").await, 2);
    let committed = "SELECT count(*) FROM idempotency_keys WHERE committed";
    assert_eq!(count(context, committed).await, 1);
}
