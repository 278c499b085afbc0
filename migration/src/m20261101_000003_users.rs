//! Users, their roles, and the ways in.

crate::sql_migration!(
    "
CREATE TABLE users (
    id                uuid PRIMARY KEY,
    tenant_id         uuid NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    email             text NOT NULL,
    email_canonical   text NOT NULL,
    name              text,
    password_hash     text NOT NULL,
    status            text NOT NULL CHECK (status IN ('active', 'disabled')),
    email_verified_at timestamptz,
    created_at        timestamptz NOT NULL,
    updated_at        timestamptz NOT NULL,
    UNIQUE (tenant_id, email_canonical),
    UNIQUE (tenant_id, id)
);

-- What a built-in role grants follows from the catalogue in code; `permissions` is for the tenant's own roles.
CREATE TABLE roles (
    id          uuid PRIMARY KEY,
    tenant_id   uuid NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    name        text NOT NULL,
    builtin     boolean NOT NULL,
    permissions text[] NOT NULL DEFAULT '{}',
    created_at  timestamptz NOT NULL,
    UNIQUE (tenant_id, name),
    UNIQUE (tenant_id, id)
);

-- The composite keys keep a user of one tenant from ever holding a role of another.
CREATE TABLE role_assignments (
    tenant_id  uuid NOT NULL,
    user_id    uuid NOT NULL,
    role_id    uuid NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, user_id, role_id),
    FOREIGN KEY (tenant_id, user_id) REFERENCES users (tenant_id, id) ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, role_id) REFERENCES roles (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX role_assignments_role ON role_assignments (tenant_id, role_id);

CREATE TABLE invitations (
    id              uuid PRIMARY KEY,
    tenant_id       uuid NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    email           text NOT NULL,
    email_canonical text NOT NULL,
    role_ids        uuid[] NOT NULL,
    invited_by      uuid,
    created_at      timestamptz NOT NULL,
    accepted_at     timestamptz
);
CREATE INDEX invitations_tenant ON invitations (tenant_id, id);

-- Tokens that a mail carries: only the hash is kept. `subject_id` is a user, or an invitation.
CREATE TABLE one_time_tokens (
    hash       bytea PRIMARY KEY,
    tenant_id  uuid NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    purpose    text NOT NULL CHECK (purpose IN ('verify_email', 'accept_invitation')),
    subject_id uuid NOT NULL,
    address    text NOT NULL,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL
);
-- One live token for each purpose and subject: a newer one takes the place of the older.
CREATE UNIQUE INDEX one_time_tokens_subject ON one_time_tokens (tenant_id, purpose, subject_id);
",
    isolate "users" "roles" "role_assignments" "invitations" "one_time_tokens"
);
