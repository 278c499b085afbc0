//! An audit trail that shows when somebody has tampered with it.

crate::sql_migration!(
    "
-- Rows of all tenants are queued here, and the policies hold the tables' owner too.
SELECT set_config('latchkey.scope', 'cross_tenant', true);

-- Of every other column, by whoever writes the row, with the key of that id. Rows from before have none.
ALTER TABLE audit_events
    ADD COLUMN mac bytea,
    ADD COLUMN mac_key text;
CREATE INDEX audit_events_action ON audit_events (tenant_id, action, id);

-- Where each tenant's chain has got to; `mac` keeps it from being set back.
CREATE TABLE audit_chains (
    tenant_id  uuid PRIMARY KEY,
    length     bigint NOT NULL CHECK (length >= 0),
    hash       bytea NOT NULL,
    key_id     text NOT NULL,
    mac        bytea NOT NULL
);

-- A link for each audit row, in the order in which they were sealed. `hash` is a keyed one of the link before, of the
-- place, the row and what the row says.
CREATE TABLE audit_seals (
    tenant_id uuid NOT NULL,
    seq       bigint NOT NULL CHECK (seq > 0),
    audit_id  uuid NOT NULL,
    key_id    text NOT NULL,
    hash      bytea NOT NULL,
    sealed_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, seq),
    UNIQUE (tenant_id, audit_id)
);
-- When sealing began.
CREATE INDEX audit_seals_first ON audit_seals (sealed_at) WHERE seq = 1;

-- Rows that are yet to be sealed. Each appears with its audit row, in whatever order transactions commit, and goes
-- with its seal. The table is nearly empty and changes all the time: it is cleaned often.
CREATE TABLE audit_unsealed (
    tenant_id  uuid NOT NULL,
    audit_id   uuid NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, audit_id)
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);
INSERT INTO audit_unsealed SELECT tenant_id, id, created_at FROM audit_events;

-- A trigger, so that no way of writing a row goes around it.
CREATE FUNCTION latchkey_queue_unsealed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO audit_unsealed SELECT tenant_id, id, created_at FROM written;
    RETURN NULL;
END
$$;
CREATE TRIGGER audit_events_unsealed AFTER INSERT ON audit_events
    REFERENCING NEW TABLE AS written FOR EACH STATEMENT EXECUTE FUNCTION latchkey_queue_unsealed();
SELECT set_config('latchkey.scope', '', true);
",
    isolate "audit_chains" "audit_seals" "audit_unsealed"
);
