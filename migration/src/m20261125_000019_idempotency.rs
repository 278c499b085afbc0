//! Requests that may be sent again.

crate::sql_migration!(
    "
-- `key` is a keyed hash of the principal and of what the client calls the request; `fingerprint` one of the request
-- itself. `claim` names the attempt that is under way or was carried out: `committed` is set in the very transaction of
-- the change. `sealed` is the answer, without secrets that are shown once.
CREATE TABLE idempotency_keys (
    tenant_id   uuid NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    key         bytea NOT NULL,
    fingerprint bytea NOT NULL,
    claim       uuid NOT NULL,
    committed   boolean NOT NULL DEFAULT false,
    sealed      bytea,
    lease_until timestamptz NOT NULL,
    created_at  timestamptz NOT NULL,
    expires_at  timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, key)
);
CREATE INDEX idempotency_keys_expired ON idempotency_keys (expires_at);
",
    isolate "idempotency_keys"
);
