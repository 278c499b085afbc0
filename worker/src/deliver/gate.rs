//! Who may be called now. No endpoint and no tenant holds more of the worker than its share.
//!
//! An endpoint has a window of calls at once, as TCP has for a path that it does not know: small at first, wider by one
//! with each answer that comes soon, half as wide after each call that takes long. What does not answer at all is called
//! by one at a time in the end, and after several such calls in a row not at all for a pause: the circuit is open.
//! All endpoints of a tenant together call with half of a lane's slots at most, and hold three quarters with those that wait;
//! all slow endpoints together, whosesoever they are, call with half of them.
//!
//! Whoever finds the window full waits a moment for a call to end, as long as no more wait than are called: an endpoint
//! that answers at once keeps its calls coming. Anyone else is told when to come back ([`super::turns`]).

use std::{
    collections::{HashMap, VecDeque},
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use latchkey_shared::{
    id::{EndpointId, TenantId},
    queue::Lane,
};
use tokio::{sync::oneshot, time::timeout};

use super::endpoint::{Ended, Endpoint, SLOW};

/// So long somebody waits for a call to end.
const PATIENCE: Duration = Duration::from_millis(200);
/// Tenants and endpoints that nobody has asked for since are forgotten when that many are known.
const KNOWN: usize = 10_000;
const FORGET: Duration = Duration::from_mins(10);

/// Cheap to clone.
#[derive(Clone)]
pub(super) struct Gate(Arc<Shared>);

struct Shared {
    shares: HashMap<Lane, Share>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    tenants: Known<TenantId, Tenant>,
    /// Calls to slow endpoints, of all tenants.
    slow_calls: HashMap<Lane, usize>,
}

/// What was asked for lately.
struct Known<K, V> {
    map: HashMap<K, V>,
    /// When there are more, it is time to forget: seldom enough that nobody pays for what others have left.
    many: usize,
}

impl<K, V> Default for Known<K, V> {
    fn default() -> Self {
        Self {
            map: HashMap::new(),
            many: KNOWN,
        }
    }
}

impl<K: Eq + Hash, V> Known<K, V> {
    fn forget_but(&mut self, keep: impl Fn(&V) -> bool) {
        if self.map.len() > self.many {
            self.map.retain(|_, value| keep(value));
            self.many = KNOWN.max(self.map.len() * 2);
        }
    }
}

/// What one tenant may hold of a lane.
#[derive(Clone, Copy, Default)]
struct Share {
    /// Calls at once, of all its endpoints or of one; and of all that are slow.
    calls: usize,
    /// Those and whoever waits to call.
    jobs: usize,
}

#[derive(Default)]
struct Tenant {
    calls: HashMap<Lane, usize>,
    endpoints: Known<EndpointId, Endpoint>,
    waiting: VecDeque<Place>,
}

/// Somebody's place in the queue.
struct Place {
    lane: Lane,
    endpoint: EndpointId,
    tell: oneshot::Sender<Slot>,
}

/// What a call takes until it ends.
#[derive(Clone, Copy)]
struct Slot {
    /// Whether it is one of those that slow endpoints have together.
    slow: bool,
}

/// A call that may be made now. Its slot is free again when this is dropped.
pub(super) struct Pass {
    gate: Gate,
    lane: Lane,
    tenant: TenantId,
    endpoint: EndpointId,
    slot: Slot,
    ended: Option<Ended>,
}

enum Asked {
    Go(Slot),
    Wait(oneshot::Receiver<Slot>),
    Back(Duration),
}

impl Gate {
    /// Of a worker that runs so many jobs of each lane at once.
    pub(super) fn new(slots: impl IntoIterator<Item = (Lane, usize)>) -> Self {
        let share = |slots: usize| Share {
            calls: slots.div_ceil(2).max(1),
            jobs: (slots * 3).div_ceil(4).max(1),
        };
        let shares = slots.into_iter().map(|(lane, slots)| (lane, share(slots)));
        Self(Arc::new(Shared {
            shares: shares.collect(),
            state: Mutex::default(),
        }))
    }

    fn share(&self, lane: Lane) -> Share {
        self.0.shares.get(&lane).copied().unwrap_or_default()
    }

    /// Lets a call pass, or says after how long to ask again.
    pub(super) async fn enter(
        &self,
        lane: Lane,
        tenant: TenantId,
        endpoint: EndpointId,
    ) -> Result<Pass, Duration> {
        let asked = self.ask(lane, tenant, endpoint, Instant::now());
        let told = match asked {
            Asked::Go(slot) => return Ok(self.pass(lane, tenant, endpoint, slot)),
            Asked::Back(after) => return Err(after),
            Asked::Wait(told) => told,
        };
        let mut waiting = Waiting {
            gate: self,
            lane,
            tenant,
            endpoint,
            told,
        };
        if let Ok(Ok(slot)) = timeout(PATIENCE, &mut waiting.told).await {
            return Ok(self.pass(lane, tenant, endpoint, slot));
        }
        drop(waiting);
        let now = Instant::now();
        let mut state = self.state();
        let tenant = state.tenants.map.entry(tenant).or_default();
        Err(tenant.endpoint(endpoint, now).turn(now))
    }

    /// After how long a delivery comes back whose endpoint is called once in a `step` at most: behind all that were told
    /// so before.
    pub(super) fn defer(&self, tenant: TenantId, endpoint: EndpointId, step: Duration) -> Duration {
        let now = Instant::now();
        let mut state = self.state();
        let known = state
            .tenants
            .map
            .entry(tenant)
            .or_default()
            .endpoint(endpoint, now);
        known.turns.next(step, known.open_until, now)
    }

    fn pass(&self, lane: Lane, tenant: TenantId, endpoint: EndpointId, slot: Slot) -> Pass {
        Pass {
            gate: self.clone(),
            lane,
            tenant,
            endpoint,
            slot,
            ended: None,
        }
    }

    fn ask(&self, lane: Lane, tenant: TenantId, endpoint: EndpointId, now: Instant) -> Asked {
        let share = self.share(lane);
        let mut state = self.state();
        let State { tenants, slow_calls } = &mut *state;
        tenants.forget_but(|tenant| tenant.is_busy() || tenant.was_asked_since(now, FORGET));
        let tenant = tenants.map.entry(tenant).or_default();
        tenant.endpoints.forget_but(|known| {
            known.calls + known.waiting > 0 || now.duration_since(known.asked_at) < FORGET
        });
        let calls = tenant.calls(lane);
        let jobs = calls + tenant.waiting.iter().filter(|place| place.lane == lane).count();
        if let Some(slot) = tenant.take(lane, endpoint, share, slow_calls, now) {
            return Asked::Go(slot);
        }
        let known = tenant.endpoint(endpoint, now);
        if known.is_open(now) || known.waiting >= known.window || jobs >= share.jobs {
            return Asked::Back(known.turn(now));
        }
        known.waiting += 1;
        let (tell, told) = oneshot::channel();
        tenant.waiting.push_back(Place { lane, endpoint, tell });
        Asked::Wait(told)
    }

    fn leave(
        &self,
        lane: Lane,
        (tenant, endpoint): (TenantId, EndpointId),
        slot: Slot,
        ended: Option<Ended>,
    ) {
        let now = Instant::now();
        let mut state = self.state();
        let State { tenants, slow_calls } = &mut *state;
        let Some(tenant) = tenants.map.get_mut(&tenant) else {
            return;
        };
        tenant.put_back(lane, endpoint, slot, slow_calls, now);
        if let Some(ended) = ended {
            tenant
                .endpoint(endpoint, now)
                .learn(ended, self.share(Lane::Fresh).calls, now);
        }
        tenant.call_next(|lane| self.share(lane), slow_calls, now);
    }

    fn call_next_of(&self, tenant: TenantId) {
        let mut state = self.state();
        let State { tenants, slow_calls } = &mut *state;
        if let Some(tenant) = tenants.map.get_mut(&tenant) {
            tenant.call_next(|lane| self.share(lane), slow_calls, Instant::now());
        }
    }

    // Nothing under the lock panics, and every state of it is a valid one.
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Somebody's place among those who wait, given up when dropped.
struct Waiting<'a> {
    gate: &'a Gate,
    lane: Lane,
    tenant: TenantId,
    endpoint: EndpointId,
    told: oneshot::Receiver<Slot>,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.told.close();
        match self.told.try_recv() {
            // Told at the last moment, and nobody heard it: the slot is the next one's.
            Ok(slot) => self
                .gate
                .leave(self.lane, (self.tenant, self.endpoint), slot, None),
            Err(_) => self.gate.call_next_of(self.tenant),
        }
    }
}

