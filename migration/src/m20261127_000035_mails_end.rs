//! A mail names the token that it carries, so that it ends with it; what has been due longest is found, to be told, and
//! what has ended, to be deleted.

crate::sql_migration!(
    "
ALTER TABLE mails ADD COLUMN token_hash bytea;
CREATE INDEX mails_waiting ON mails (next_attempt_at) WHERE state = 'pending';
CREATE INDEX mails_finished ON mails (finished_at) WHERE finished_at IS NOT NULL;
CREATE INDEX invitations_ended ON invitations (LEAST(accepted_at, revoked_at, expires_at));
"
);
