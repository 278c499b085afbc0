//! Who may be called now. No endpoint and no tenant holds more of the worker than its share.
//!
//! An endpoint has a window of calls at once, as TCP has for a path that it does not know: small at first, wider by one
//! with each answer that comes soon, half as wide after each call that takes long. What does not answer at all is called
//! by one at a time in the end, and after several such calls in a row not at all for a pause: the circuit is open.
//! All endpoints of a tenant together call with half of a lane's slots at most, and hold three quarters with those that wait;
//! all slow endpoints together, whosesoever they are, call with half of them, which the tenants that have such ones share
//! alike: none has more than half of that.
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
/// For so long after it has asked for a slow call a tenant counts among those that share them: who is told to come back does
/// so within a second, unless very many do.
const WANTED: Duration = Duration::from_secs(5);

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
    slow_calls: HashMap<Lane, Slow>,
}

/// Calls to slow endpoints, and whose they are.
#[derive(Default)]
struct Slow {
    calls: usize,
    of: HashMap<TenantId, OfTenant>,
    forgot_at: Option<Instant>,
}

struct OfTenant {
    calls: usize,
    wanted_at: Instant,
}

impl Slow {
    /// Takes one of so many for the tenant, if there is one and others have not more right to it.
    fn take(&mut self, tenant: TenantId, calls: usize, now: Instant) -> bool {
        if self.forgot_at.is_none_or(|at| now.duration_since(at) > WANTED) {
            self.of
                .retain(|_, of| of.calls > 0 || now.duration_since(of.wanted_at) <= WANTED);
            self.forgot_at = Some(now);
        }
        let sharing = self.of.len() + usize::from(!self.of.contains_key(&tenant));
        let share = (calls / sharing.max(2)).max(1);
        let own = self.of.entry(tenant).or_insert(OfTenant {
            calls: 0,
            wanted_at: now,
        });
        own.wanted_at = now;
        if self.calls >= calls || own.calls >= share {
            return false;
        }
        own.calls += 1;
        self.calls += 1;
        true
    }