impl Pass {
    /// The call has ended, and how.
    pub(super) fn ended(mut self, took: Duration, answered: bool) {
        self.ended = Some(Ended { took, answered });
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        let of = (self.tenant, self.endpoint);
        self.gate.leave(self.lane, of, self.slot, self.ended);
    }
}

impl Tenant {
    fn endpoint(&mut self, id: EndpointId, now: Instant) -> &mut Endpoint {
        let endpoint = self.endpoints.map.entry(id).or_insert_with(|| Endpoint::new(now));
        endpoint.asked_at = now;
        endpoint
    }

    /// A slot for a call, if the endpoint, the tenant and the slow ones together leave one.
    fn take(
        &mut self,
        lane: Lane,
        id: EndpointId,
        share: Share,
        slow_calls: &mut HashMap<Lane, usize>,
        now: Instant,
    ) -> Option<Slot> {
        let calls = self.calls(lane);
        let known = self.endpoint(id, now);
        let slot = Slot {
            slow: known.pace >= SLOW,
        };
        let of_slow = slow_calls.entry(lane).or_default();
        if calls >= share.calls || !known.has_room(now) || (slot.slow && *of_slow >= share.calls) {
            return None;
        }
        known.calls += 1;
        *of_slow += usize::from(slot.slow);
        self.calls.insert(lane, calls + 1);
        Some(slot)
    }

