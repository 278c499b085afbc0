//! A tenant with endpoints, and workers that can be stopped.

use std::{collections::BTreeSet, time::Duration};

use chrono::TimeDelta;
use latchkey_shared::{
    context::Context,
    entity::{DeliveryState, TenantStatus, tenant},
    id::{DeliveryId, EventId, TenantId, UserId},
    page::PageRequest,
    permission::{Authorized, Permission, WebhooksRead},
    postgres::CrossTenant,
    principal::{Origin, Principal, Subject},
    queue::{self, Lane},
    version::Version,
    webhook::{self, Attempt, CreatedEndpoint, Delivery, DeliveryFilter, NewEndpoint, Publisher},
};
use latchkey_testing::TestBed;
use latchkey_worker::{Lookup, SystemLookup, WorkerError};
use sea_orm::{ActiveModelTrait, ActiveValue::Set, ConnectionTrait, DbBackend, Statement};
use serde_json::{Map, Value, json};
use tokio::{task::JoinHandle, time::Instant};
use tokio_util::sync::CancellationToken;

/// Nothing that a test waits for takes longer, on the slowest machine.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// A tenant, and everything a test of the worker does to it.
pub(crate) struct World {
    pub(crate) bed: TestBed,
    pub(crate) tenant: TenantId,
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(&[]).await
    }

    pub(crate) async fn with(settings: &[(&str, &str)]) -> Self {
        let bed = TestBed::with(settings).await;
        let tenant = add_tenant(&bed.context, "acme").await;
        Self { bed, tenant }
    }

    /// Turns to another tenant of the same platform, which it makes.
    pub(crate) async fn turn_to(&mut self, slug: &str) {
        self.tenant = add_tenant(&self.bed.context, slug).await;
    }

    pub(crate) fn context(&self) -> &Context {
        &self.bed.context
    }

    pub(crate) fn proof<P: Permission>(&self) -> Authorized<P> {
        let principal = Principal {
            tenant: self.tenant,
            subject: Subject::User(UserId(self.context().uuid(self.context().clock.now()))),
            key: None,
            session: None,
            permissions: [P::NAME].into_iter().collect(),
        };
        Authorized::prove(principal).unwrap()
    }

    pub(crate) async fn endpoint(&self, url: &str) -> CreatedEndpoint {
        self.endpoint_for(url, &[]).await
    }

    pub(crate) async fn endpoint_for(&self, url: &str, event_types: &[&str]) -> CreatedEndpoint {
        let new = NewEndpoint {
            url: url.to_owned(),
            description: None,
            event_types: event_types.iter().map(|&name| name.to_owned()).collect(),
            headers: webhook::Headers::new(),
            enabled: true,
            ..NewEndpoint::default()
        };
        webhook::create_endpoint(self.context(), &self.proof(), &Origin::default(), new)
            .await
            .unwrap()
    }

    /// Publishes an event as the API does.
    pub(crate) async fn publish(&self, event_type: &str, payload: Value) -> EventId {
        let Value::Object(payload) = payload else {
            panic!("a payload is an object")
        };
        self.publish_object(event_type, &payload).await
    }

    async fn publish_object(&self, event_type: &str, payload: &Map<String, Value>) -> EventId {
        self.publish_from(&Origin::default(), event_type, payload).await
    }

    /// As a request that came from there.
    pub(crate) async fn publish_from(
        &self,
        origin: &Origin,
        event_type: &str,
        payload: &Map<String, Value>,
    ) -> EventId {
        Publisher::new(self.context())
            .publish(&self.proof(), origin, event_type, payload)
            .await
            .unwrap()
    }

    pub(crate) async fn publish_many(&self, count: usize) -> BTreeSet<String> {
        let mut ids = BTreeSet::new();
        for number in 0..count {
            ids.insert(
                self.publish("order.placed", json!({ "number": number }))
                    .await
                    .to_string(),
            );
        }
        ids
    }

    /// Events and their deliveries as a crowd of requests would have written them, without a job in any queue.
    pub(crate) async fn backlog(&self, count: usize, attempts: i32) {
        self.execute(&format!(
            "WITH made AS (
                 INSERT INTO events (id, tenant_id, type, body, created_at)
                 SELECT latchkey_uuid_v7(now()), '{tenant}', 'order.placed', '{{\"number\":' || n || '}}', now()
                 FROM generate_series(1, {count}) AS n RETURNING id)
             INSERT INTO deliveries (id, tenant_id, event_id, endpoint_id, event_type, state, attempts,
                                     next_attempt_at, sweep_at, created_at)
             SELECT latchkey_uuid_v7(now()), '{tenant}', made.id, p.id, 'order.placed', 'pending', {attempts},
                    now(), now(), now()
             FROM made, webhook_endpoints p WHERE p.tenant_id = '{tenant}'",
            tenant = self.tenant
        ))
        .await;
    }

    pub(crate) async fn deliveries(&self) -> Vec<Delivery> {
        let page = PageRequest::new(Some(100), None).unwrap();
        let filter = DeliveryFilter::default();
        webhook::list_deliveries(self.context(), &self.proof(), &filter, page)
            .await
            .unwrap()
            .data
    }

    /// Waits until the tenant's only delivery has had so many attempts, or has come to its end.
    pub(crate) async fn attempted(&self, attempts: i32) -> Delivery {
        self.until(|delivery| delivery.attempts >= attempts || delivery.state != DeliveryState::Pending)
            .await
    }

    /// Waits until the tenant's only delivery is so.
    pub(crate) async fn until(&self, so: impl Fn(&Delivery) -> bool) -> Delivery {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let [delivery] = self.deliveries().await.try_into().expect("one delivery");
            if so(&delivery) {
                return delivery;
            }
            assert!(Instant::now() < deadline, "{delivery:?}");
            tokio::task::yield_now().await;
        }
    }

    /// Oldest first.
    pub(crate) async fn attempts(&self, delivery: DeliveryId) -> Vec<Attempt> {
        let page = PageRequest::new(Some(100), None).unwrap();
        let proof = self.proof::<WebhooksRead>();
        let mut attempts = webhook::list_attempts(self.context(), &proof, delivery, page)
            .await
            .unwrap()
            .data;
        attempts.reverse();
        attempts
    }

    /// A worker beside this process's own context, on the same database and Redis.
    pub(crate) async fn worker(&self) -> Worker {
        Worker::start(self.bed.another_process().await, SystemLookup::default())
    }

    pub(crate) fn advance(&self, seconds: i64) {
        self.bed.clock.advance(TimeDelta::seconds(seconds));
    }

    /// What `FLUSHALL` or a restart of Redis does to the queue.
    pub(crate) async fn lose_queue(&self) {
        self.context().queue.flush().await;
        let mut connection = self.context().redis.connection();
        for lane in Lane::ALL {
            let key = queue::stream_key(&self.context().config.redis.key_prefix, lane);
            redis::cmd("DEL")
                .arg(key)
                .exec_async(&mut connection)
                .await
                .unwrap();
        }
    }

    /// A number that a statement over all tenants returns as `count`.
    pub(crate) async fn count(&self, select: &str) -> i64 {
        let tx = self
            .context()
            .postgres
            .cross_tenant(CrossTenant::Sweep)
            .await
            .unwrap();
        let row = tx
            .query_one_raw(Statement::from_string(DbBackend::Postgres, select))
            .await
            .unwrap();
        row.unwrap().try_get("", "count").unwrap()
    }

    pub(crate) async fn execute(&self, statement: &str) {
        let tx = self
            .context()
            .postgres
            .cross_tenant(CrossTenant::Sweep)
            .await
            .unwrap();
        tx.execute_unprepared(statement).await.unwrap();
        tx.commit().await.unwrap();
    }
}

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
        name: Set("Acme".to_owned()),
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

/// A worker that runs in this process.
pub(crate) struct Worker {
    shutdown: CancellationToken,
    running: JoinHandle<Result<(), WorkerError>>,
}

impl Worker {
    pub(crate) fn start(context: Context, lookup: impl Lookup) -> Self {
        let shutdown = CancellationToken::new();
        let running = tokio::spawn(latchkey_worker::run_with(context, lookup, shutdown.clone()));
        Self { shutdown, running }
    }

    /// Lets it come to its end.
    pub(crate) async fn stop(self) {
        self.shutdown.cancel();
        tokio::time::timeout(DEADLINE, self.running)
            .await
            .expect("an end in time")
            .unwrap()
            .unwrap();
    }
}
