//! Invitations name the key that they were made with.

crate::sql_migration!(
    "
SELECT set_config('latchkey.scope', 'cross_tenant', true);

-- Not a foreign key: the row outlives the key, and must not come to look as if nobody had used one.
ALTER TABLE invitations ADD COLUMN api_key_id uuid;
-- With which key the open ones were made is not known any more: they are to be made anew.
UPDATE invitations SET revoked_at = now()
WHERE ceiling IS NOT NULL AND accepted_at IS NULL AND revoked_at IS NULL;
ALTER TABLE invitations DROP COLUMN ceiling;

SELECT set_config('latchkey.scope', '', true);
"
);