    /// Hands free slots to those who wait, the first first.
    fn call_next(
        &mut self,
        share: impl Fn(Lane) -> Share,
        slow_calls: &mut HashMap<Lane, usize>,
        now: Instant,
    ) {
        let mut still = VecDeque::new();
        while let Some(place) = self.waiting.pop_front() {
            let (lane, id) = (place.lane, place.endpoint);
            if place.tell.is_closed() {
                self.endpoint(id, now).waits_no_more();
                continue;
            }
            let Some(slot) = self.take(lane, id, share(lane), slow_calls, now) else {
                still.push_back(place);
                continue;
            };
            self.endpoint(id, now).waits_no_more();
            if place.tell.send(slot).is_err() {
                self.put_back(lane, id, slot, slow_calls, now);
            }
        }
        self.waiting = still;
    }

    fn put_back(
        &mut self,
        lane: Lane,
        id: EndpointId,
        slot: Slot,
        slow_calls: &mut HashMap<Lane, usize>,
        now: Instant,
    ) {
        let calls = self.calls(lane).saturating_sub(1);
        self.calls.insert(lane, calls);
        let known = self.endpoint(id, now);
        known.calls = known.calls.saturating_sub(1);
        let of_slow = slow_calls.entry(lane).or_default();
        *of_slow = of_slow.saturating_sub(usize::from(slot.slow));
    }

    fn calls(&self, lane: Lane) -> usize {
        self.calls.get(&lane).copied().unwrap_or_default()
    }

    fn is_busy(&self) -> bool {
        self.calls.values().any(|calls| *calls > 0) || !self.waiting.is_empty()
    }

