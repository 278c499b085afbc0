//! When those come back that an endpoint had no room for: one after the other, at the pace that the endpoint keeps, and
//! soon enough to find it well again.
//!
//! Each turn costs the database some rows, whether or not there is room then. A backlog that is too long to be looked at
//! all over in minutes comes back less often: a dead endpoint's costs no more for being longer.

use std::time::{Duration, Instant};

/// The soonest that a delivery comes back.
pub(super) const SOONEST: Duration = Duration::from_secs(1);
/// The latest, where few wait and where very many do.
pub(super) const LATEST: (Duration, Duration) = (Duration::from_mins(5), Duration::from_hours(1));
/// So many turns of an endpoint in a second are as many as it is worth.
const WORTH: f64 = 20.0;

/// The turns of one endpoint.
pub(super) struct Turns {
    /// When the last one is that was handed out.
    last: Instant,
    /// How far ahead the next one may be.
    latest: Duration,
    /// How many were handed out since.
    count: u32,
    since: Instant,
}

impl Turns {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            last: now,
            latest: LATEST.0,
            count: 0,
            since: now,
        }
    }

    /// Hands out a turn, a `step` behind all that were handed out before, and not before `opens`. It is after so long.
    pub(super) fn next(&mut self, step: Duration, opens: Option<Instant>, now: Instant) -> Duration {
        self.adapt(now);
        let from = self.last.max(now).max(opens.unwrap_or(now));
        self.last = (from + step).min(now + self.latest);
        (self.last - now).max(SOONEST)
    }

    fn adapt(&mut self, now: Instant) {
        self.count = self.count.saturating_add(1);
        let counted = now.duration_since(self.since);
        // By then everything has had its turn.
        if counted < self.latest {
            return;
        }
        // By steps: what comes at once is not what comes again and again.
        let times = f64::from(self.count) / (WORTH * counted.as_secs_f64());
        self.latest = self
            .latest
            .mul_f64(times.clamp(0.5, 2.0))
            .clamp(LATEST.0, LATEST.1);
        (self.count, self.since) = (0, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How often in a second a backlog of that size is looked at, once it has gone round for an hour.
    fn looked_at(backlog: usize) -> f64 {
        let began = Instant::now();
        let step = Duration::from_secs(15);
        let mut turns = Turns::new(began);
        let mut waiting: std::collections::BinaryHeap<_> =
            std::iter::repeat_n(std::cmp::Reverse(began), backlog).collect();
        let (hour, mut seen) = (Duration::from_hours(1), 0.0);
        while let Some(std::cmp::Reverse(now)) = waiting.pop() {
            if now >= began + hour * 2 {
                break;
            }
            seen += f64::from(u8::from(now >= began + hour));
            waiting.push(std::cmp::Reverse(now + turns.next(step, None, now)));
        }
        seen / hour.as_secs_f64()
    }

    #[test]
    fn a_long_backlog_is_looked_at_hardly_more_often_than_a_short_one() {
        let few = looked_at(3_000);
        assert!((9.0..11.0).contains(&few), "all over in five minutes: {few}");
        let many = looked_at(60_000);
        assert!(
            (10.0..40.0).contains(&many),
            "less than all over in every half hour: {many}"
        );
    }

    #[test]
    fn a_turn_is_never_before_the_endpoint_is_called_again() {
        let now = Instant::now();
        let pause = Duration::from_mins(1);
        let mut turns = Turns::new(now);
        assert_eq!(turns.next(Duration::ZERO, None, now), SOONEST);
        assert_eq!(turns.next(Duration::ZERO, Some(now + pause), now), pause);
        assert_eq!(turns.next(Duration::from_hours(9), None, now), LATEST.0);
    }
}
