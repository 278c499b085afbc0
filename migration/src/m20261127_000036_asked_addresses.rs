//! Who asked for the address that is to take the place of a user's, where that was somebody else.

crate::sql_migration!(
    "
ALTER TABLE users ADD COLUMN pending_email_by uuid, ADD COLUMN pending_email_key uuid;
"
);
