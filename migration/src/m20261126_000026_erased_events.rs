//! Which events hold nothing any more: they are not sent anew.

crate::sql_migration!("ALTER TABLE events ADD COLUMN erased boolean NOT NULL DEFAULT false");
