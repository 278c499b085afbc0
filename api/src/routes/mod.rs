//! The operations, a folder for each group: `mod.rs` has the handlers, `model.rs` the shapes, `error.rs` the
//! problems. A handler reads the request, calls one service function and shapes the reply.

pub mod account;
pub mod api_keys;
pub mod audit;
pub mod auth;
pub mod authz;
pub mod docs;
mod export;
pub mod health;
pub mod invitations;
pub mod mail_templates;
pub mod mfa;
pub mod passwords;
pub mod permissions;
pub mod roles;
pub mod service_accounts;
pub mod sessions;
pub mod tenant;
pub mod tenants;
pub mod tokens;
pub mod users;
pub mod webhooks;

use chrono::{DateTime, Datelike, Utc};
use latchkey_shared::{
    page::{InvalidCursor, PageRequest},
    version::Expected,
};
use poem_openapi::{Tags, types::MaybeUndefined};

use crate::problem::{Failure, FieldError, ProblemCode};

/// How the document groups operations.
#[derive(Tags)]
pub enum Tag {
    /// Accounts, sign-in and sessions.
    Auth,
    /// The second factor, and the devices that are remembered.
    Mfa,
    /// One's own account: profile, export and deletion.
    Account,
    /// The users of a tenant; for its administrators.
    Users,
    /// What users may do: permissions, roles, and the answer to who may.
    Roles,
    /// Principals for machines.
    ServiceAccounts,
    /// Credentials for machines.
    ApiKeys,
    /// Where one is signed in.
    Sessions,
    /// What other services ask about tokens.
    Tokens,
    /// Joining a tenant.
    Invitations,
    /// Isolated populations; for the platform's administrators.
    Tenants,
    /// What a tenant decides for itself.
    Settings,
    /// Endpoints, events and deliveries.
    Webhooks,
    /// What was done, by whom.
    Audit,
    /// Whether the server works.
    Health,
}

/// A field of a PATCH: absent is `None`, null is `Some(None)`.
#[expect(clippy::option_option, reason = "the three states of a field in a PATCH")]
fn changed<T>(field: MaybeUndefined<T>) -> Option<Option<T>> {
    match field {
        MaybeUndefined::Undefined => None,
        MaybeUndefined::Null => Some(None),
        MaybeUndefined::Value(value) => Some(Some(value)),
    }
}

/// The page that a list's parameters ask for.
fn page(limit: Option<u32>, cursor: Option<&str>) -> Result<PageRequest, Failure> {
    PageRequest::new(limit, cursor).map_err(|InvalidCursor| {
        let detail = "Take next_cursor from the page before.";
        let field = FieldError::new("/query/cursor", "invalid", detail);
        Failure::fields(ProblemCode::InvalidCursor, vec![field])
    })
}

/// PostgreSQL's calendar is shorter than the parser's.
fn in_range(name: &str, at: Option<DateTime<Utc>>) -> Result<Option<DateTime<Utc>>, Failure> {
    if at.is_none_or(|at| (1..=9999).contains(&at.year())) {
        return Ok(at);
    }
    let field = FieldError::new(format!("/query/{name}"), "invalid", "The year is out of range.");
    Err(Failure::fields(ProblemCode::InvalidParameter, vec![field]))
}

/// What a change may be made of, as `If-Match` says; it must be there.
fn if_match(field: Option<&str>) -> Result<Expected, Failure> {
    let missing = || {
        Failure::new(
            ProblemCode::PreconditionRequired,
            "Send the ETag that you have read as If-Match.",
        )
    };
    Expected::parse(field.ok_or_else(missing)?).ok_or_else(|| {
        let field = FieldError::new(
            "/header/If-Match",
            "invalid_format",
            "Take it from ETag, with its quotes.",
        );
        Failure::fields(ProblemCode::InvalidParameter, vec![field])
    })
}

/// What the caller has read is not how it stands now.
fn changed_meanwhile() -> Failure {
    Failure::new(
        ProblemCode::PreconditionFailed,
        "Read it again, and make the change of what it is now.",
    )
}
