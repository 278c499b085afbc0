//! Passwords that were, one-time tokens for more purposes, and an address that waits to be proven.

crate::sql_migration!(
    "
-- Null: since the account was made. The pending address is the one a change of address waits for.
ALTER TABLE users
    ADD COLUMN password_changed_at timestamptz,
    ADD COLUMN pending_email text;

-- As many of a user's former hashes as the tenant's policy asks for.
CREATE TABLE former_passwords (
    id            uuid PRIMARY KEY,
    tenant_id     uuid NOT NULL,
    user_id       uuid NOT NULL,
    password_hash text NOT NULL,
    created_at    timestamptz NOT NULL,
    FOREIGN KEY (tenant_id, user_id) REFERENCES users (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX former_passwords_user ON former_passwords (tenant_id, user_id, id);

ALTER TABLE one_time_tokens DROP CONSTRAINT one_time_tokens_purpose_check;
ALTER TABLE one_time_tokens ADD CONSTRAINT one_time_tokens_purpose_check CHECK (purpose IN
    ('verify_email', 'accept_invitation', 'reset_password', 'change_email', 'unlock'));
",
    isolate "former_passwords"
);
