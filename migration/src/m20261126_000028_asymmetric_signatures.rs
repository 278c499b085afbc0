//! Endpoints whose calls bear a signature that can be verified without a secret.

crate::sql_migration!(
    "
-- What verifies the newest secret's asymmetric signatures; there are none where it is null.
ALTER TABLE webhook_endpoints ADD COLUMN public_key text;
"
);
