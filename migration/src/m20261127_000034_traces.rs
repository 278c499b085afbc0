//! The trace that an event was caused in, and what each call said of it: `traceparent` as it was received and sent.

crate::sql_migration!(
    "
ALTER TABLE events ADD COLUMN traceparent text;
ALTER TABLE attempts ADD COLUMN traceparent text;
"
);
