//! Since when an endpoint fails: one that has done nothing else for days is turned off.

crate::sql_migration!(
    "
-- Of the first failure since the last call that succeeded.
ALTER TABLE webhook_endpoints ADD COLUMN failing_since timestamptz;
"
);
