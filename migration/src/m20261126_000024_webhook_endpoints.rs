//! Secrets that sign beside an endpoint's newest, what else an endpoint is told, and deliveries that are brought back.

crate::sql_migration!(
    "
ALTER TABLE webhook_endpoints
    ADD COLUMN metadata            jsonb NOT NULL DEFAULT '{}',
    -- The most calls in a span of so many seconds.
    ADD COLUMN rate_limit          integer CHECK (rate_limit > 0),
    ADD COLUMN rate_window_seconds integer CHECK (rate_window_seconds > 0),
    ADD CHECK ((rate_limit IS NULL) = (rate_window_seconds IS NULL));

-- What signed an endpoint's calls before its newest secret, and signs beside it until `ends_at`. Sealed for the
-- endpoint, as the newest is.
CREATE TABLE webhook_former_secrets (
    id            uuid PRIMARY KEY,
    tenant_id     uuid NOT NULL,
    endpoint_id   uuid NOT NULL,
    sealed_secret bytea NOT NULL,
    created_at    timestamptz NOT NULL,
    ends_at       timestamptz NOT NULL,
    FOREIGN KEY (tenant_id, endpoint_id) REFERENCES webhook_endpoints (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX webhook_former_secrets_endpoint ON webhook_former_secrets (tenant_id, endpoint_id, id);
CREATE INDEX webhook_former_secrets_ended ON webhook_former_secrets (ends_at);

-- A delivery that is sent anew goes through the whole schedule again: how many calls there were before.
ALTER TABLE deliveries ADD COLUMN earlier_attempts integer NOT NULL DEFAULT 0;
CREATE INDEX deliveries_lost ON deliveries (tenant_id, endpoint_id, id) WHERE state IN ('failed', 'cancelled');

-- Deliveries of a span that are brought back, as far as that is not done: those after `cursor`.
CREATE TABLE webhook_recoveries (
    id          uuid PRIMARY KEY,
    tenant_id   uuid NOT NULL,
    endpoint_id uuid NOT NULL,
    since       timestamptz NOT NULL,
    until       timestamptz NOT NULL,
    cursor      uuid NOT NULL,
    created_at  timestamptz NOT NULL,
    FOREIGN KEY (tenant_id, endpoint_id) REFERENCES webhook_endpoints (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX webhook_recoveries_endpoint ON webhook_recoveries (tenant_id, endpoint_id, id);
",
    isolate "webhook_former_secrets" "webhook_recoveries"
);