    fn put_back(&mut self, tenant: TenantId) {
        self.calls = self.calls.saturating_sub(1);
        if let Some(own) = self.of.get_mut(&tenant) {
            own.calls = own.calls.saturating_sub(1);
        }
    }
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
        let of = tenants.map.entry(tenant).or_default();
        of.endpoints.forget_but(|known| {
            known.calls + known.waiting > 0 || now.duration_since(known.asked_at) < FORGET
        });
        let calls = of.calls(lane);
        let jobs = calls + of.waiting.iter().filter(|place| place.lane == lane).count();
        if let Some(slot) = of.take(lane, (tenant, endpoint), share, slow_calls, now) {
            return Asked::Go(slot);
        }
        let known = of.endpoint(endpoint, now);
        if known.is_open(now) || known.waiting >= known.window || jobs >= share.jobs {
            return Asked::Back(known.turn(now));
        }
        known.waiting += 1;
        let (tell, told) = oneshot::channel();
        of.waiting.push_back(Place { lane, endpoint, tell });
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
        let Some(of) = tenants.map.get_mut(&tenant) else {
            return;
        };
        of.put_back(lane, (tenant, endpoint), slot, slow_calls, now);
        if let Some(ended) = ended {
            of.endpoint(endpoint, now)
                .learn(ended, self.share(Lane::Fresh).calls, now);
        }
        of.call_next(tenant, |lane| self.share(lane), slow_calls, now);
    }

    fn call_next_of(&self, tenant: TenantId) {
        let mut state = self.state();
        let State { tenants, slow_calls } = &mut *state;
        if let Some(of) = tenants.map.get_mut(&tenant) {
            of.call_next(tenant, |lane| self.share(lane), slow_calls, Instant::now());
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
        (tenant, id): (TenantId, EndpointId),
        share: Share,
        slow_calls: &mut HashMap<Lane, Slow>,
        now: Instant,
    ) -> Option<Slot> {
        let calls = self.calls(lane);
        let known = self.endpoint(id, now);
        let slot = Slot {
            slow: known.pace >= SLOW,
        };
        if calls >= share.calls || !known.has_room(now) {
            return None;
        }
        if slot.slow && !slow_calls.entry(lane).or_default().take(tenant, share.calls, now) {
            return None;
        }
        known.calls += 1;
        self.calls.insert(lane, calls + 1);
        Some(slot)
    }

    /// Hands free slots to those who wait, the first first.
    fn call_next(
        &mut self,
        tenant: TenantId,
        share: impl Fn(Lane) -> Share,
        slow_calls: &mut HashMap<Lane, Slow>,
        now: Instant,
    ) {
        let mut still = VecDeque::new();
        while let Some(place) = self.waiting.pop_front() {
            let (lane, id) = (place.lane, place.endpoint);
            if place.tell.is_closed() {
                self.endpoint(id, now).waits_no_more();
                continue;
            }
            let Some(slot) = self.take(lane, (tenant, id), share(lane), slow_calls, now) else {
                still.push_back(place);
                continue;
            };
            self.endpoint(id, now).waits_no_more();
            if place.tell.send(slot).is_err() {
                self.put_back(lane, (tenant, id), slot, slow_calls, now);
            }
        }
        self.waiting = still;
    }

    fn put_back(
        &mut self,
        lane: Lane,
        (tenant, id): (TenantId, EndpointId),
        slot: Slot,
        slow_calls: &mut HashMap<Lane, Slow>,
        now: Instant,
    ) {
        let calls = self.calls(lane).saturating_sub(1);
        self.calls.insert(lane, calls);
        let known = self.endpoint(id, now);
        known.calls = known.calls.saturating_sub(1);
        if slot.slow {
            slow_calls.entry(lane).or_default().put_back(tenant);
        }
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
        assert_eq!(fill(&gate, ids(1, 1)).len(), 1, "as each of them has a right to");
    }

    #[test]
    fn slow_endpoints_of_one_tenant_leave_those_of_another_their_share() {
        let gate = fresh(64);
        let slow = |tenant| (1..=100).map(move |endpoint| ids(tenant, endpoint));
        for of in slow(1).chain(slow(2)).chain(slow(3)) {
            for _ in 0..20 {
                go(&gate, of).unwrap().ended(LATE, true);
            }
        }
        let fill_all = |tenant| slow(tenant).flat_map(|of| fill(&gate, of)).collect::<Vec<Pass>>();
        let mut first = fill_all(1);
        // All three have asked a moment ago.
        assert_eq!(first.len(), 10);
        let second = fill_all(2);
        assert_eq!(second.len(), 10);
        assert_eq!(fill_all(3).len(), 10);
        first.pop().unwrap().ended(LATE, true);
        assert_eq!(fill_all(1).len(), 1, "its own again");
    }

    #[test]
    fn slow_calls_of_a_tenant_come_down_to_its_share_as_others_ask() {
        let now = Instant::now();
        let [one, other] = [1, 2].map(|tenant| ids(tenant, 1).0);
        let mut slow = Slow::default();
        let taken = |slow: &mut Slow, tenant, now| {
            std::iter::repeat_with(|| slow.take(tenant, 32, now))
                .take_while(|taken| *taken)
                .count()
        };
        assert_eq!(taken(&mut slow, one, now), 16, "half, though alone");
        assert_eq!(taken(&mut slow, other, now), 16);
        let third = ids(3, 1).0;
        assert_eq!(taken(&mut slow, third, now), 0, "there is none");
        for _ in 0..8 {
            slow.put_back(one);
        }
        assert_eq!(taken(&mut slow, one, now), 2, "a third");
        assert_eq!(taken(&mut slow, third, now), 6);
        for _ in 0..16 {
            slow.put_back(other);
        }
        // Who has no call and asks for none is forgotten.
        let later = now + WANTED * 2;
        assert_eq!(taken(&mut slow, one, later), 6);
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
