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
    evenly_since(Instant::now(), work).await
}

/// As [`evenly`], of work that began earlier.
pub(super) async fn evenly_since<T>(started: Instant, work: impl Future<Output = T>) -> T {
    let outcome = work.await;
    tokio::time::sleep_until(started + strokes(started.elapsed())).await;
    outcome
}

/// The whole intervals that work of that length takes.
fn strokes(elapsed: Duration) -> Duration {
    let whole = elapsed.as_nanos() / INTERVAL.as_nanos() + 1;
    INTERVAL * u32::try_from(whole).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_and_shorter_work_take_the_same_time() {
        for millis in [0, 1, 49] {
            assert_eq!(strokes(Duration::from_millis(millis)), INTERVAL);
        }
        assert_eq!(strokes(Duration::from_millis(51)), INTERVAL * 2);
    }

    #[tokio::test]
    async fn an_answer_waits_for_its_stroke() {
        let started = Instant::now();
        assert_eq!(evenly(async { 7 }).await, 7);
        assert!(started.elapsed() >= INTERVAL);
    }
}
