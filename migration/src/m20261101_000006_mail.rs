//! Mails on their way. What a mail says, its recipient and its links are sealed.

crate::sql_migration!(
    "
CREATE TABLE mails (
    id              uuid PRIMARY KEY,
    tenant_id       uuid NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    kind            text NOT NULL,
    sealed          bytea NOT NULL,
    state           text NOT NULL CHECK (state IN ('pending', 'succeeded', 'failed')),
    attempts        integer NOT NULL DEFAULT 0,
    last_error      text,
    next_attempt_at timestamptz,
    -- Not before then does the sweep look at the row: it is queued, leased, or not due.
    sweep_at        timestamptz NOT NULL,
    lease_until     timestamptz,
    -- Counts the leases: a worker that lost its lease cannot write over the next one's outcome.
    generation      integer NOT NULL DEFAULT 0,
    created_at      timestamptz NOT NULL,
    finished_at     timestamptz
);
CREATE INDEX mails_due ON mails (sweep_at) WHERE state = 'pending';
",
    isolate "mails"
);
