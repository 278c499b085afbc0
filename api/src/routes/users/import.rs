//! An import from its first line to its last.
//!
//! Lines are read as they come, imported a batch at a time, and told of as they are done, so that neither side holds all
//! of them. A client that sends everything before it reads anything is waited for: so many results are kept for it.
//! The last line is the summary; an answer without one was broken off.

use std::io;

use futures::stream;
use latchkey_shared::{
    administration::{BATCH, Candidate, Imported, import_batch},
    auth::Auth,
    permission::UsersWrite,
    principal::Origin,
    secret::Secret,
};
use poem::Body;
use poem_openapi::{
    Enum, Object, Union,
    types::{Example, ToJSON},
};
use tokio::sync::mpsc;
use tracing::Instrument;
use uuid::Uuid;

use super::model::StatusView;
use crate::{
    extract::{Credential, Line, Lines},
    problem::{Failure, FieldError},
    time::Timestamp,
};

/// Batches whose results wait to be read: some megabytes.
const BACKLOG: usize = 400;

const AT_FAULT: &str = "The server cannot go on now; the request id finds the cause in its log.";

/// A user to be.
#[derive(Object)]
#[oai(deny_unknown_fields, example)]
pub(super) struct ImportLine {
    #[oai(validator(max_length = 254))]
    email: String,
    /// What the user goes by.
    #[oai(validator(min_length = 1, max_length = 200))]
    name: Option<String>,
    /// Whether the address was proven; as `email_verified` of a user that is made. False by default.
    email_verified: Option<bool>,
    /// `active` by default.
    status: Option<StatusView>,
    /// When the account was made elsewhere.
    created_at: Option<Timestamp>,
    /// The names of roles, none of which may grant what the caller does not hold; without it the role `member`.
    #[oai(validator(max_items = 50))]
    roles: Option<Vec<String>>,
    /// What the other system calls the user; unique in the tenant.
    #[oai(validator(min_length = 1, max_length = 200))]
    external_id: Option<String>,
    /// As its scheme writes it: `$argon2id$…`, `$argon2i$…`, `$argon2d$…`, `$2b$…` (also `$2a$`, `$2y$`), `$scrypt$…`,
    /// `$pbkdf2-sha256$…`, `$pbkdf2-sha512$…`; or as Django and passlib write them. Without it the user chooses a password by
    /// "forgot password".
    #[oai(validator(min_length = 1, max_length = 512))]
    password_hash: Option<String>,
    /// The secret of the user's authenticator (SHA-1, six digits, thirty seconds), in base32.
    #[oai(validator(min_length = 1, max_length = 256))]
    totp_secret: Option<String>,
}

impl Example for ImportLine {
    fn example() -> Self {
        Self {
            email: "ada@example.com".to_owned(),
            name: Some("Ada Lovelace".to_owned()),
            email_verified: Some(true),
            status: None,
            created_at: None,
            roles: Some(vec!["member".to_owned()]),
            external_id: Some("crm-1815".to_owned()),
            password_hash: Some("$2a$06$m0CrhHm10qJ3lXRY.5zDGO3rS2KdeeWLuGmsfGlMfOxih58VYVfxe".to_owned()),
            totp_secret: None,
        }
    }
}

