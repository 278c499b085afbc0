//! Addresses that a mail has proven, told from those that an administrator has called verified.

crate::sql_migration!(
    "
SELECT set_config('latchkey.scope', 'cross_tenant', true);

ALTER TABLE users ADD COLUMN email_proven boolean NOT NULL DEFAULT false;
-- What was verified after the account was made was verified by a mail; so was the account of an invitation. Of imported
-- accounts it is not known any more.
UPDATE users u SET email_proven = true
WHERE import_mac IS NULL AND email_verified_at IS NOT NULL AND (
    email_verified_at > created_at
    OR EXISTS (SELECT 1 FROM invitations i
               WHERE i.tenant_id = u.tenant_id AND i.email_canonical = u.email_canonical
                 AND i.accepted_at = u.created_at));
ALTER TABLE users ADD CHECK (NOT email_proven OR email_verified_at IS NOT NULL);

SELECT set_config('latchkey.scope', '', true);
"
);
