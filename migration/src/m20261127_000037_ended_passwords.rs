//! Of an account whose password was ended: what its owner had before that is not forgotten for it being ended again.

crate::sql_migration!(
    "
ALTER TABLE users ADD COLUMN password_ended boolean NOT NULL DEFAULT false;
"
);
