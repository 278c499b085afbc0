//! Roles of the tenants' own, permissions of their own, and invitations that end.

crate::sql_migration!(
    "
-- Rows of all tenants are completed here, and the policies hold the tables' owner too.
SELECT set_config('latchkey.scope', 'cross_tenant', true);

-- Two spellings of one name are one name: `name_canonical` is what is compared. Until now there were none but the
-- built-in roles, whose names are canonical.
ALTER TABLE roles
    ADD COLUMN name_canonical text,
    ADD COLUMN description text,
    ADD COLUMN version bigint NOT NULL DEFAULT 1,
    ADD COLUMN updated_at timestamptz;
UPDATE roles SET name_canonical = name, updated_at = created_at;
ALTER TABLE roles
    ALTER COLUMN name_canonical SET NOT NULL,
    ALTER COLUMN updated_at SET NOT NULL,
    DROP CONSTRAINT roles_tenant_id_name_key,
    ADD UNIQUE (tenant_id, name_canonical);

-- Permissions that a tenant's own services ask for. The built-in ones stand in code.
CREATE TABLE permissions (
    id          uuid PRIMARY KEY,
    tenant_id   uuid NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    name        text NOT NULL,
    description text,
    created_at  timestamptz NOT NULL,
    UNIQUE (tenant_id, name),
    UNIQUE (tenant_id, id)
);

-- Until now only the platform's administrators have invited, who are nobody in the tenant. `ceiling` is what the roles
-- granted when a key made the invitation.
ALTER TABLE invitations
    ADD COLUMN expires_at timestamptz,
    ADD COLUMN revoked_at timestamptz,
    ADD COLUMN ceiling text[];
UPDATE invitations i SET invited_by = NULL, expires_at = coalesce(
    (SELECT t.expires_at FROM one_time_tokens t
     WHERE t.tenant_id = i.tenant_id AND t.purpose = 'accept_invitation' AND t.subject_id = i.id), i.created_at);
ALTER TABLE invitations ALTER COLUMN expires_at SET NOT NULL;

-- One open invitation for each address: a newer one takes the place of the older.
CREATE UNIQUE INDEX invitations_open ON invitations (tenant_id, email_canonical)
    WHERE accepted_at IS NULL AND revoked_at IS NULL;
CREATE INDEX invitations_open_expiry ON invitations (tenant_id, expires_at)
    WHERE accepted_at IS NULL AND revoked_at IS NULL;
CREATE INDEX invitations_email ON invitations (tenant_id, email_canonical, id);
CREATE INDEX invitations_unanswered ON invitations (tenant_id, id) WHERE accepted_at IS NULL AND revoked_at IS NULL;
CREATE INDEX invitations_accepted ON invitations (tenant_id, id) WHERE accepted_at IS NOT NULL;
CREATE INDEX invitations_revoked ON invitations (tenant_id, id) WHERE revoked_at IS NOT NULL;

SELECT set_config('latchkey.scope', '', true);
",
    isolate "permissions"
);
