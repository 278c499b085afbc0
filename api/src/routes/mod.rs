//! The operations, a folder for each group: `mod.rs` has the handlers, `model.rs` the shapes, `error.rs` the
//! problems. A handler reads the request, calls one service function and shapes the reply.

pub mod account;
pub mod auth;
pub mod docs;
pub mod health;
pub mod invitations;
pub mod mail_templates;
pub mod mfa;
pub mod passwords;
pub mod sessions;
pub mod tenants;
pub mod users;
pub mod webhooks;

use latchkey_shared::page::{InvalidCursor, PageRequest};
use poem_openapi::Tags;

use crate::problem::{Failure, ProblemCode};

/// How the document groups operations.
#[derive(Tags)]
pub enum Tag {
    /// Accounts, sign-in and sessions.
    Auth,
    /// Joining a tenant.
    Invitations,
    /// Isolated populations; for the platform's administrators.
    Tenants,
    /// Endpoints, events and deliveries.
    Webhooks,
    /// Whether the server works.
    Health,
}

/// The page that a list's parameters ask for.
fn page(limit: Option<u32>, cursor: Option<&str>) -> Result<PageRequest, Failure> {
    PageRequest::new(limit, cursor).map_err(|InvalidCursor| {
        Failure::new(
            ProblemCode::InvalidCursor,
            "Take next_cursor from the page before.",
        )
    })
}
