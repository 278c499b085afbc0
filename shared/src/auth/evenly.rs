//! Answers that leave at even times.
//!
//! Where an answer must not tell which way was taken, equal bytes are not enough: one way writes a row more than the
//! other. Such an answer leaves on the next stroke of a clock that started with the work, so that all that fits
//! into one interval takes the same time.

use std::time::Duration;

use tokio::time::Instant;

/// Longer than the transactions that hide behind it take, also on a busy machine.
const INTERVAL: Duration = Duration::from_millis(50);

/// Does the work; its outcome is there after a whole number of intervals.
pub(super) async fn evenly<T>(work: impl Future<Output = T>) -> T {
    let started = Instant::now();
    let outcome = work.await;
    let strokes = started.elapsed().as_nanos() / INTERVAL.as_nanos() + 1;
    let strokes = u32::try_from(strokes).unwrap_or(u32::MAX);
    tokio::time::sleep_until(started + INTERVAL * strokes).await;
    outcome
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn short_and_shorter_work_take_the_same_time() {
        for millis in [0, 1, 49] {
            let started = Instant::now();
            evenly(tokio::time::sleep(Duration::from_millis(millis))).await;
            assert_eq!(started.elapsed(), INTERVAL);
        }
        let started = Instant::now();
        evenly(tokio::time::sleep(Duration::from_millis(51))).await;
        assert_eq!(started.elapsed(), INTERVAL * 2);
    }
}
