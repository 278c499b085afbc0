//! Events, the endpoints that want them, deliveries and their attempts.

crate::sql_migration!(
    "
CREATE TABLE webhook_endpoints (
    id            uuid PRIMARY KEY,
    tenant_id     uuid NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    url           text NOT NULL,
    description   text,
    -- Empty: every type.
    event_types   text[] NOT NULL,
    -- Sent with every call. Their values are often credentials, so only the names stand in clear.
    header_names  text[] NOT NULL,
    sealed_headers bytea NOT NULL,
    enabled       boolean NOT NULL,
    -- Why it is not enabled, when it was not a person who turned it off.
    disabled_reason text,
    sealed_secret bytea NOT NULL,
    created_at    timestamptz NOT NULL,
    updated_at    timestamptz NOT NULL,
    -- The row outlives its endpoint, because the history of its deliveries does; its secrets do not.
    deleted_at    timestamptz,
    UNIQUE (tenant_id, id)
);

-- `body` is the very text that is signed and sent: every copy of an event bears the same bytes.
CREATE TABLE events (
    id         uuid PRIMARY KEY,
    tenant_id  uuid NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    type       text NOT NULL,
    body       text NOT NULL,
    created_at timestamptz NOT NULL,
    UNIQUE (tenant_id, id)
);

CREATE TABLE deliveries (
    id              uuid PRIMARY KEY,
    tenant_id       uuid NOT NULL,
    event_id        uuid NOT NULL,
    endpoint_id     uuid NOT NULL,
    event_type      text NOT NULL,
    state           text NOT NULL CHECK (state IN ('pending', 'succeeded', 'failed', 'cancelled')),
    attempts        integer NOT NULL DEFAULT 0,
    next_attempt_at timestamptz,
    -- Not before then does the sweep look at the row: it is queued, leased, or not due.
    sweep_at        timestamptz NOT NULL,
    lease_until     timestamptz,
    -- Counts the leases: a worker that lost its lease cannot write over the next one's outcome.
    generation      integer NOT NULL DEFAULT 0,
    created_at      timestamptz NOT NULL,
    finished_at     timestamptz,
    UNIQUE (tenant_id, id),
    FOREIGN KEY (tenant_id, event_id) REFERENCES events (tenant_id, id) ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, endpoint_id) REFERENCES webhook_endpoints (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX deliveries_due ON deliveries (sweep_at) WHERE state = 'pending';
CREATE INDEX deliveries_endpoint ON deliveries (tenant_id, endpoint_id, id);
CREATE INDEX deliveries_event ON deliveries (tenant_id, event_id);

CREATE TABLE attempts (
    id               uuid PRIMARY KEY,
    tenant_id        uuid NOT NULL,
    delivery_id      uuid NOT NULL,
    number           integer NOT NULL,
    started_at       timestamptz NOT NULL,
    duration_ms      integer NOT NULL,
    outcome          text NOT NULL CHECK (outcome IN ('succeeded', 'failed')),
    status           smallint,
    error_class      text,
    error_detail     text,
    address          text,
    response_headers jsonb NOT NULL,
    response_body    text,
    FOREIGN KEY (tenant_id, delivery_id) REFERENCES deliveries (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX attempts_delivery ON attempts (tenant_id, delivery_id, number);
",
    isolate "webhook_endpoints" "events" "deliveries" "attempts"
);
