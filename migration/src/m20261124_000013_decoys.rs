//! Registrations that met a proven account.

crate::sql_migration!(
    "
-- The password that somebody registered with while the address had a proven account, hashed with the salt and the cost
-- of that account's own hash. It lets nobody in: signing in with it is answered as it is for an account that waits to be
-- proven. Null once the account has another hash or another address.
ALTER TABLE users ADD COLUMN decoy_hash text;
"
);
