//! Keys act, and more than before is told to every process.

crate::sql_migration!(
    "
ALTER TABLE audit_events DROP CONSTRAINT audit_events_actor_kind_check;
ALTER TABLE audit_events ADD CONSTRAINT audit_events_actor_kind_check
    CHECK (actor_kind IN ('user', 'api_key', 'anonymous', 'system'));

ALTER TABLE signals DROP CONSTRAINT signals_kind_check;
ALTER TABLE signals ADD CONSTRAINT signals_kind_check CHECK (kind IN (
    'session_revoked', 'account_changed', 'tenant_changed', 'role_changed', 'service_account_changed', 'api_key_changed'));
"
);
