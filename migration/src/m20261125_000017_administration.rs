//! Users as their administrators see them.

crate::sql_migration!(
    "
-- What another system calls the user. `import_mac` tells a line that is imported again from one that only has the same
-- address: a keyed hash of all that the line said.
ALTER TABLE users
    ADD COLUMN external_id text,
    ADD COLUMN import_mac bytea;
CREATE UNIQUE INDEX users_external_id ON users (tenant_id, external_id) WHERE external_id IS NOT NULL;

-- Lists are newest first: in each of their orders the next page is a look-up.
CREATE INDEX users_status ON users (tenant_id, status, id);
CREATE INDEX IF NOT EXISTS role_assignments_role_user ON role_assignments (tenant_id, role_id, user_id);
DROP INDEX IF EXISTS role_assignments_role;
"
);
