//! The audit trail. The application's role may add to it and read it, nothing else.

crate::sql_migration!(
    "
CREATE TABLE audit_events (
    id          uuid PRIMARY KEY,
    tenant_id   uuid NOT NULL,
    created_at  timestamptz NOT NULL,
    actor_kind  text NOT NULL CHECK (actor_kind IN ('user', 'anonymous', 'system')),
    actor_id    uuid,
    action      text NOT NULL,
    target_kind text,
    target_id   uuid,
    outcome     text NOT NULL CHECK (outcome IN ('success', 'failure')),
    request_id  text,
    address     text,
    detail      jsonb NOT NULL
);
CREATE INDEX audit_events_tenant ON audit_events (tenant_id, id);
",
    isolate "audit_events"
);
