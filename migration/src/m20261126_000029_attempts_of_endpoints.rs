//! Attempts that are found by their endpoint.

crate::sql_migration!(
    "
-- Null for attempts from before; those are found by their deliveries.
ALTER TABLE attempts ADD COLUMN endpoint_id uuid;
-- Attempts' ids bear the instants of their calls.
CREATE INDEX attempts_endpoint ON attempts (tenant_id, endpoint_id, id);
"
);
