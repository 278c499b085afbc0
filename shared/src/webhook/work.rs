//! The worker's side of deliveries.
/// The word in `attempts.outcome` for a call that was taken.
pub const SUCCEEDED: &str = "succeeded";
