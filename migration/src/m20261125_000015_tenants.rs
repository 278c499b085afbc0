//! Tenants that end, settings that several people change at once, domains that are proven, and what is counted.

crate::sql_migration!(
    "
-- `deleting`: barred, and may come back until `delete_at`. `purging`: its rows are being removed, and it cannot.
ALTER TABLE tenants DROP CONSTRAINT tenants_status_check;
ALTER TABLE tenants
    ADD CONSTRAINT tenants_status_check CHECK (status IN ('active', 'suspended', 'deleting', 'purging')),
    -- Counts the changes of the row.
    ADD COLUMN version bigint NOT NULL DEFAULT 1,
    -- The tenant's own share of the limits, which the platform sets.
    ADD COLUMN rate_limits jsonb NOT NULL DEFAULT '{}',
    ADD COLUMN delete_at timestamptz,
    ADD CONSTRAINT tenants_delete_at_check
        CHECK ((delete_at IS NOT NULL) = (status IN ('deleting', 'purging')));
CREATE INDEX tenants_delete_at ON tenants (delete_at) WHERE delete_at IS NOT NULL;
CREATE INDEX tenants_status ON tenants (status, id);

-- What the domain's DNS must show. It says nothing to who does not control that DNS.
ALTER TABLE tenant_domains ADD COLUMN verification text NOT NULL DEFAULT gen_random_uuid()::text;
ALTER TABLE tenant_domains ALTER COLUMN verification DROP DEFAULT;
DROP INDEX tenant_domains_tenant;
CREATE INDEX tenant_domains_tenant ON tenant_domains (tenant_id, id);
CREATE UNIQUE INDEX tenant_domains_claim ON tenant_domains (tenant_id, domain);

-- What a tenant did on a day (UTC). Each process adds what it has counted.
CREATE TABLE tenant_usage (
    tenant_id     uuid NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    day           date NOT NULL,
    sign_ins      bigint NOT NULL,
    registrations bigint NOT NULL,
    refreshes     bigint NOT NULL,
    mails         bigint NOT NULL,
    events        bigint NOT NULL,
    PRIMARY KEY (tenant_id, day)
);
CREATE INDEX tenant_usage_day ON tenant_usage (day);

-- A tenant's rows are found by the tenant when they are removed.
CREATE INDEX mails_tenant ON mails (tenant_id, id);
CREATE INDEX totp_factors_user ON totp_factors (tenant_id, user_id);
",
    isolate "tenant_usage"
);
