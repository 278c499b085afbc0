//! Second factors, the challenges that ask for them, and the devices that are remembered.

crate::sql_migration!(
    "
-- At most one confirmed and one that waits to be. The secret is sealed under the row's id. `last_step` is the
-- newest time step that was accepted: none up to it counts again.
CREATE TABLE totp_factors (
    id           uuid PRIMARY KEY,
    tenant_id    uuid NOT NULL,
    user_id      uuid NOT NULL,
    sealed       bytea NOT NULL,
    last_step    bigint NOT NULL DEFAULT 0,
    created_at   timestamptz NOT NULL,
    confirmed_at timestamptz,
    FOREIGN KEY (tenant_id, user_id) REFERENCES users (tenant_id, id) ON DELETE CASCADE
);
CREATE UNIQUE INDEX totp_factors_confirmed ON totp_factors (tenant_id, user_id) WHERE confirmed_at IS NOT NULL;
CREATE UNIQUE INDEX totp_factors_pending ON totp_factors (tenant_id, user_id) WHERE confirmed_at IS NULL;

-- Using a code deletes its row.
CREATE TABLE recovery_codes (
    hash       bytea PRIMARY KEY,
    tenant_id  uuid NOT NULL,
    user_id    uuid NOT NULL,
    created_at timestamptz NOT NULL,
    FOREIGN KEY (tenant_id, user_id) REFERENCES users (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX recovery_codes_user ON recovery_codes (tenant_id, user_id);

-- Someone has proven the first factor. Answering it deletes the row.
CREATE TABLE mfa_challenges (
    hash          bytea PRIMARY KEY,
    tenant_id     uuid NOT NULL,
    user_id       uuid NOT NULL,
    device_id     uuid,
    device_label  text,
    created_at    timestamptz NOT NULL,
    expires_at    timestamptz NOT NULL,
    FOREIGN KEY (tenant_id, user_id) REFERENCES users (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX mfa_challenges_user ON mfa_challenges (tenant_id, user_id);
CREATE INDEX mfa_challenges_expired ON mfa_challenges (expires_at);

-- Devices that a user has signed in with. While `trusted_until` lies ahead, the second factor is not asked for.
CREATE TABLE devices (
    id            uuid PRIMARY KEY,
    tenant_id     uuid NOT NULL,
    user_id       uuid NOT NULL,
    hash          bytea NOT NULL UNIQUE,
    label         text,
    created_at    timestamptz NOT NULL,
    last_seen_at  timestamptz NOT NULL,
    expires_at    timestamptz NOT NULL,
    trusted_until timestamptz,
    UNIQUE (tenant_id, id),
    FOREIGN KEY (tenant_id, user_id) REFERENCES users (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX devices_user ON devices (tenant_id, user_id, id);
CREATE INDEX devices_expired ON devices (expires_at);
",
    isolate "totp_factors" "recovery_codes" "mfa_challenges" "devices"
);