impl From<ImportLine> for Candidate {
    fn from(line: ImportLine) -> Self {
        let ImportLine {
            email,
            name,
            email_verified,
            status,
            created_at,
            roles,
            external_id,
            password_hash,
            totp_secret,
        } = line;
        Self {
            email,
            name,
            email_verified: email_verified.unwrap_or_default(),
            status: status.unwrap_or(StatusView::Active).into(),
            created_at: created_at.map(Timestamp::instant),
            roles,
            external_id,
            password_hash: password_hash.map(Secret::new),
            totp_secret: totp_secret.map(Secret::new),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Enum)]
#[oai(rename_all = "snake_case")]
enum ImportStatus {
    /// There is such a user now.
    Created,
    /// The same line was imported before.
    Unchanged,
    /// Nothing was done.
    Failed,
}

/// What became of a line.
#[derive(Object)]
pub(super) struct ImportedLine {
    /// From 1; empty lines count.
    line: u64,
    status: ImportStatus,
    /// Of a line that did not fail.
    user_id: Option<Uuid>,
    /// Of a line that did.
    errors: Vec<FieldError>,
}

/// The last line: what became of all of them.
#[derive(Default, Object)]
pub(super) struct ImportSummary {
    /// Whether the body was read to its end. Where not, send it again from the start: what is done stays done.
    complete: bool,
    /// Why not.
    detail: Option<String>,
    created: u64,
    unchanged: u64,
    failed: u64,
}

/// A line of the answer.
#[derive(Union)]
#[oai(one_of)]
pub(super) enum ImportReport {
    Line(ImportedLine),
    Summary(ImportSummary),
}

/// Imports the lines; the answer's body.
pub(super) fn run(auth: Auth, credential: Credential, origin: Origin, lines: Lines<ImportLine>) -> Body {
    let (results, read) = mpsc::channel(BACKLOG);
    // A task of its own: results may have to wait for a client that is still sending.
    tokio::spawn(
        Import {
            auth,
            credential,
            origin,
            results,
        }
        .all(lines)
        .in_current_span(),
    );
    let read = stream::unfold(read, |mut read| async {
        let chunk: String = read.recv().await?;
        Some((Ok::<_, io::Error>(chunk), read))
    });
    Body::from_bytes_stream(read)
}

struct Import {
    auth: Auth,
    credential: Credential,
    origin: Origin,
    results: mpsc::Sender<String>,
}

impl Import {
    async fn all(self, mut lines: Lines<ImportLine>) {
        let mut summary = ImportSummary::default();
        loop {
            let mut batch = Vec::with_capacity(BATCH);
            let ended = loop {
                match lines.next().await {
                    Ok(Some(line)) => batch.push(line),
                    Ok(None) => break Some(None),
                    Err(broken_off) => break Some(Some(broken_off.to_string())),
                }
                if batch.len() == BATCH {
                    break None;
                }
            };
            let ended = match self.batch(batch, &mut summary).await {
                Ok(true) => ended,
                // The client reads no more.
                Ok(false) => return,
                Err(detail) => Some(Some(detail)),
            };
            if let Some(detail) = ended {
                summary.complete = detail.is_none();
                summary.detail = detail;
                let last = ImportReport::Summary(summary).to_json_string() + "\n";
                // Nobody may be there to read it.
                let _ = self.results.send(last).await;
                return;
            }
        }
    }

    /// Imports a batch and tells of it; whether somebody still listens.
    async fn batch(&self, batch: Vec<Line<ImportLine>>, summary: &mut ImportSummary) -> Result<bool, String> {
        let (mut numbers, mut candidates, mut faulty) = (Vec::new(), Vec::new(), Vec::new());
        for Line { number, content } in batch {
            match content {
                Ok(line) => {
                    numbers.push(number);
                    candidates.push(line.into());
                }
                Err(errors) => faulty.push(failed(number, errors)),
            }
        }
        let mut lines = faulty;
        if !candidates.is_empty() {
            // The body may take long: whoever sends it may have lost the right since it began.
            let caller = self.credential.permit::<UsersWrite>(&self.auth).await;
            let caller = caller.map_err(|refused| stopped(&refused))?;
            let imported = import_batch(&self.auth, &caller, &self.origin, candidates).await;
            let imported = imported.map_err(|error| {
                tracing::error!(%error, "an import broke off");
                AT_FAULT.to_owned()
            })?;
            lines.extend(
                numbers
                    .into_iter()
                    .zip(imported)
                    .map(|(number, imported)| line(number, imported)),
            );
        }
        lines.sort_unstable_by_key(|line| line.line);
        let mut text = String::new();
        for line in lines {
            *match line.status {
                ImportStatus::Created => &mut summary.created,
                ImportStatus::Unchanged => &mut summary.unchanged,
                ImportStatus::Failed => &mut summary.failed,
            } += 1;
            text += &ImportReport::Line(line).to_json_string();
            text.push('\n');
        }
        Ok(text.is_empty() || self.results.send(text).await.is_ok())
    }
}

/// Why the import stops when its credential is asked again.
fn stopped(refused: &Failure) -> String {
    if refused.code().status().is_server_error() {
        AT_FAULT.to_owned()
    } else {
        "The credential counts no longer, or has lost the permission; send the body again with another."
            .to_owned()
    }
}

fn line(number: u64, imported: Imported) -> ImportedLine {
    let done = |status, id: latchkey_shared::id::UserId| ImportedLine {
        line: number,
        status,
        user_id: Some(id.0),
        errors: Vec::new(),
    };
    match imported {
        Imported::Created(id) => done(ImportStatus::Created, id),
        Imported::Unchanged(id) => done(ImportStatus::Unchanged, id),
        Imported::Failed(faults) => {
            let errors = faults
                .into_iter()
                .map(|fault| FieldError::new(fault.pointer, fault.code, fault.detail));
            failed(number, errors.collect())
        }
    }
}

const fn failed(number: u64, errors: Vec<FieldError>) -> ImportedLine {
    ImportedLine {
        line: number,
        status: ImportStatus::Failed,
        user_id: None,
        errors,
    }
}
