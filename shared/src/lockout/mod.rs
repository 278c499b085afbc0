//! Lockout: who fails too often has to wait, a little longer each time.
//!
//! Failures are counted for each credential by itself: an address's password, a known device's attempts at it, a
//! user's second factor. A credential is free until the tenant's threshold, then locked for a second, and for longer
//! with each further failure, those during a lock included; after the limit of a day only the day's end or an unlock
//! helps. The right password forgets the failures of its own credential, never those of another.
//!
//! PostgreSQL counts. A failure writes an audit row in a transaction anyway; in the same one the count is exact
//! however many fail at once, and nothing that Redis forgets unlocks anything.
//!
//! What an attacker gains:
//! - *to learn of a lock, or of an account*: nothing. Each attempt costs one hash and the same statements, is answered
//!   in the same words and on an even stroke, and addresses without an account are counted like any other.
//! - *to guess many at once, before the first failure is counted*: little. The lock is asked again when a password
//!   has proven right, behind all failures that are being counted then.
//! - *to lock a victim out*: only where the victim has never been. Known devices have a budget of their own, and the
//!   owner gets a link that lifts the lock.
//! - *to fill a mailbox*: one mail an hour. *To fill the table*: rows go after a day, and the rate limits come first.
//! - *to burn our time*: a locked credential is hashed all the same, or its lock would show; the rate limits and the
//!   bounded queue of the hashing threads hold against that.
//!
//! What must never happen: an answer that tells of a lock; a stranger who locks out a device that has signed in
//! before; an address without an account that is treated otherwise than one with.

mod delay;
mod store;

use chrono::{DateTime, TimeDelta, Utc};
use sea_orm::DbErr;
use serde_json::json;

use crate::{
    audit::{self, Record},
    clock::Timestamp,
    config::Config,
    context::Change,
    crypto::mac,
    entity::{UserStatus, user},
    error::Internal,
    id::{DeviceId, UserId},
    mail::{self, Letter, To},
    outbox::{self, event},
    postgres::Tx,
    tenant::{LockoutPolicy, Tenant},
    user::{Email, one_time, one_time::Purpose},
};

/// The owner hears of a credential's locks no more often.
const TELL_AGAIN: TimeDelta = TimeDelta::hours(1);
/// A code has six digits, and three of them are right at any time: fewer tries than at a password.
const SECOND_FACTOR: LockoutPolicy = LockoutPolicy {
    threshold: 5,
    daily_limit: 20,
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
    policy: LockoutPolicy,
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
        let chosen = tenant.settings.lockout;
        let policy = match credential {
            Credential::Password(_) | Credential::Device(_) => chosen,
            Credential::SecondFactor(_) => LockoutPolicy {
                threshold: chosen.threshold.min(SECOND_FACTOR.threshold),
                daily_limit: chosen.daily_limit.min(SECOND_FACTOR.daily_limit),
            },
        };
        let key = config.secrets.data_keys.oldest();
        let parts = [b"lockout" as &[u8], tenant.id.0.as_bytes(), kind, value];
        Self {
            credential: mac(key.bytes.expose(), &parts).to_vec(),
            policy,
        }
    }

    /// What its row is found by.
    #[must_use]
    pub fn credential(&self) -> &[u8] {
        &self.credential
    }
}

/// What a failure has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Failed {
    /// Until when the credential is locked now.
    pub(crate) locked_until: Option<DateTime<Utc>>,
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
    change: &mut Change<'_>,
    tenant: &Tenant,
    budget: &Budget,
    owner: Option<&user::Model>,
    counts: bool,
) -> Result<Failed, Internal> {
    let row = store::count(change, &budget.credential, i32::from(counts)).await?;
    let lock = delay::locked_until(row.failures, row.first_at, change.now, budget.policy);
    let lock = lock.filter(|_| counts);
    let locked_until = row.locked_until.max(lock);
    let told_lately = row.told_at.is_some_and(|told| told > change.now - TELL_AGAIN);
    let owner = owner.filter(|owner| owner.status == UserStatus::Active);
    let mut told_at = row.told_at;
    if let (Some(owner), Some(until), false) = (owner, lock, told_lately) {
        tell(change, tenant, owner, until).await?;
        told_at = Some(change.now);
    }
    let day_ends_at = row.first_at + delay::WINDOW;
    store::note(change, &budget.credential, locked_until, told_at, day_ends_at).await?;
    Ok(Failed { locked_until })
}

/// Forgets the failures of a credential that was proven. False if it is locked by now: then nobody may enter by it,
/// and the attempt is to end as a [`fail`] that does not count.
#[must_use = "a credential that is locked lets nobody in"]
pub(crate) async fn clear(change: &Change<'_>, budget: &Budget) -> Result<bool, DbErr> {
    Ok(!store::clear_unlocked(change, &budget.credential).await?)
}

/// Lifts the locks on everything the user signs in with, and writes down that somebody did.
pub(crate) async fn lift(
    change: &Change<'_>,
    tenant: &Tenant,
    user: &user::Model,
    devices: &[DeviceId],
) -> Result<(), Internal> {
    for budget in budgets(&change.context.config, tenant, user, devices)? {
        store::lift(&change.tx, tenant.id, &budget.credential).await?;
    }
    audit::record(
        change,
        Record::success("user.unlock", "user", user.id.0, json!({})),
    )
    .await?;
    Ok(())
}

/// Of everything the user signs in with.
pub(crate) fn budgets(
    config: &Config,
    tenant: &Tenant,
    user: &user::Model,
    devices: &[DeviceId],
) -> Result<Vec<Budget>, Internal> {
    let email = Email::parse(&user.email).map_err(Internal::fault)?;
    let own = [Credential::Password(&email), Credential::SecondFactor(user.id)];
    let devices = devices.iter().map(|device| Credential::Device(*device));
    let budget = |credential| Budget::of(config, tenant, credential);
    Ok(own.into_iter().chain(devices).map(budget).collect())
}

/// Tells the owner, the audit trail and the tenant's endpoints.
async fn tell(
    change: &mut Change<'_>,
    tenant: &Tenant,
    owner: &user::Model,
    until: DateTime<Utc>,
) -> Result<(), Internal> {
    let expires_at = change.now + change.context.config.tokens.unlock_ttl;
    let address = &owner.email_canonical;
    let token = one_time::issue(change, Purpose::Unlock, owner.id.0, address, expires_at).await?;
    mail::queue(
        change,
        tenant.brand(),
        To::user(owner),
        Letter::AccountLocked { token },
    )
    .await?;
    let until = Timestamp(until);
    audit::record(
        change,
        Record::success("user.lock", "user", owner.id.0, json!({ "locked_until": until })),
    )
    .await?;
    let data = event::UserLocked {
        user: event::KnownUser { id: owner.id },
        locked_until: until,
    };
    outbox::emit(change, Some(owner.id), &data).await?;
    Ok(())
}
