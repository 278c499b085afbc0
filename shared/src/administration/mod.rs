//! Administration: what those who may do to the users of their tenant.
//!
//! They find users, make them, change and delete them, bar them and let them in again, end their sessions, their
//! passwords and second factors that were lost, bring them in by the thousand from another system, and take a list of
//! them away.
//!
//! Some of that could make its caller somebody else: who sets another's address reads the mail that sets a password. So
//! the rule that nobody grants what they do not hold holds here too (see `guard.rs`), and nobody does to themselves what
//! only a password lets one do.
//!
//! What costs everybody something, mails and hashes, costs their tenant's share of the limits (see `budget.rs`).
//!
//! What must never happen: an administrator who becomes an owner by way of a mail; a tenant without an owner; a
//! disabled or deleted user with a session; a hash, a secret or another tenant's user in an answer.

mod budget;
mod details;
mod error;
mod export;
mod guard;
mod import;
mod service;
mod sessions;
mod standing;
mod store;

pub use self::{
    details::{ManagedUser, RoleFilter, RoleRef, UserFilter, get, list},
    error::UserError,
    export::{begin_export, export_page},
    import::{BATCH, Candidate, Fault, Imported, import_batch},
    service::{CreateUser, UserPatch, create, update},
    sessions::{end_session, end_sessions, list_sessions},
    standing::{delete, disable, enable, require_new_password, reset_mfa, reset_mfa_for_operator, unlock},
};
