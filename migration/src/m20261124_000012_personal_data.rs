//! Whom an event is about, and mail in a tenant's own words.

crate::sql_migration!(
    "
-- The user whose data the body holds. When the account is deleted the event is marked, and its data is erased as
-- soon as no delivery of it is under way: every attempt sends the same bytes.
ALTER TABLE events
    ADD COLUMN user_id uuid,
    ADD COLUMN erase boolean NOT NULL DEFAULT false;
CREATE INDEX events_erase ON events (id) WHERE erase;
CREATE INDEX events_user ON events (tenant_id, user_id) WHERE user_id IS NOT NULL;

ALTER TABLE mails ADD COLUMN user_id uuid;
CREATE INDEX mails_user ON mails (tenant_id, user_id) WHERE user_id IS NOT NULL;

-- What is known of one user.
CREATE INDEX audit_events_actor ON audit_events (tenant_id, actor_id, id) WHERE actor_id IS NOT NULL;
CREATE INDEX audit_events_target ON audit_events (tenant_id, target_id, id) WHERE target_id IS NOT NULL;
CREATE INDEX invitations_address ON invitations (tenant_id, email_canonical);

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
