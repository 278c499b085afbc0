//! Sessions, the refresh tokens of each, and the signals that end them everywhere.

crate::sql_migration!(
    "
CREATE TABLE sessions (
    id            uuid PRIMARY KEY,
    tenant_id     uuid NOT NULL,
    user_id       uuid NOT NULL,
    address       text,
    user_agent    text,
    created_at    timestamptz NOT NULL,
    expires_at    timestamptz NOT NULL,
    revoked_at    timestamptz,
    revoke_reason text,
    UNIQUE (tenant_id, id),
    FOREIGN KEY (tenant_id, user_id) REFERENCES users (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX sessions_user ON sessions (tenant_id, user_id, id);

-- One family a session. A token is live while `used_at` is null; only its hash is kept.
CREATE TABLE refresh_tokens (
    hash       bytea PRIMARY KEY,
    tenant_id  uuid NOT NULL,
    session_id uuid NOT NULL,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    used_at    timestamptz,
    FOREIGN KEY (tenant_id, session_id) REFERENCES sessions (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX refresh_tokens_session ON refresh_tokens (tenant_id, session_id);

-- What every API process must know at once: the truth behind the stream in Redis. A row is of use for one
-- lifetime of an access token.
CREATE TABLE signals (
    id         uuid PRIMARY KEY,
    tenant_id  uuid NOT NULL,
    kind       text NOT NULL CHECK (kind IN ('session_revoked', 'account_changed', 'tenant_changed')),
    subject_id uuid NOT NULL,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL
);
CREATE INDEX signals_created ON signals (created_at);
CREATE INDEX signals_subject ON signals (tenant_id, subject_id);
",
    isolate "sessions" "refresh_tokens" "signals"
);
