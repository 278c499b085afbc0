//! Deliveries: claimed in batches, called one by one, recorded in batches.
//!
//! The handler always comes to an end, and what it could not write down, the lease's end brings back. When the next
//! attempt is due stands in PostgreSQL, never in a task that waits.

mod call;
mod caller;
mod endpoint;
mod gate;
mod guard;
mod kept;
mod turns;

use std::{collections::HashMap, sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use latchkey_shared::{
    batch::Batcher,
    context::Context,
    entity::ErrorClass,
    id::EndpointId,
    queue::{Job, Lane},
    random,
    switch_off::{Offence, switch_off},
    webhook::{
        retry::Schedule,
        work::{self, Claimed, Finished, GivenBack, Next},
    },
};
use metrics::{counter, gauge, histogram};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

pub use self::guard::{Lookup, SystemLookup};
use self::{
    call::{Called, call},
    caller::Callers,
    gate::Gate,
};

const USER_AGENT: &str = concat!("Latchkey-Webhooks/", env!("CARGO_PKG_VERSION"));
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The most deliveries in one statement.
const BATCH: usize = 256;
/// One statement of a kind at a time, so that the next one gathers meanwhile: two at a time were measured to be a third
/// slower, each being half as large.
const PARALLELISM: usize = 1;

/// After so long each the record of calls is tried again. A lease outlasts the call by more ([`crate::lease_for`]).
const RECORDED_AGAIN: [Duration; 3] = [
    Duration::from_millis(100),
    Duration::from_secs(1),
    Duration::from_secs(3),
];

/// A call begins only while its lease outlasts it by as much: machines' clocks differ.
const LEASE_TO_SPARE: Duration = Duration::from_secs(2);

/// Why deliveries could not be set up.
#[derive(Debug, thiserror::Error)]
#[error("the HTTP client: {0}")]
pub struct DeliverError(#[from] reqwest::Error);

/// Calls endpoints.
pub(crate) struct Deliverer {
    context: Context,
    callers: Callers,
    gate: Gate,
    schedule: Arc<Schedule>,
    time_up: CancellationToken,
    claims: Batcher<Uuid, Option<Claimed>>,
    records: Batcher<Finished, bool>,
    returns: Batcher<GivenBack, ()>,
    endpoints: Batcher<Standing, ()>,
}

impl Deliverer {
    /// Needs a Tokio runtime. So many jobs of each lane run at once, and none of them calls any longer once their time is up.
    pub(crate) fn new(
        context: &Context,
        lookup: impl Lookup,
        slots: [(Lane, usize); 2],
        time_up: &CancellationToken,
    ) -> Result<Self, DeliverError> {
        let settings = &context.config.webhooks;
        let (claiming, recording) = (context.clone(), context.clone());
        let (returning, noting) = (context.clone(), context.clone());
        let lease = crate::lease_for(settings.timeout);
        Ok(Self {
            context: context.clone(),
            callers: Callers::new(&context.config, lookup)?,
            gate: Gate::new(slots),
            schedule: Arc::new(Schedule {
                waits: settings.schedule.clone(),
                jitter: settings.jitter,
            }),
            time_up: time_up.clone(),
            claims: Batcher::new(BATCH, PARALLELISM, move |ids| claim(claiming.clone(), ids, lease)),
            records: Batcher::new(BATCH, PARALLELISM, move |calls| record(recording.clone(), calls)),
            returns: Batcher::new(BATCH, PARALLELISM, move |back| give_back(returning.clone(), back)),
            endpoints: Batcher::new(BATCH, PARALLELISM, move |seen| note(noting.clone(), seen)),
        })
    }

    /// Claims the delivery, calls its endpoint and writes down what came of it; nothing at all, where it is not due
    /// or another worker's. Where it is not the endpoint's turn the delivery goes back to PostgreSQL.
    pub(crate) async fn handle(&self, lane: Lane, job: Job) {
        let Some(Some(claimed)) = self.claims.submit(job.0).await else {
            return;
        };
        let entered = self.gate.enter(lane, claimed.tenant_id, claimed.endpoint_id);
        let pass = match entered.await {
            Ok(pass) => pass,
            Err(after) => return self.give_back(&claimed, "saturated", after).await,
        };
        if let Some(after) = self.limited(&claimed).await {
            return self.give_back(&claimed, "rate_limited", after).await;
        }
        // A process that was stopped, or waited for a database that was away, may wake up in another's lease.
        let until_answered = self.context.config.webhooks.timeout + LEASE_TO_SPARE;
        if self.context.clock.now() + until_answered > claimed.lease_until {
            return self.give_back(&claimed, "late", Duration::ZERO).await;
        }
        // Not counted, as after a crash: nobody knows whether the receiver has it, and it is to have it at least once; and as
        // a failure it would wait for the schedule. The call was dropped, so it ends before another worker begins its own.
        let Some(called) = self.call(&claimed).await else {
            return self.give_back(&claimed, "stopped", Duration::ZERO).await;
        };
        pass.ended(called.observed.duration, called.observed.status.is_some());
        let next = self.next(&claimed, &called);
        let said = Said {
            began: called.observed.started_at,
            succeeded: called.succeeded(),
            is_gone: called.is_gone(),
            is_last: next == Next::Failed,
        };
        let finished = Finished {
            attempt: self.context.uuid(called.observed.started_at),
            id: claimed.id,
            tenant_id: claimed.tenant_id,
            generation: claimed.generation,
            number: number(&claimed),
            next,
            observed: called.observed,
        };
        if self.records.submit(finished).await == Some(true) {
            self.judge(&claimed, said).await;
        }
    }

    /// How long the delivery waits for the endpoint's own limit, if it has one and that is used up.
    async fn limited(&self, claimed: &Claimed) -> Option<Duration> {
        let (rate, endpoint) = (claimed.rate()?, claimed.endpoint_id);
        let verdict = self.context.limits.judge_endpoint(endpoint, rate).await;
        let wait = verdict.refused_for()?;
        let step = rate.window / rate.count.get();
        Some(self.gate.defer(claimed.tenant_id, endpoint, step).max(wait))
    }

    /// What a call says of its endpoint. Should any of this fail, the endpoint's next call does it.
    ///
    /// An endpoint that is seldom called may have been well between two failures, however long ago the first one was: it is
    /// turned off by a delivery that has failed for long itself.
    async fn judge(&self, claimed: &Claimed, said: Said) {
        let (failing_since, disable_after) =
            (claimed.failing_since, self.context.config.webhooks.disable_after);
        let for_long = |since: DateTime<Utc>| since + disable_after <= said.began;
        if said.is_gone {
            self.switch_off(claimed, Offence::Gone).await;
        } else if said.succeeded == failing_since.is_some() {
            let (endpoint, answers) = (claimed.endpoint_id, said.succeeded);
            self.endpoints.submit(Standing { endpoint, answers }).await;
        } else if failing_since.is_some_and(for_long) && (said.is_last || for_long(claimed.created_at)) {
            self.switch_off(claimed, Offence::Failing).await;
        }
    }

    /// Lets go of a delivery that was not called to the end, to be found again after a while.
    async fn give_back(&self, claimed: &Claimed, why: &'static str, after: Duration) {
        counter!("latchkey_delivery_returns_total", "reason" => why).increment(1);
        let back = GivenBack {
            id: claimed.id,
            generation: claimed.generation,
            at: self.context.clock.now() + after,
        };
        self.returns.submit(back).await;
    }

    /// Nothing, where the worker's time was up first.
    async fn call(&self, claimed: &Claimed) -> Option<Called> {
        let in_flight = gauge!("latchkey_deliveries_in_flight");
        in_flight.increment(1.0);
        let ring = &self.context.config.secrets.data_keys;
        let trace = claimed.trace().map(|trace| trace.child(&*self.context.random));
        let calling = call(&self.callers, ring, claimed, trace, self.context.clock.now());
        let called = self.time_up.run_until_cancelled(calling).await;
        in_flight.decrement(1.0);
        let called = called?;

        let outcome = if called.succeeded() { "succeeded" } else { "failed" };
        let class = called.observed.error_class.map_or("none", ErrorClass::as_str);
        counter!("latchkey_delivery_attempts_total", "outcome" => outcome, "error_class" => class)
            .increment(1);
        histogram!("latchkey_delivery_call_seconds", "outcome" => outcome).record(called.observed.duration);
        if claimed.attempts == 0 {
            let waited = (called.observed.started_at - claimed.created_at)
                .to_std()
                .unwrap_or_default();
            histogram!("latchkey_delivery_first_attempt_delay_seconds").record(waited);
        }
        Some(called)
    }

    /// What becomes of the delivery.
    fn next(&self, claimed: &Claimed, called: &Called) -> Next {
        if called.succeeded() {
            return Next::Succeeded;
        }
        if called.is_gone() {
            return Next::Failed;
        }
        let share = f64::from(u32::from_ne_bytes(random::array(&*self.context.random))) / f64::from(u32::MAX);
        let again = self.schedule.next(
            number(claimed) - claimed.earlier_attempts,
            self.context.clock.now(),
            share,
            called.retry_after,
        );
        again.map_or(Next::Failed, Next::Again)
    }

    async fn switch_off(&self, claimed: &Claimed, offence: Offence) {
        if let Err(error) = switch_off(&self.context, claimed, offence).await {
            tracing::warn!(endpoint = %claimed.endpoint_id, ?offence, %error, "an endpoint was not turned off");
        }
    }
}

/// The call's number, from 1.
fn number(claimed: &Claimed) -> i32 {
    claimed.attempts.saturating_add(1)
}

/// What a call says of its endpoint.
#[derive(Clone, Copy)]
struct Said {
    began: DateTime<Utc>,
    succeeded: bool,
    is_gone: bool,
    /// The delivery is given up.
    is_last: bool,
}

/// Whether an endpoint has begun to fail, or answers again.
#[derive(Clone, Copy)]
struct Standing {
    endpoint: EndpointId,
    answers: bool,
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

/// Tries more than once, as their leases leave time: what is not recorded is called again.
async fn record(context: Context, calls: Vec<Finished>) -> Vec<bool> {
    let mut pauses = RECORDED_AGAIN.into_iter();
    let recorded = loop {
        let Err(error) = work::record(&context, &calls).await else {
            break true;
        };
        let Some(pause) = pauses.next() else {
            tracing::warn!(calls = calls.len(), %error, "calls were not recorded; they are made again when their leases end");
            break false;
        };
        tracing::warn!(calls = calls.len(), %error, "calls were not recorded; this is tried again");
        tokio::time::sleep(pause).await;
    };
    vec![recorded; calls.len()]
}

async fn give_back(context: Context, back: Vec<GivenBack>) -> Vec<()> {
    if let Err(error) = work::give_back(&context, &back).await {
        tracing::warn!(deliveries = back.len(), %error, "deliveries were not given back; their leases end");
    }
    vec![(); back.len()]
}

async fn note(context: Context, seen: Vec<Standing>) -> Vec<()> {
    let (answering, failing): (Vec<_>, Vec<_>) = seen.iter().partition(|seen| seen.answers);
    let ids = |seen: Vec<Standing>| seen.into_iter().map(|seen| seen.endpoint.0).collect();
    if let Err(error) = work::note_endpoints(&context, ids(answering), ids(failing)).await {
        tracing::warn!(%error, "how endpoints stand is noted with their next calls");
    }
    vec![(); seen.len()]
}
