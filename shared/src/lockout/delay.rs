//! How long a failure makes one wait. Pure.

use std::time::Duration;

/// How failures to prove one kind of credential add up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Schedule {
    /// The failure that begins to lock.
    pub(super) threshold: u32,
    /// So many within one count lock until the count is over.
    pub(super) limit: u32,
    /// Seconds after the first failure that locks, the second, and so on; the last for all that follow.
    pub(super) waits: &'static [u32],
}

/// For passwords: a mistyped one costs nothing, a guesser soon gets nowhere.
pub(super) const PASSWORD_WAITS: &[u32] = &[1, 3, 5, 10, 60, 120, 300, 900, 1800, 3600];
/// For six digits: who has come so far knows the password.
pub(super) const CODE_WAITS: &[u32] = &[60, 300, 900, 3600];

/// What a failure comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wait {
    /// Nothing yet.
    None,
    /// The credential is locked for so long.
    For(Duration),
    /// Until the count is over, or somebody unlocks it.
    UntilTheEnd,
}

impl Schedule {
    /// What the failure of that number comes to.
    pub(super) fn wait(&self, failures: u32) -> Wait {
        if failures >= self.limit {
            return Wait::UntilTheEnd;
        }
        let Some(beyond) = failures.checked_sub(self.threshold.max(1)) else {
            return Wait::None;
        };
        let step = usize::try_from(beyond).unwrap_or(usize::MAX);
        let seconds = self.waits.get(step).or(self.waits.last()).copied();
        seconds.map_or(Wait::None, |seconds| {
            Wait::For(Duration::from_secs(seconds.into()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_with_each_failure_from_the_threshold_on_and_end_in_a_hard_stop() {
        let schedule = Schedule {
            threshold: 5,
            limit: 100,
            waits: PASSWORD_WAITS,
        };
        let seconds = |failures| match schedule.wait(failures) {
            Wait::None => 0,
            Wait::For(wait) => wait.as_secs(),
            Wait::UntilTheEnd => u64::MAX,
        };
        let waits: Vec<u64> = (4..=11).map(seconds).collect();
        assert_eq!(waits, [0, 1, 3, 5, 10, 60, 120, 300]);
        assert_eq!((seconds(14), seconds(99)), (3600, 3600));
        assert_eq!((seconds(100), seconds(1_000_000)), (u64::MAX, u64::MAX));
    }

    #[test]
    fn a_threshold_of_nothing_locks_from_the_first_failure() {
        let schedule = Schedule {
            threshold: 0,
            limit: 10,
            waits: CODE_WAITS,
        };
        assert_eq!(schedule.wait(0), Wait::None);
        assert_eq!(schedule.wait(1), Wait::For(Duration::from_mins(1)));
    }
}
