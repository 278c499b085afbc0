//! When the next attempt is due. Deliveries and mails wait alike.

use std::time::Duration;

use chrono::{DateTime, Utc};

/// A receiver may ask for patience, but not for ever.
const MAX_RETRY_AFTER: Duration = Duration::from_hours(24);

/// How attempts follow one another.
#[derive(Clone, Debug)]
pub struct Schedule {
    /// From each failed attempt to the next; after the last there is none.
    pub waits: Vec<Duration>,
    /// Each wait varies by this share of itself, so that what failed together does not return together.
    pub jitter: f64,
}

impl Schedule {
    /// When to try again after attempt number `attempts` (from 1) has failed at `now`; `None` to give up.
    ///
    /// `random` lies between 0 and 1. `retry_after` is the receiver's own wish: it can only lengthen the wait.
    #[must_use]
    pub fn next(
        &self,
        attempts: i32,
        now: DateTime<Utc>,
        random: f64,
        retry_after: Option<Duration>,
    ) -> Option<DateTime<Utc>> {
        let failed = usize::try_from(attempts).ok()?.checked_sub(1)?;
        let wait = self
            .waits
            .get(failed)?
            .mul_f64((1.0 + self.jitter * (2.0 * random - 1.0)).max(0.0));
        let asked = retry_after.unwrap_or_default().min(MAX_RETRY_AFTER);
        Some(now + wait.max(asked))
    }
}

/// Reads `Retry-After`: seconds, or a date (RFC 9110 section 10.2.3).
#[must_use]
pub fn retry_after(value: &str, now: DateTime<Utc>) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = DateTime::parse_from_rfc2822(value).ok()?;
    Some((at.to_utc() - now).to_std().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule() -> Schedule {
        Schedule {
            waits: vec![Duration::from_secs(5), Duration::from_mins(5)],
            jitter: 0.2,
        }
    }

    fn wait(attempts: i32, random: f64, retry_after: Option<u64>) -> Option<i64> {
        let now = DateTime::UNIX_EPOCH;
        let at = schedule().next(attempts, now, random, retry_after.map(Duration::from_secs))?;
        Some((at - now).num_milliseconds())
    }

    #[test]
    fn waits_follow_the_schedule_and_end_with_it() {
        assert_eq!(wait(1, 0.5, None), Some(5_000));
        assert_eq!(wait(2, 0.5, None), Some(300_000));
        assert_eq!(wait(3, 0.5, None), None);
        assert_eq!(wait(0, 0.5, None), None);
    }

    #[test]
    fn jitter_moves_a_wait_by_its_share_to_either_side() {
        assert_eq!(wait(1, 0.0, None), Some(4_000));
        assert_eq!(wait(1, 1.0, None), Some(6_000));
    }

    #[test]
    fn a_receiver_can_lengthen_a_wait_up_to_a_day_and_never_shorten_it() {
        assert_eq!(wait(1, 0.5, Some(60)), Some(60_000));
        assert_eq!(wait(2, 0.5, Some(1)), Some(300_000));
        assert_eq!(wait(1, 0.5, Some(u64::MAX)), Some(86_400_000));
        assert_eq!(wait(3, 0.5, Some(60)), None);
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = DateTime::UNIX_EPOCH;
        assert_eq!(retry_after("120", now), Some(Duration::from_mins(2)));
        assert_eq!(
            retry_after("Thu, 01 Jan 1970 00:01:00 GMT", now),
            Some(Duration::from_mins(1))
        );
        assert_eq!(
            retry_after("Wed, 31 Dec 1969 00:00:00 GMT", now),
            Some(Duration::ZERO)
        );
        for foreign in ["-1", "soon", "", "1.5"] {
            assert_eq!(retry_after(foreign, now), None, "{foreign}");
        }
    }
}
