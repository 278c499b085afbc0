//! Principals for machines, and the keys that they and others come by.

crate::sql_migration!(
    "
CREATE TABLE service_accounts (
    id          uuid PRIMARY KEY,
    tenant_id   uuid NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    name        text NOT NULL,
    description text,
    status      text NOT NULL CHECK (status IN ('active', 'disabled')),
    created_at  timestamptz NOT NULL,
    updated_at  timestamptz NOT NULL,
    UNIQUE (tenant_id, id)
);

-- The composite keys keep an account of one tenant from ever holding a role of another.
CREATE TABLE service_account_roles (
    tenant_id          uuid NOT NULL,
    service_account_id uuid NOT NULL,
    role_id            uuid NOT NULL,
    created_at         timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, service_account_id, role_id),
    FOREIGN KEY (tenant_id, service_account_id) REFERENCES service_accounts (tenant_id, id) ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, role_id) REFERENCES roles (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX service_account_roles_role ON service_account_roles (tenant_id, role_id);

CREATE TABLE api_keys (
    id                 uuid PRIMARY KEY,
    tenant_id          uuid NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    -- SHA-256 of the whole key. It holds 256 random bits, so that nothing slower would help.
    hash               bytea NOT NULL UNIQUE,
    hint               text NOT NULL,
    name               text NOT NULL,
    environment        text NOT NULL CHECK (environment IN ('live', 'test')),
    scopes             text[] NOT NULL,
    -- Whose it is: a user, a service account or, with neither, the tenant itself.
    user_id            uuid,
    service_account_id uuid,
    allowed_cidrs      text[] NOT NULL,
    rate_count         integer CHECK (rate_count > 0),
    rate_seconds       integer CHECK (rate_seconds > 0),
    metadata           jsonb NOT NULL,
    created_at         timestamptz NOT NULL,
    updated_at         timestamptz NOT NULL,
    expires_at         timestamptz,
    -- Replaced by `rotated_to`, it lives on until `retires_at`.
    rotated_from       uuid,
    rotated_to         uuid,
    retires_at         timestamptz,
    revoked_at         timestamptz,
    revoke_reason      text,
    last_used_at       timestamptz,
    expiry_told_at     timestamptz,
    UNIQUE (tenant_id, id),
    CHECK (user_id IS NULL OR service_account_id IS NULL),
    CHECK ((rate_count IS NULL) = (rate_seconds IS NULL)),
    CHECK ((rotated_to IS NULL) = (retires_at IS NULL)),
    FOREIGN KEY (tenant_id, user_id) REFERENCES users (tenant_id, id) ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, service_account_id) REFERENCES service_accounts (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX api_keys_user ON api_keys (tenant_id, user_id, id) WHERE user_id IS NOT NULL;
CREATE INDEX api_keys_service_account ON api_keys (tenant_id, service_account_id, id)
    WHERE service_account_id IS NOT NULL;
CREATE INDEX api_keys_tenant ON api_keys (tenant_id, id) WHERE user_id IS NULL AND service_account_id IS NULL;
CREATE INDEX api_keys_environment ON api_keys (tenant_id, environment, id);
CREATE INDEX api_keys_expiring ON api_keys (expires_at) WHERE revoked_at IS NULL AND expiry_told_at IS NULL;
-- When a key ends: LEAST leaves out what is null.
CREATE INDEX api_keys_ended ON api_keys (LEAST(revoked_at, expires_at, retires_at));

CREATE TABLE api_key_usage (
    tenant_id uuid NOT NULL,
    key_id    uuid NOT NULL,
    hour      timestamptz NOT NULL,
    verified  bigint NOT NULL,
    denied    bigint NOT NULL,
    PRIMARY KEY (tenant_id, key_id, hour),
    FOREIGN KEY (tenant_id, key_id) REFERENCES api_keys (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX api_key_usage_hour ON api_key_usage (hour);
",
    isolate "service_accounts" "service_account_roles" "api_keys" "api_key_usage"
);
