//! Whom an event is about, and mail in a tenant's own words.

crate::sql_migration!(
    "
-- The user whose data the body holds; when the account is deleted the body is erased as well.
ALTER TABLE events ADD COLUMN user_id uuid;
CREATE INDEX events_user ON events (tenant_id, user_id) WHERE user_id IS NOT NULL;

ALTER TABLE mails ADD COLUMN user_id uuid;
CREATE INDEX mails_user ON mails (tenant_id, user_id) WHERE user_id IS NOT NULL;

CREATE TABLE mail_templates (
    tenant_id  uuid NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    kind       text NOT NULL,
    subject    text NOT NULL,
    text       text NOT NULL,
    html       text NOT NULL,
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, kind)
);
",
    isolate "mail_templates"
);
