//! Due deliveries by their lane: whoever looks for retries does not walk past all first attempts that wait.

crate::sql_migration!(
    "
DROP INDEX deliveries_due;
-- 0 for first attempts, 1 for later ones. Walked from what has been due longest; what is queued or leased is passed over
-- by `sweep_at`, which as before stands in no index.
CREATE INDEX deliveries_due ON deliveries (least(attempts, 1), next_attempt_at) WHERE state = 'pending';
"
);
