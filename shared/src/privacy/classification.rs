//! What each column of each table holds, and what becomes of it. Pure.
//!
//! Tables stand in the order in which they are erased: what names another row before that row, and refresh tokens
//! before sessions before users, which is the order in which a refresh locks them.

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Something about a person: exported, and erased.
    Personal,
    /// The id of a row: exported; it says nothing once that row is gone.
    Reference,
    /// States, counts and times: exported; they say nothing by themselves.
    Operational,
    /// A credential, its hash, or text that is sealed: never exported beyond whether it is there, and erased.
    Secret,
    /// Something about the user that stays, for the reason the table gives: exported.
    Retained,
    /// As [`Self::Retained`], and exported only where the user acted: elsewhere it is about whoever did.
    RetainedOfActor,
}

/// What becomes of a user's rows when the account is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// They go.
    Delete,
    /// They stay without what was the user's: the assignments of an `UPDATE`.
    Update(&'static str),
    /// They stay, for this reason.
    Stay(&'static str),
}

/// A table.
#[derive(Clone, Copy, Debug)]
pub struct Table {
    /// Its name.
    pub name: &'static str,
    /// Which of the tenant's rows are a user's, in SQL over `t`: `$2` is the user's id, `$3` the canonical address,
    /// `$4` what failures to sign in are counted under. None where no row is any user's.
    pub rows: Option<&'static str>,
    /// Newest first by this column.
    pub newest: &'static str,
    /// What becomes of them.
    pub ending: Ending,
    /// Its columns by class.
    pub columns: &'static [(Class, &'static [&'static str])],
}

use Class::{Operational, Personal, Reference, Retained, RetainedOfActor, Secret};

/// The user's own rows in a table with a `user_id`.
const OWN: Option<&str> = Some("t.user_id = $2");

/// Every table.
pub const TABLES: &[Table] = &[
    Table {
        name: "refresh_tokens",
        rows: Some("t.session_id IN (SELECT s.id FROM sessions s WHERE s.tenant_id = $1 AND s.user_id = $2)"),
        newest: "created_at",
        ending: Ending::Delete,
        columns: &[
            (Reference, &["tenant_id", "session_id"]),
            (Operational, &["created_at", "expires_at", "used_at"]),
            (Secret, &["hash"]),
        ],
    },
    Table {
        name: "sessions",
        rows: OWN,
        newest: "created_at",
        ending: Ending::Delete,
        columns: &[
            (Reference, &["id", "tenant_id", "user_id", "device_id"]),
            (Personal, &["address", "user_agent", "device_label"]),
            (
                Operational,
                &[
                    "methods",
                    "authenticated_at",
                    "last_seen_at",
                    "created_at",
                    "expires_at",
                    "revoked_at",
                    "revoke_reason",
                ],
            ),
        ],
    },
    Table {
        name: "mfa_challenges",
        rows: OWN,
        newest: "created_at",
        ending: Ending::Delete,
        columns: &[
            (Reference, &["tenant_id", "user_id", "device_id"]),
            (Personal, &["device_label"]),
            (Operational, &["created_at", "expires_at"]),
            (Secret, &["hash"]),
        ],
    },
    Table {
        name: "idempotency_keys",
        rows: None,
        newest: "created_at",
        ending: Ending::Stay("answers are sealed, and gone within a day"),
        columns: &[
            (Reference, &["tenant_id", "claim"]),
            (
                Operational,
                &["committed", "lease_until", "created_at", "expires_at"],
            ),
            (Secret, &["key", "fingerprint", "sealed"]),
        ],
    },
    Table {
        name: "recovery_codes",
        rows: OWN,
        newest: "created_at",
        ending: Ending::Delete,
        columns: &[
            (Reference, &["tenant_id", "user_id"]),
            (Operational, &["created_at"]),
            (Secret, &["hash"]),
        ],
    },
    Table {
        name: "totp_factors",
        rows: OWN,
        newest: "created_at",
        ending: Ending::Delete,
        columns: &[
            (Reference, &["id", "tenant_id", "user_id"]),
            (Operational, &["last_step", "created_at", "confirmed_at"]),
            (Secret, &["sealed"]),
        ],
    },
    Table {
        name: "lockouts",
        rows: Some("t.credential = ANY($4)"),
        newest: "last_at",
        ending: Ending::Delete,
        columns: &[
            (Reference, &["tenant_id"]),
            (
                Operational,
                &[
                    "failures",
                    "first_at",
                    "last_at",
                    "locked_until",
                    "told_at",
                    "expires_at",
                ],
            ),
            (Secret, &["credential"]),
        ],
    },
    Table {
        name: "devices",
        rows: OWN,
        newest: "created_at",
        ending: Ending::Delete,
        columns: &[
            (Reference, &["id", "tenant_id", "user_id"]),
            (Personal, &["label"]),
            (
                Operational,
                &["created_at", "last_seen_at", "expires_at", "trusted_until"],
            ),
            (Secret, &["hash"]),
        ],
    },
    Table {
        name: "former_passwords",
        rows: OWN,
        newest: "created_at",
        ending: Ending::Delete,
        columns: &[
            (Reference, &["id", "tenant_id", "user_id"]),
            (Operational, &["created_at"]),
            (Secret, &["password_hash"]),
        ],
    },
    Table {
        name: "one_time_tokens",
        rows: Some(
            "t.subject_id = $2 OR t.subject_id IN (
                 SELECT i.id FROM invitations i WHERE i.tenant_id = $1 AND i.email_canonical = $3)",
        ),
        newest: "created_at",
        ending: Ending::Delete,
        columns: &[
            (Reference, &["tenant_id", "subject_id"]),
            (Personal, &["address"]),
            (Operational, &["purpose", "created_at", "expires_at"]),
            (Secret, &["hash"]),
        ],
    },
    Table {
        name: "invitations",
        rows: Some("t.email_canonical = $3"),
        newest: "created_at",
        ending: Ending::Delete,
        columns: &[
            (
                Reference,
                &["id", "tenant_id", "role_ids", "invited_by", "api_key_id"],
            ),
            (Personal, &["email", "email_canonical"]),
            (
                Operational,
                &["created_at", "expires_at", "accepted_at", "revoked_at"],
            ),
        ],
    },
    Table {
        name: "role_assignments",
        rows: OWN,
        newest: "created_at",
        ending: Ending::Delete,
        columns: &[
            (Reference, &["tenant_id", "user_id", "role_id"]),
            (Operational, &["created_at"]),
        ],
    },
    Table {
        name: "api_key_usage",
        rows: Some("t.key_id IN (SELECT k.id FROM api_keys k WHERE k.tenant_id = $1 AND k.user_id = $2)"),
        newest: "hour",
        ending: Ending::Delete,
        columns: &[
            (Reference, &["tenant_id", "key_id"]),
            (Operational, &["hour", "verified", "denied"]),
        ],
    },
    Table {
        name: "api_keys",
        rows: OWN,
        newest: "created_at",
        // Nobody else's: a key acts in its owner's name, and for as long as there is one.
        ending: Ending::Delete,
        columns: &[
            (
                Reference,
                &[
                    "id",
                    "tenant_id",
                    "user_id",
                    "service_account_id",
                    "rotated_from",
                    "rotated_to",
                ],
            ),
            (Personal, &["name", "metadata", "allowed_cidrs"]),
            (
                Operational,
                &[
                    "hint",
                    "environment",
                    "scopes",
                    "rate_count",
                    "rate_seconds",
                    "created_at",
                    "updated_at",
                    "expires_at",
                    "retires_at",
                    "revoked_at",
                    "revoke_reason",
                    "last_used_at",
                    "expiry_told_at",
                ],
            ),
            (Secret, &["hash"]),
        ],
    },
    Table {
        name: "mails",
        rows: OWN,
        newest: "created_at",
        // What is under way still arrives: a notice of what somebody did before they deleted the account, too.
        // The sealed text is wiped once it has, or is given up.
        ending: Ending::Update("user_id = NULL"),
        columns: &[
            (Reference, &["id", "tenant_id", "user_id"]),
            (
                Operational,
                &[
                    "kind",
                    "state",
                    "attempts",
                    "last_error",
                    "next_attempt_at",
                    "sweep_at",
                    "lease_until",
                    "generation",
                    "created_at",
                    "finished_at",
                ],
            ),
            (Secret, &["sealed", "token_hash"]),
        ],
    },
    Table {
        name: "payload_marks",
        rows: None,
        newest: "marked_to",
        ending: Ending::Stay("How far a whole tenant's events have been looked at."),
        columns: &[(Reference, &["tenant_id", "marked_to"])],
    },
    Table {
        name: "fanouts",
        rows: None,
        newest: "id",
        ending: Ending::Stay("Ids, until the deliveries of an event to very many endpoints are written."),
        columns: &[
            (Reference, &["id", "tenant_id", "event_ids", "endpoint_ids"]),
            (Operational, &["event_type", "spread", "created_at", "touched_at"]),
        ],
    },
    Table {
        name: "deliveries",
        rows: None,
        newest: "id",
        ending: Ending::Stay("Ids and times: what was sent stands in the event, and goes with it."),
        columns: &[
            (Reference, &["id", "tenant_id", "event_id", "endpoint_id"]),
            (
                Operational,
                &[
                    "event_type",
                    "state",
                    "attempts",
                    "earlier_attempts",
                    "next_attempt_at",
                    "sweep_at",
                    "lease_until",
                    "generation",
                    "created_at",
                    "finished_at",
                ],
            ),
        ],
    },
    // After the deliveries: a worker that holds one may still write an attempt of it.
    Table {
        name: "attempts",
        rows: None,
        newest: "id",
        ending: Ending::Stay(
            "Of the tenant's own servers. What they answered might repeat what they were sent, and is erased with \
             the event.",
        ),
        columns: &[
            (Reference, &["id", "tenant_id", "delivery_id", "endpoint_id"]),
            (
                Operational,
                &[
                    "number",
                    "started_at",
                    "duration_ms",
                    "outcome",
                    "status",
                    "error_class",
                    "error_detail",
                    "address",
                    "traceparent",
                ],
            ),
            (Secret, &["response_headers", "response_body"]),
        ],
    },
    Table {
        name: "events",
        rows: OWN,
        newest: "id",
        // `outbox::erase_marked` does the rest.
        ending: Ending::Update("erase = true"),
        columns: &[
            (Reference, &["id", "tenant_id", "user_id"]),
            (Personal, &["body"]),
            (
                Operational,
                &["type", "erase", "erased", "traceparent", "created_at"],
            ),
        ],
    },
    Table {
        name: "audit_events",
        rows: Some("t.actor_id = $2 OR t.target_id = $2"),
        newest: "id",
        ending: Ending::Stay(
            "Evidence of who did what must outlive who did it: nobody could show how an account came to be \
             deleted. Nothing deletes these rows: they stay for as long as the tenant's database keeps them. They \
             hold the id of the account, what it did and what was done to it, and when; and of what it did the \
             network addresses that it came from and the ids of the requests. Its e-mail address and its name are \
             not among that.",
        ),
        columns: &[
            (Reference, &["id", "tenant_id"]),
            (Operational, &["created_at", "action", "outcome"]),
            (
                Retained,
                &["actor_kind", "actor_id", "target_kind", "target_id", "detail"],
            ),
            (RetainedOfActor, &["address", "request_id"]),
            // Keyed, so that nobody can try out what the columns above may have held.
            (Operational, &["mac", "mac_key"]),
        ],
    },
    Table {
        name: "audit_seals",
        rows: None,
        newest: "seq",
        ending: Ending::Stay("keyed hashes and ids of audit rows, which are worth nothing without them"),
        columns: &[
            (Reference, &["tenant_id", "audit_id"]),
            (Operational, &["seq", "key_id", "hash", "sealed_at"]),
        ],
    },
    Table {
        name: "audit_chains",
        rows: None,
        newest: "length",
        ending: Ending::Stay("keyed hashes and lengths"),
        columns: &[
            (Reference, &["tenant_id"]),
            (Operational, &["length", "hash", "key_id", "mac"]),
        ],
    },
    Table {
        name: "audit_unsealed",
        rows: None,
        newest: "audit_id",
        ending: Ending::Stay("ids of audit rows, until these are sealed within a second"),
        columns: &[
            (Reference, &["tenant_id", "audit_id"]),
            (Operational, &["created_at"]),
        ],
    },
    Table {
        name: "users",
        rows: Some("t.id = $2"),
        newest: "created_at",
        ending: Ending::Delete,
        columns: &[
            (
                Reference,
                &["id", "tenant_id", "pending_email_by", "pending_email_key"],
            ),
            (
                Personal,
                &["email", "email_canonical", "name", "pending_email", "external_id"],
            ),
            (
                Operational,
                &[
                    "status",
                    "email_verified_at",
                    "email_proven",
                    "password_changed_at",
                    "password_ended",
                    "created_at",
                    "updated_at",
                ],
            ),
            (Secret, &["password_hash", "decoy_hash", "import_mac"]),
        ],
    },
    Table {
        name: "signals",
        rows: None,
        newest: "id",
        ending: Ending::Stay("Ids alone, for the lifetime of an access token."),
        columns: &[
            (Reference, &["id", "tenant_id", "subject_id"]),
            (Operational, &["kind", "created_at", "expires_at"]),
        ],
    },
    Table {
        name: "service_account_roles",
        rows: None,
        newest: "created_at",
        ending: Ending::Stay("The tenant's machines'."),
        columns: &[
            (Reference, &["tenant_id", "service_account_id", "role_id"]),
            (Operational, &["created_at"]),
        ],
    },
    Table {
        name: "service_accounts",
        rows: None,
        newest: "id",
        ending: Ending::Stay("The tenant's machines, not people."),
        columns: &[
            (Reference, &["id", "tenant_id"]),
            (
                Operational,
                &["name", "description", "status", "created_at", "updated_at"],
            ),
        ],
    },
    Table {
        name: "roles",
        rows: None,
        newest: "id",
        ending: Ending::Stay("The tenant's."),
        columns: &[
            (Reference, &["id", "tenant_id"]),
            (
                Operational,
                &[
                    "name",
                    "name_canonical",
                    "description",
                    "builtin",
                    "permissions",
                    "version",
                    "created_at",
                    "updated_at",
                ],
            ),
        ],
    },
    Table {
        name: "permissions",
        rows: None,
        newest: "id",
        ending: Ending::Stay("The tenant's."),
        columns: &[
            (Reference, &["id", "tenant_id"]),
            (Operational, &["name", "description", "created_at"]),
        ],
    },
    Table {
        name: "webhook_former_secrets",
        rows: None,
        newest: "id",
        ending: Ending::Stay("The tenant's."),
        columns: &[
            (Reference, &["id", "tenant_id", "endpoint_id"]),
            (Operational, &["created_at", "ends_at"]),
            (Secret, &["sealed_secret"]),
        ],
    },
    Table {
        name: "webhook_recoveries",
        rows: None,
        newest: "id",
        ending: Ending::Stay("The tenant's."),
        columns: &[
            (Reference, &["id", "tenant_id", "endpoint_id", "cursor"]),
            (Operational, &["since", "until", "created_at"]),
        ],
    },
    Table {
        name: "event_types",
        rows: None,
        newest: "id",
        ending: Ending::Stay("The tenant's documentation."),
        columns: &[
            (Reference, &["id", "tenant_id"]),
            (
                Operational,
                &[
                    "name",
                    "description",
                    "schema",
                    "example",
                    "created_at",
                    "updated_at",
                ],
            ),
        ],
    },
    Table {
        name: "webhook_endpoints",
        rows: None,
        newest: "id",
        ending: Ending::Stay("The tenant's."),
        columns: &[
            (Reference, &["id", "tenant_id"]),
            (
                Operational,
                &[
                    "url",
                    "description",
                    "event_types",
                    "header_names",
                    "enabled",
                    "disabled_reason",
                    "failing_since",
                    "public_key",
                    "metadata",
                    "rate_limit",
                    "rate_window_seconds",
                    "created_at",
                    "updated_at",
                    "deleted_at",
                ],
            ),
            (Secret, &["sealed_headers", "sealed_secret"]),
        ],
    },
    Table {
        name: "mail_templates",
        rows: None,
        newest: "updated_at",
        ending: Ending::Stay("The tenant's."),
        columns: &[
            (Reference, &["tenant_id"]),
            (Operational, &["kind", "subject", "text", "html", "updated_at"]),
        ],
    },
    Table {
        name: "tenant_domains",
        rows: None,
        newest: "id",
        ending: Ending::Stay("The tenant's."),
        columns: &[
            (Reference, &["id", "tenant_id"]),
            (Operational, &["domain", "verified_at", "created_at"]),
            (Secret, &["verification"]),
        ],
    },
    Table {
        name: "tenant_usage",
        rows: None,
        newest: "day",
        ending: Ending::Stay("Counts of a whole tenant, by the day."),
        columns: &[
            (Reference, &["tenant_id"]),
            (
                Operational,
                &["day", "sign_ins", "registrations", "refreshes", "mails", "events"],
            ),
        ],
    },
    Table {
        name: "tenants",
        rows: None,
        newest: "id",
        ending: Ending::Stay("An organisation, not a person."),
        columns: &[
            (Reference, &["id"]),
            (
                Operational,
                &[
                    "slug",
                    "name",
                    "status",
                    "settings",
                    "version",
                    "rate_limits",
                    "webhook_cidrs",
                    "delete_at",
                    "created_at",
                    "updated_at",
                ],
            ),
        ],
    },
    Table {
        name: "seaql_migrations",
        rows: None,
        newest: "version",
        ending: Ending::Stay("Which changes the schema has seen."),
        columns: &[(Operational, &["version", "applied_at"])],
    },
];

impl Table {
    /// Its columns, each with its class.
    pub fn columns(&self) -> impl Iterator<Item = (&'static str, Class)> {
        self.columns
            .iter()
            .flat_map(|(class, names)| names.iter().map(|name| (*name, *class)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_a_users_and_personal_goes_or_is_overwritten() {
        for table in TABLES.iter().filter(|table| table.rows.is_some()) {
            if matches!(table.ending, Ending::Stay(_)) {
                for (column, class) in table.columns() {
                    assert!(
                        !matches!(class, Personal | Secret),
                        "{}.{column} would stay",
                        table.name
                    );
                }
            }
        }
    }

    #[test]
    fn nothing_personal_is_nobodys() {
        for table in TABLES.iter().filter(|table| table.rows.is_none()) {
            for (column, class) in table.columns() {
                assert!(class != Personal, "{}.{column} belongs to someone", table.name);
            }
        }
    }
}
