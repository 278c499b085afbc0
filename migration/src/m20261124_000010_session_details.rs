//! How a session was begun, by what device, and when it was seen last.

crate::sql_migration!(
    "
-- `methods` are the `amr` values of RFC 8176. `authenticated_at` and `last_seen_at` are null in rows of older
-- versions: then they are `created_at`.
ALTER TABLE sessions
    ADD COLUMN methods text[] NOT NULL DEFAULT '{pwd}',
    ADD COLUMN authenticated_at timestamptz,
    ADD COLUMN last_seen_at timestamptz,
    ADD COLUMN device_label text,
    ADD COLUMN device_id uuid;
CREATE INDEX sessions_live ON sessions (tenant_id, user_id, id) WHERE revoked_at IS NULL;
CREATE INDEX refresh_tokens_expired ON refresh_tokens (expires_at);
CREATE INDEX one_time_tokens_expired ON one_time_tokens (expires_at);
"
);
