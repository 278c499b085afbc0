//! What tenants say of the types of events that they publish themselves.

crate::sql_migration!(
    "
-- They document: a type that is not here can be published all the same. The built-in ones stand in code.
CREATE TABLE event_types (
    id          uuid PRIMARY KEY,
    tenant_id   uuid NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    name        text NOT NULL,
    description text NOT NULL,
    schema      jsonb,
    example     jsonb,
    created_at  timestamptz NOT NULL,
    updated_at  timestamptz NOT NULL,
    UNIQUE (tenant_id, name)
);
",
    isolate "event_types"
);
