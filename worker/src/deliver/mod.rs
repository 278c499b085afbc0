//! Deliveries: claimed in batches, called one by one, recorded in batches.
//!
//! The handler always comes to an end, and what it could not write down, the lease's end brings back. When the next
//! attempt is due stands in PostgreSQL, never in a task that waits.

mod call;
mod guard;

use std::{collections::HashMap, sync::Arc, time::Duration};

use latchkey_shared::{
    batch::Batcher,
    context::Context,
    queue::Job,
    random,
    webhook::{
        self,
        retry::Schedule,
        work::{self, Claimed, Finished, Next},
    },
};
use metrics::{counter, gauge, histogram};
use reqwest::{Client, redirect};
use uuid::Uuid;

pub use self::guard::{Lookup, SystemLookup};
use self::{
    call::{Called, call},
    guard::Guard,
};

const USER_AGENT: &str = concat!("Latchkey-Webhooks/", env!("CARGO_PKG_VERSION"));
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The most deliveries in one statement.
const BATCH: usize = 256;
/// One statement of a kind at a time, so that the next one gathers meanwhile: two at a time were measured to be a third
/// slower, each being half as large.
const PARALLELISM: usize = 1;

/// Why deliveries could not be set up.
#[derive(Debug, thiserror::Error)]
#[error("the HTTP client: {0}")]
pub struct DeliverError(#[from] reqwest::Error);

/// Calls endpoints. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Deliverer {
    context: Context,
    client: Client,
    guard: Guard,
    schedule: Arc<Schedule>,
    claims: Batcher<Uuid, Option<Claimed>>,
    records: Batcher<Finished, bool>,
}

impl Deliverer {
    /// Needs a Tokio runtime.
    pub(crate) fn new(context: &Context, lookup: impl Lookup) -> Result<Self, DeliverError> {
        let settings = &context.config.webhooks;
        let guard = Guard::new(&settings.allowed_cidrs, lookup);
        let client = client(&guard, settings.timeout)?;
        let (claiming, recording) = (context.clone(), context.clone());
        let lease = crate::lease_for(settings.timeout);
        Ok(Self {
            context: context.clone(),
            client,
            guard,
            schedule: Arc::new(Schedule {
                waits: settings.schedule.clone(),
                jitter: settings.jitter,
            }),
            claims: Batcher::new(BATCH, PARALLELISM, move |ids| claim(claiming.clone(), ids, lease)),
            records: Batcher::new(BATCH, PARALLELISM, move |calls| record(recording.clone(), calls)),
        })
    }

    /// Claims the delivery, calls its endpoint and writes down what came of it; nothing at all, where it is not due
    /// or another worker's.
    pub(crate) async fn handle(&self, job: Job) {
        let Some(Some(claimed)) = self.claims.submit(job.0).await else {
            return;
        };
        let called = self.call(&claimed).await;
        let finished = self.finished(&claimed, &called);
        let recorded = self.records.submit(finished).await == Some(true);
        if recorded && called.is_gone() {
            self.disable(&claimed).await;
        }
    }

    async fn call(&self, claimed: &Claimed) -> Called {
        let in_flight = gauge!("latchkey_deliveries_in_flight");
        in_flight.increment(1.0);
        let ring = &self.context.config.secrets.data_keys;
        let called = call(&self.client, &self.guard, ring, claimed, self.context.clock.now()).await;
        in_flight.decrement(1.0);

        let outcome = if called.succeeded() { "succeeded" } else { "failed" };
        let class = called.observed.error_class.unwrap_or("none");
        counter!("latchkey_delivery_attempts_total", "outcome" => outcome, "error_class" => class)
            .increment(1);
        histogram!("latchkey_delivery_call_seconds", "outcome" => outcome).record(called.observed.duration);
        if claimed.attempts == 0 {
            let waited = (called.observed.started_at - claimed.created_at)
                .to_std()
                .unwrap_or_default();
            histogram!("latchkey_delivery_first_attempt_delay_seconds").record(waited);
        }
        called
    }

    fn finished(&self, claimed: &Claimed, called: &Called) -> Finished {
        let number = claimed.attempts.saturating_add(1);
        let share = f64::from(u32::from_ne_bytes(random::array(&*self.context.random))) / f64::from(u32::MAX);
        let again = || {
            self.schedule.next(
                number - claimed.earlier_attempts,
                self.context.clock.now(),
                share,
                called.retry_after,
            )
        };
        let next = match called {
            _ if called.succeeded() => Next::Succeeded,
            _ if called.is_gone() => Next::Failed,
            _ => again().map_or(Next::Failed, Next::Again),
        };
        Finished {
            id: claimed.id,
            tenant_id: claimed.tenant_id,
            generation: claimed.generation,
            number,
            next,
            observed: called.observed.clone(),
        }
    }

    /// Should this fail, the endpoint's next 410 does it.
    async fn disable(&self, claimed: &Claimed) {
        let Claimed {
            tenant_id,
            endpoint_id,
            url,
            ..
        } = claimed;
        let disabled =
            webhook::disable_failing_endpoint(&self.context, *tenant_id, *endpoint_id, url, "gone").await;
        if let Err(error) = disabled {
            tracing::warn!(endpoint = %endpoint_id, %error, "an endpoint that answered 410 was not turned off");
        }
    }
}

fn client(guard: &Guard, timeout: Duration) -> reqwest::Result<Client> {
    Client::builder()
        .dns_resolver(Arc::new(guard.clone()))
        // A redirect could lead anywhere, and a proxy would resolve names for us.
        .redirect(redirect::Policy::none())
        .no_proxy()
        .connect_timeout(CONNECT_TIMEOUT.min(timeout))
        .timeout(timeout)
        .user_agent(USER_AGENT)
        .build()
}

/// One answer for each id, in their order; an id that is there twice gets one claim.
async fn claim(context: Context, ids: Vec<Uuid>, lease: Duration) -> Vec<Option<Claimed>> {
    match work::claim(&context, ids.clone(), lease).await {
        Ok(claimed) => {
            let mut claimed: HashMap<Uuid, Claimed> =
                claimed.into_iter().map(|one| (one.id.0, one)).collect();
            ids.iter().map(|id| claimed.remove(id)).collect()
        }
        Err(error) => {
            tracing::warn!(deliveries = ids.len(), %error, "deliveries were not claimed; the sweep brings them back");
            vec![const { None }; ids.len()]
        }
    }
}

async fn record(context: Context, calls: Vec<Finished>) -> Vec<bool> {
    let recorded = work::record(&context, &calls).await;
    if let Err(error) = &recorded {
        tracing::warn!(calls = calls.len(), %error, "calls were not recorded; they are made again when their leases end");
    }
    vec![recorded.is_ok(); calls.len()]
}
