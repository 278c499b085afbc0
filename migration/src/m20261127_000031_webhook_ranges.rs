//! Address ranges that are not public and that one tenant's endpoints may be called in all the same.

crate::sql_migration!(
    "
ALTER TABLE tenants ADD COLUMN webhook_cidrs text[] NOT NULL DEFAULT '{}';
"
);
