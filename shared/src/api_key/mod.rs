//! API keys: credentials for machines, for our own API and, by asking us, for the tenant's services.
//!
//! A key belongs to a user, to a service account or to the tenant, and may do what its scopes and its owner's current
//! permissions both allow; a tenant's key, what its scopes say. It is `active`, `retiring` (replaced, and working
//! beside its successor for a while), `expired` or `revoked`; nothing leads back. Its text is shown once; what is kept
//! is its hash.
//!
//! Keys are checked from memory ([`Keyring`]); a change reaches that memory by a signal, and times, addresses and the
//! owner's state are looked at on each use.
//!
//! What must never happen: a key that may do more than whoever made it, or replaced it, could; one that acts for
//! somebody who did not make it; a revoked key that works for more than a moment; two successors of one key; an answer
//! by which a tenant learns of another's key.

mod batch;
mod expiring;
mod field;
mod format;
mod keyring;
mod leak;
mod model;
mod rotate;
mod service;
mod store;
mod usage;

pub(crate) use self::batch::revoke_of;
pub use self::{
    batch::{RevokeBatch, revoke_batch},
    expiring::tell_expiring,
    field::{MAX_CIDRS, MAX_METADATA},
    format::{KeyHash, KeyText},
    keyring::{Keyring, Known, Refusal},
    leak::report_leaked,
    model::{ApiKey, ApiKeyError, ApiKeyPatch, CreatedKey, Filter, KeyStatus, NewApiKey, UsageHour},
    rotate::{MAX_OVERLAP, rotate},
    service::{MAX_KEYS, MAX_KEYS_OF_OWNER, create, get, get_self, list, revoke, update, usage},
    usage::{KeyUsage, Outcome},
};
pub use crate::entity::{KeyEnvironment, KeyRevokeReason as RevokeReason};
