//! What is known of an endpoint: how many calls at once it takes, how long they last, and whether it is there at all.

use std::time::{Duration, Instant};

use metrics::counter;

use super::turns::Turns;

/// Calls at once to an endpoint of which nothing is known, and to one that answers slowly.
pub(super) const FIRST_WINDOW: usize = 8;
/// An answer that takes longer holds a slot that others want.
pub(super) const SLOW: Duration = Duration::from_secs(1);
/// How long a call is taken to last where none has been made: as long as most do. Taken for slower, an endpoint that
/// answers at once would get what it could not take in its first moments back only much later.
const GUESSED_PACE: Duration = Duration::from_millis(20);
/// So many slow calls in a row without an answer open the circuit.
const OPENING: u32 = 5;
/// The first pause of an open circuit; each further call without an answer doubles it, up to the second.
pub(super) const PAUSE: (Duration, Duration) = (Duration::from_secs(5), Duration::from_mins(1));

/// How a call ended.
#[derive(Clone, Copy)]
pub(super) struct Ended {
    pub(super) took: Duration,
    pub(super) answered: bool,
}

pub(super) struct Endpoint {
    pub(super) window: usize,
    pub(super) calls: usize,
    pub(super) waiting: usize,
    /// How long a call takes, roughly.
    pub(super) pace: Duration,
    pub(super) turns: Turns,
    /// Slow calls without an answer since the last answer.
    unanswered: u32,
    /// While the circuit is open.
    pub(super) open_until: Option<Instant>,
    pub(super) asked_at: Instant,
}

impl Endpoint {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            window: FIRST_WINDOW,
            calls: 0,
            waiting: 0,
            pace: GUESSED_PACE,
            turns: Turns::new(now),
            unanswered: 0,
            open_until: None,
            asked_at: now,
        }
    }

    pub(super) fn is_open(&self, now: Instant) -> bool {
        self.open_until.is_some_and(|until| until > now)
    }

    pub(super) fn has_room(&self, now: Instant) -> bool {
        // After the pause one call shows whether the endpoint is back.
        let probing = self.open_until.is_some();
        !self.is_open(now) && self.calls < if probing { 1 } else { self.window }
    }

    /// Hands out a turn to come back, behind all that were handed out before.
    pub(super) fn turn(&mut self, now: Instant) -> Duration {
        let step = self.pace / u32::try_from(self.window).unwrap_or(u32::MAX).max(1);
        self.turns.next(step, self.open_until, now)
    }

    pub(super) fn waits_no_more(&mut self) {
        self.waiting = self.waiting.saturating_sub(1);
    }

    pub(super) fn learn(&mut self, ended: Ended, share: usize, now: Instant) {
        let Ended { took, answered } = ended;
        self.pace = (self.pace * 3 + took) / 4;
        if took < SLOW {
            // Refused at once, too, costs nobody anything.
            self.window = (self.window + 1).min(share);
        } else if answered {
            self.window = (self.window / 2).max(FIRST_WINDOW.min(share));
        } else {
            self.window = (self.window / 2).max(1);
        }
        if answered || took < SLOW {
            self.unanswered = 0;
            self.open_until = None;
            return;
        }
        self.unanswered = self.unanswered.saturating_add(1);
        if let Some(more) = self.unanswered.checked_sub(OPENING) {
            let pause = PAUSE.0.saturating_mul(1 << more.min(10)).min(PAUSE.1);
            self.open_until = Some(now + pause);
            counter!("latchkey_delivery_circuits_opened_total").increment(1);
        }
    }
}
