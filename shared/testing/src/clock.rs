//! A clock that a test can move.

use std::sync::atomic::{AtomicI64, Ordering};

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use latchkey_shared::clock::Clock;

/// Runs like the machine's, ahead of it by what the test has added.
#[derive(Default)]
pub struct TestClock {
    ahead_micros: AtomicI64,
}

impl TestClock {
    /// Lets time pass at once.
    pub fn advance(&self, by: TimeDelta) {
        self.ahead_micros
            .fetch_add(by.num_microseconds().unwrap(), Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn now(&self) -> DateTime<Utc> {
        let ahead = TimeDelta::microseconds(self.ahead_micros.load(Ordering::SeqCst));
        Utc::now().trunc_subsecs(6) + ahead
    }
}