    fn was_asked_since(&self, now: Instant, since: Duration) -> bool {
        self.endpoints
            .map
            .values()
            .any(|known| now.duration_since(known.asked_at) < since)
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::deliver::{
        endpoint::{FIRST_WINDOW, PAUSE},
        turns::{LATEST, SOONEST},
    };

    const SOON: Duration = Duration::from_millis(5);
    const LATE: Duration = Duration::from_secs(15);

    fn ids(tenant: u128, endpoint: u128) -> (TenantId, EndpointId) {
        (
            TenantId(Uuid::from_u128(tenant)),
            EndpointId(Uuid::from_u128(endpoint)),
        )
    }

    fn fresh(slots: usize) -> Gate {
        Gate::new([(Lane::Fresh, slots)])
    }

    fn go(gate: &Gate, (tenant, endpoint): (TenantId, EndpointId)) -> Option<Pass> {
        match gate.ask(Lane::Fresh, tenant, endpoint, Instant::now()) {
            Asked::Go(slot) => Some(gate.pass(Lane::Fresh, tenant, endpoint, slot)),
            Asked::Back(_) => None,
            Asked::Wait(told) => {
                drop(Waiting {
                    gate,
                    lane: Lane::Fresh,
                    tenant,
                    endpoint,
                    told,
                });
                None
            }
        }
    }

    fn fill(gate: &Gate, of: (TenantId, EndpointId)) -> Vec<Pass> {
        std::iter::from_fn(|| go(gate, of)).collect()
    }

    #[test]
    fn an_unknown_endpoint_gets_few_calls_at_once_and_a_prompt_one_up_to_its_share() {
        let (gate, one) = (fresh(128), ids(1, 1));
        assert_eq!(fill(&gate, one).len(), FIRST_WINDOW);
        for _ in 0..200 {
            go(&gate, one).unwrap().ended(SOON, true);
        }
        assert_eq!(fill(&gate, one).len(), 64);
    }

    #[test]
    fn an_endpoint_that_hangs_is_called_by_one_and_then_by_none_for_a_while() {
        let (gate, one) = (fresh(128), ids(1, 1));
        for pass in fill(&gate, one) {
            pass.ended(LATE, false);
        }
        assert!(go(&gate, one).is_none(), "the circuit is open");
        let (tenant, endpoint) = one;
        let later = Instant::now() + PAUSE.1;
        let Asked::Go(probe) = gate.ask(Lane::Fresh, tenant, endpoint, later) else {
            panic!("no probe");
        };
        assert!(
            !matches!(gate.ask(Lane::Fresh, tenant, endpoint, later), Asked::Go(_)),
            "one alone"
        );
        gate.pass(Lane::Fresh, tenant, endpoint, probe).ended(SOON, true);
        assert!(go(&gate, one).is_some(), "an answer closes it");
    }

    #[test]
    fn an_endpoint_that_answers_slowly_keeps_what_a_new_one_has() {
        let (gate, one) = (fresh(128), ids(1, 1));
        for _ in 0..20 {
            go(&gate, one).unwrap().ended(LATE, true);
        }
        assert_eq!(fill(&gate, one).len(), FIRST_WINDOW);
    }

    #[test]
    fn all_endpoints_of_a_tenant_leave_half_of_the_slots_to_others() {
        let gate = fresh(64);
        let hogged: Vec<Pass> = (0..100).flat_map(|n| fill(&gate, ids(1, n))).collect();
        assert_eq!(hogged.len(), 32);
        assert!(go(&gate, ids(2, 1)).is_some());
    }

    #[test]
    fn slow_endpoints_of_many_tenants_leave_half_of_the_slots_to_others() {
        let gate = fresh(64);
        let each = || (1..=100).map(|tenant| ids(tenant, 1));
        // It takes a few calls to know that an endpoint is slow.
        for of in each() {
            for _ in 0..20 {
                go(&gate, of).unwrap().ended(LATE, true);
            }
        }
        let hogged: Vec<Pass> = each().flat_map(|of| fill(&gate, of)).collect();
        assert_eq!(hogged.len(), 32);
        assert!(go(&gate, ids(101, 1)).is_some(), "a new one");
        drop(hogged);
        assert_eq!(fill(&gate, ids(1, 1)).len(), FIRST_WINDOW, "they have ended");
    }

    #[test]
    fn those_of_a_tenant_that_wait_leave_a_quarter_of_the_slots_to_others() {
        let gate = fresh(64);
        let asks = |tenant, endpoint| {
            let (tenant, endpoint) = ids(tenant, endpoint);
            gate.ask(Lane::Fresh, tenant, endpoint, Instant::now())
        };
        // A window of each endpoint calls, and as many would wait.
        let asked: Vec<Asked> = (0..2_000).map(|n| asks(1, n % 100)).collect();
        let count = |of: fn(&Asked) -> bool| asked.iter().filter(|asked| of(asked)).count();
        assert_eq!(count(|asked| matches!(asked, Asked::Go(_))), 32);
        assert_eq!(count(|asked| matches!(asked, Asked::Wait(_))), 16);
        assert!(matches!(asks(2, 1), Asked::Go(_)));
    }

    #[test]
    fn a_tenant_holds_no_more_of_the_smaller_lane_than_its_share_of_that() {
        let gate = Gate::new([(Lane::Fresh, 64), (Lane::Retry, 16)]);
        let calls = |lane, tenant: u128| {
            let asked = (0..100).map(|n| {
                let (tenant, endpoint) = ids(tenant, tenant * 1_000 + n);
                gate.ask(lane, tenant, endpoint, Instant::now())
            });
            asked.filter(|asked| matches!(asked, Asked::Go(_))).count()
        };
        assert_eq!(calls(Lane::Retry, 1), 8);
        assert_eq!(calls(Lane::Retry, 2), 8);
        assert_eq!(calls(Lane::Fresh, 1), 32, "the other lane is another matter");
    }

    #[test]
    fn who_comes_back_comes_back_one_after_the_other() {
        let (gate, (tenant, endpoint)) = (fresh(128), ids(1, 1));
        for _ in 0..40 {
            go(&gate, (tenant, endpoint)).unwrap().ended(SLOW, true);
        }
        let _calls = fill(&gate, (tenant, endpoint));
        let now = Instant::now();
        let mut asked = (0..5000).map(|_| gate.ask(Lane::Fresh, tenant, endpoint, now));
        let waiting: Vec<_> = asked.by_ref().take(FIRST_WINDOW).collect();
        assert!(waiting.iter().all(|asked| matches!(asked, Asked::Wait(_))));
        let turns: Vec<Duration> = asked
            .map(|asked| match asked {
                Asked::Back(after) => after,
                _ => panic!("the window is full"),
            })
            .collect();
        assert!(turns.is_sorted());
        assert_eq!((turns[0], *turns.last().unwrap()), (SOONEST, LATEST.0));
        let in_the_second_minute = |turn: &&Duration| (60..120).contains(&turn.as_secs());
        let few = turns.iter().filter(in_the_second_minute).count();
        assert!((400..=500).contains(&few), "{few}");
    }

    #[tokio::test]
    async fn a_slot_goes_to_who_waits_and_is_lost_by_nobody() {
        let (gate, (tenant, endpoint)) = (fresh(16), ids(1, 1));
        let mut calls = fill(&gate, (tenant, endpoint));
        let waits = gate.enter(Lane::Fresh, tenant, endpoint);
        let ends = async {
            tokio::task::yield_now().await;
            drop(calls.pop());
        };
        let (entered, ()) = tokio::join!(waits, ends);
        calls.extend(entered);
        assert_eq!(calls.len(), FIRST_WINDOW, "the slot that became free");
        // In vain, and whoever gives up leaves no trace.
        assert!(gate.enter(Lane::Fresh, tenant, endpoint).await.is_err());
        drop(calls);
        assert_eq!(fill(&gate, (tenant, endpoint)).len(), FIRST_WINDOW);
    }

    #[tokio::test]
    async fn who_is_dropped_while_it_waits_gives_its_slot_away() {
        let (gate, (tenant, endpoint)) = (fresh(16), ids(1, 1));
        let mut calls = fill(&gate, (tenant, endpoint));
        {
            let mut waits = std::pin::pin!(gate.enter(Lane::Fresh, tenant, endpoint));
            assert!(futures::poll!(waits.as_mut()).is_pending());
            drop(calls.pop());
        }
        assert!(go(&gate, (tenant, endpoint)).is_some());
    }
}
