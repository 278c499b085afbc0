//! Lockout: who fails too often has to wait, a little longer each time.
//!
//! Failures are counted for each credential by itself: an address's password, a known device's attempts at it, a
//! user's second factor. A count lasts a day. From its threshold on each failure locks, for a second at first; past
//! the daily limit the lock lasts until the count is over, or until it is lifted by the link in the owner's mail or by
//! an administrator.
//!
//! PostgreSQL counts, in the transaction that writes the failure's audit row: parallel failures count exactly, nothing
//! that is flushed unlocks anything, and there is no second counter to fall back to.
//!
//! What must never happen: an answer that tells of a lock; a stranger who locks out a device that has signed in
//! before; an address without an account that is treated otherwise than one with.
//!
//! What an attacker gets: attempts during a lock are refused unread, right or wrong, at the price of a full hash, so
//! that they learn nothing and the answer takes as long. They count, so that whoever goes on is locked out for
//! longer. The owner's known devices have counts of their own and stay open.

mod delay;
mod store;

use std::time::Duration;

use chrono::{DateTime, Utc};
use sea_orm::DbErr;
use serde_json::json;

use self::delay::{CODE_WAITS, PASSWORD_WAITS, Schedule, Wait};
use crate::{
    audit::{self, Record},
    config::Config,
    context::Change,
    crypto::mac,
    entity::user,
    error::Internal,
    id::{DeviceId, UserId},
    mail::{self, Letter, To},
    outbox::{self, EventType},
    postgres::Tx,
    tenant::Tenant,
    user::{Email, UserStatus, one_time, one_time::Purpose},
};

/// A count begins anew after so long.
const DAY: Duration = Duration::from_hours(24);
/// A failing owner gets no more mail than this.
const TELL_AGAIN_AFTER: Duration = Duration::from_hours(1);
/// Second factors have limits of their own, the same in every tenant.
const CODES: Schedule = Schedule {
    threshold: 5,
    limit: 20,
    waits: CODE_WAITS,
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
    schedule: Schedule,
}

impl Budget {
    /// Of the credential in the tenant.
    #[must_use]
    pub fn of(config: &Config, tenant: &Tenant, credential: Credential<'_>) -> Self {
        let policy = tenant.settings.lockout;
        let passwords = Schedule {
            threshold: policy.threshold.into(),
            limit: policy.daily_limit.into(),
            waits: PASSWORD_WAITS,
        };
        let (kind, value, schedule): (&[u8], &[u8], Schedule) = match &credential {
            Credential::Password(email) => (b"password", email.canonical().as_bytes(), passwords),
            Credential::Device(device) => (b"device", device.0.as_bytes(), passwords),
            Credential::SecondFactor(user) => (b"second factor", user.0.as_bytes(), CODES),
        };
        let key = config.secrets.data_keys.oldest();
        let parts = [b"lockout" as &[u8], tenant.id.0.as_bytes(), kind, value];
        Self {
            credential: mac(key.bytes.expose(), &parts).to_vec(),
            schedule,
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

/// Counts a failure, and tells the account's owner by mail when it begins to lock; says whether the credential is
/// locked now. An attempt that met a lock with the right credential is no failure: `counts` is false, and the work the
/// same.
pub(crate) async fn fail(
    change: &mut Change<'_>,
    tenant: &Tenant,
    budget: &Budget,
    owner: Option<&user::Model>,
    counts: bool,
) -> Result<bool, Internal> {
    let now = change.now;
    let count = store::count(
        &change.tx,
        tenant.id,
        &budget.credential,
        i32::from(counts),
        now,
        now + DAY,
    )
    .await?;
    let wait = if counts {
        budget.schedule.wait(count.failures.unsigned_abs())
    } else {
        Wait::None
    };
    let until = match wait {
        Wait::None => count.locked_until,
        Wait::For(wait) => Some(now + wait),
        Wait::UntilTheEnd => Some(count.expires_at),
    };
    let quiet = count.told_at.is_some_and(|told| told + TELL_AGAIN_AFTER > now);
    let told = owner.filter(|owner| wait != Wait::None && !quiet && owner.status == UserStatus::Active);
    let told_at = told.map(|_| now).or(count.told_at);
    store::lock(&change.tx, tenant.id, &budget.credential, until, told_at).await?;
    if let Some(owner) = told {
        tell(change, tenant, owner).await?;
    }
    Ok(until.is_some_and(|until| until > now))
}

/// The owner hears of the lock, with a link that lifts it; the tenant by an event.
async fn tell(change: &mut Change<'_>, tenant: &Tenant, owner: &user::Model) -> Result<(), Internal> {
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
    audit::record(
        change,
        Record::success("user.lock", "user", owner.id.0, json!({})),
    )
    .await?;
    let data = json!({ "user_id": owner.id });
    outbox::emit(change, EventType::UserLocked, Some(owner.id), &data).await?;
    Ok(())
}

/// Forgets the failures: the credential was proven.
pub(crate) async fn clear(change: &Change<'_>, budget: &Budget) -> Result<(), DbErr> {
    store::clear(&change.tx, change.tenant, vec![budget.credential.clone()]).await
}

/// Forgets all failures to prove a credential of the user.
pub(crate) async fn unlock(change: &Change<'_>, tenant: &Tenant, user: &user::Model) -> Result<(), Internal> {
    let credentials = credentials(change.context.config.as_ref(), &change.tx, tenant, user).await?;
    store::clear(&change.tx, tenant.id, credentials).await?;
    one_time::revoke(change, user.id.0, &[Purpose::Unlock]).await?;
    audit::record(
        change,
        Record::success("user.unlock", "user", user.id.0, json!({})),
    )
    .await?;
    Ok(())
}

/// What the user's failures are counted under.
pub(crate) async fn credentials(
    config: &Config,
    tx: &Tx,
    tenant: &Tenant,
    user: &user::Model,
) -> Result<Vec<Vec<u8>>, Internal> {
    let email = Email::parse(&user.email).map_err(Internal::fault)?;
    let devices = store::devices(tx, tenant.id, user.id).await?;
    let mut credentials = vec![Credential::Password(&email), Credential::SecondFactor(user.id)];
    credentials.extend(devices.into_iter().map(Credential::Device));
    let key = |credential| Budget::of(config, tenant, credential).credential;
    Ok(credentials.into_iter().map(key).collect())
}
