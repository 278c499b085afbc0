//! How long a credential that failed so often is locked. Pure.

use chrono::{DateTime, TimeDelta, Utc};

use crate::tenant::LockoutPolicy;

/// Failures are counted for so long after the first of them; then afresh.
pub(super) const WINDOW: TimeDelta = TimeDelta::hours(24);

/// Seconds, from the failure that begins to lock. A typing error costs a breath; an hour at a time leaves a guesser
/// some two dozen tries a day.
const STEPS: [i64; 10] = [1, 3, 5, 10, 60, 2 * 60, 5 * 60, 15 * 60, 30 * 60, 60 * 60];

/// Until when the newest of so many failures locks; `None` if it does not.
pub(super) fn locked_until(
    failures: i32,
    first_at: DateTime<Utc>,
    now: DateTime<Utc>,
    policy: LockoutPolicy,
) -> Option<DateTime<Utc>> {
    let threshold = i32::from(policy.threshold).max(1);
    let beyond = usize::try_from(failures - threshold).ok()?;
    let step = STEPS.get(beyond).or(STEPS.last()).copied()?;
    let soft = now + TimeDelta::seconds(step);
    // The limit of a day holds for the rest of the day.
    Some(if failures >= i32::from(policy.daily_limit) {
        soft.max(first_at + WINDOW)
    } else {
        soft
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locks_grow_and_end_with_the_day() {
        let policy = LockoutPolicy {
            threshold: 5,
            daily_limit: 20,
        };
        let first = DateTime::UNIX_EPOCH;
        let now = first + TimeDelta::hours(2);
        let seconds =
            |failures| locked_until(failures, first, now, policy).map(|until| (until - now).num_seconds());
        let waits: Vec<_> = (0..=20).map(seconds).collect();
        let hour = Some(3600);
        let expected = [
            None,
            None,
            None,
            None,
            None,
            Some(1),
            Some(3),
            Some(5),
            Some(10),
            Some(60),
            Some(120),
            Some(300),
            Some(900),
            Some(1800),
            hour,
            hour,
            hour,
            hour,
            hour,
            hour,
            Some(22 * 3600),
        ];
        assert_eq!(waits, expected);
    }

    #[test]
    fn no_policy_locks_before_the_first_failure() {
        let policy = LockoutPolicy {
            threshold: 0,
            daily_limit: 0,
        };
        let now = DateTime::UNIX_EPOCH;
        assert_eq!(locked_until(0, now, now, policy), None);
        assert_eq!(locked_until(1, now, now, policy), Some(now + WINDOW));
    }
}
