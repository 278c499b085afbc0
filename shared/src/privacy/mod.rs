//! Privacy: what is stored about a user, handed out on request and gone with the account.
//!
//! [`classification`] says of every column of every table what it holds and what becomes of it. The export and the
//! erasure are SQL made from that table, and a test compares it with the schema, so that a column that is added
//! tomorrow fails the tests until somebody has decided about it.
//!
//! Of a deleted account nothing remains but what the classification says is kept, and why: rows of the audit trail,
//! which hold ids and the user's network addresses and are never deleted, and events whose data is erased as soon as
//! their last delivery has ended.
//!
//! A deleted tenant goes the same way, table by table ([`purge_tenants`]).
//!
//! What must never happen: a secret in an export, or another person's data; a tenant without an owner; a credential
//! of a deleted account that works.

pub mod classification;
mod delete;
mod erase;
mod export;
mod purge;
mod store;

pub(crate) use self::delete::{forget, hold};
pub use self::{
    delete::{DeleteAccountError, delete_account},
    export::{ROWS_PER_TABLE, export},
    purge::purge_tenants,
};
