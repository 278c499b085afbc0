//! Failures to prove a credential, counted.

crate::sql_migration!(
    "
-- One row for each credential that failed lately. `credential` is a MAC of what was tried (an address, a device, a
-- user's second factor), so that rows for addresses without an account look like any other and name nobody.
CREATE TABLE lockouts (
    tenant_id    uuid NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    credential   bytea NOT NULL,
    failures     integer NOT NULL,
    first_at     timestamptz NOT NULL,
    last_at      timestamptz NOT NULL,
    locked_until timestamptz,
    told_at      timestamptz,
    expires_at   timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, credential)
);
CREATE INDEX lockouts_expired ON lockouts (expires_at);
",
    isolate "lockouts"
);
