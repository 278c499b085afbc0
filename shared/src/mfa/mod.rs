//! Second factors: time-based codes (RFC 6238) and the recovery codes that stand in for them.
//!
//! A factor is set up, then confirmed with its first code; until then it does not count and the one before it
//! does. A sign-in that has proven the first factor gets a challenge, and answers it once. Whoever judges a code holds
//! the factor's row, so that attempts at one account come one after another. Where the user's row is held as well, it
//! is held first.
//!
//! What must never happen: a code that is accepted twice; a second factor that is asked of, or changed by, someone
//! who has not proven the first; a way in that forgets to ask.

pub(crate) mod challenge;
mod recovery;
mod store;
mod totp;

use chrono::{DateTime, TimeDelta, Utc};
use sea_orm::DbErr;
use uuid::Uuid;

use self::recovery::RecoveryCode;
pub use self::totp::Setup;
use crate::{
    context::Change,
    crypto::seal::{open, seal},
    device::{self, Known},
    entity::totp_factor,
    error::Internal,
    id::{DeviceId, TenantId, UserId},
    postgres::Tx,
    secret::Secret,
    session::Method,
};

/// A factor that is not confirmed by then is none.
const SETUP_TTL: TimeDelta = TimeDelta::minutes(15);

/// What is told of a user's second factor.
#[derive(Clone, Copy, Debug)]
pub struct Status {
    /// When it was confirmed; nothing without one.
    pub confirmed_at: Option<DateTime<Utc>>,
    /// So many recovery codes are left.
    pub recovery_codes: u64,
}

/// A code, as a client sent it.
#[derive(Clone, Debug)]
pub enum Code {
    /// From an authenticator.
    Totp(Secret<String>),
    /// A recovery code.
    Recovery(Secret<String>),
}

impl Code {
    /// Where the client does not say which: six digits are an authenticator's.
    #[must_use]
    pub fn of_either_kind(text: Secret<String>) -> Self {
        let digits = |c: char| c.is_ascii_digit() || c.is_whitespace();
        if text.expose().chars().all(digits) {
            Self::Totp(text)
        } else {
            Self::Recovery(text)
        }
    }
}

/// A factor whose row is held until the transaction ends.
pub(crate) struct Factor {
    id: Uuid,
    user: UserId,
    secret: Secret<Vec<u8>>,
    last_step: i64,
}

/// A user's factors, held.
pub(crate) struct Factors {
    /// The one that counts.
    pub(crate) active: Option<Factor>,
    /// The one that waits to be confirmed.
    pub(crate) pending: Option<Factor>,
}

/// What a user had of second factors before they were removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Removed {
    /// None, or one that was not confirmed in time, which is none.
    Nothing,
    /// One that waited to be confirmed.
    Pending,
    /// The one that counted.
    Active,
}

/// A code that is right and unused, as long as its factor is held.
pub(crate) enum RightCode {
    /// Of that time step.
    Step(i64),
    /// The recovery code with that hash.
    Recovery(Vec<u8>),
}

impl RightCode {
    /// What it proves.
    pub(crate) const fn method(&self) -> Method {
        match self {
            Self::Step(_) => Method::Totp,
            Self::Recovery(_) => Method::RecoveryCode,
        }
    }
}

/// Whether the user has a confirmed second factor.
pub(crate) async fn is_enrolled(tx: &Tx, tenant: TenantId, user: UserId) -> Result<bool, DbErr> {
    Ok(store::confirmed_at(tx, tenant, user).await?.is_some())
}

/// What decides whether somebody who has proven the password is asked for more.
pub(crate) struct Standing {
    /// Whether the user has a confirmed second factor.
    pub(crate) enrolled: bool,
    /// The device, if the user is still known by it.
    pub(crate) device: Option<Known>,
}

/// How a user stands who signs in, from that device where it is a known one.
pub(crate) async fn standing(
    change: &Change<'_>,
    user: UserId,
    device: Option<DeviceId>,
) -> Result<Standing, DbErr> {
    store::standing(&change.tx, change.tenant, user, device, change.now).await
}

/// What is told of the user's second factor.
pub(crate) async fn status(tx: &Tx, tenant: TenantId, user: UserId) -> Result<Status, DbErr> {
    Ok(Status {
        confirmed_at: store::confirmed_at(tx, tenant, user).await?,
        recovery_codes: store::count_recovery_codes(tx, tenant, user).await?,
    })
}

/// Begins to set a factor up, in the place of another that was begun; the one that counts is left alone.
pub(crate) async fn set_up(
    change: &Change<'_>,
    user: UserId,
    issuer: &str,
    account: &str,
) -> Result<Setup, Internal> {
    let context = change.context;
    let id = context.uuid(change.now);
    let secret = totp::new_secret(&*context.random);
    let setup = totp::describe(&secret, issuer, account)?;
    let sealed = seal(
        &context.config.secrets.data_keys,
        id,
        secret.expose(),
        &*context.random,
    )?;
    store::put_pending(change, user, id, sealed).await?;
    Ok(setup)
}

/// The user's factors, held until the transaction ends.
pub(crate) async fn hold(change: &Change<'_>, user: UserId) -> Result<Factors, Internal> {
    let (mut active, mut pending) = (None, None);
    for row in store::hold_factors(&change.tx, change.tenant, user).await? {
        let totp_factor::Model {
            id,
            tenant_id: _,
            user_id,
            sealed,
            last_step,
            created_at,
            confirmed_at,
        } = row;
        let place = if confirmed_at.is_some() {
            &mut active
        } else if change.now < created_at + SETUP_TTL {
            &mut pending
        } else {
            continue;
        };
        *place = Some(Factor {
            id,
            user: user_id,
            secret: open(&change.context.config.secrets.data_keys, id, &sealed)?,
            last_step,
        });
    }
    Ok(Factors { active, pending })
}

/// Whether the code is right now, and unused.
pub(crate) async fn judge(
    change: &Change<'_>,
    factor: &Factor,
    code: &Code,
) -> Result<Option<RightCode>, Internal> {
    match code {
        Code::Totp(text) => {
            let step = totp::step_of(&factor.secret, text.expose(), change.now)?;
            Ok(step.filter(|step| *step > factor.last_step).map(RightCode::Step))
        }
        Code::Recovery(text) => {
            let Some(code) = RecoveryCode::parse(text.expose()) else {
                return Ok(None);
            };
            // It may have been made under any key of the ring.
            for key in change.context.config.secrets.data_keys.iter() {
                let hash = code.hash(key, change.tenant, factor.user);
                if store::has_recovery_code(&change.tx, change.tenant, factor.user, &hash).await? {
                    return Ok(Some(RightCode::Recovery(hash)));
                }
            }
            Ok(None)
        }
    }
}

/// Uses the code up; whether it was there to be used.
pub(crate) async fn spend(change: &Change<'_>, factor: &Factor, code: RightCode) -> Result<bool, DbErr> {
    match code {
        RightCode::Step(step) => store::spend_step(&change.tx, change.tenant, factor.id, step).await,
        RightCode::Recovery(hash) => {
            store::spend_recovery_code(&change.tx, change.tenant, factor.user, hash).await
        }
    }
}

/// Makes a factor that waited the one that counts, with recovery codes of its own.
pub(crate) async fn confirm(change: &Change<'_>, factor: &Factor) -> Result<Vec<Secret<String>>, Internal> {
    store::confirm(change, factor.user, factor.id).await?;
    forget_proofs(change, factor.user).await?;
    replace_recovery_codes(change, factor.user).await
}

/// Gives users who have just been made the factors that they had elsewhere: they count at once.
pub(crate) async fn import(
    change: &Change<'_>,
    secrets: impl IntoIterator<Item = (UserId, Secret<Vec<u8>>)>,
) -> Result<(), Internal> {
    let context = change.context;
    let sealed = secrets.into_iter().map(|(user, secret)| {
        let id = context.uuid(change.now);
        let keys = &context.config.secrets.data_keys;
        Ok((id, user, seal(keys, id, secret.expose(), &*context.random)?))
    });
    let sealed = sealed.collect::<Result<Vec<_>, Internal>>()?;
    Ok(store::insert_confirmed(change, sealed).await?)
}

/// Removes the user's factors, and all that came with them. What is sealed is not opened: a factor whose key is gone can
/// be removed too.
pub(crate) async fn remove(change: &Change<'_>, user: UserId) -> Result<Removed, DbErr> {
    let deleted = store::delete_factors(&change.tx, change.tenant, user).await?;
    store::delete_recovery_codes(&change.tx, change.tenant, user).await?;
    forget_proofs(change, user).await?;
    Ok(removed(&deleted, change.now))
}

fn removed(deleted: &[store::Deleted], now: DateTime<Utc>) -> Removed {
    if deleted.iter().any(|factor| factor.confirmed_at.is_some()) {
        Removed::Active
    } else if deleted.iter().any(|factor| now < factor.created_at + SETUP_TTL) {
        Removed::Pending
    } else {
        Removed::Nothing
    }
}

/// New recovery codes; the ones before them no longer work.
pub(crate) async fn replace_recovery_codes(
    change: &Change<'_>,
    user: UserId,
) -> Result<Vec<Secret<String>>, Internal> {
    let key = change.context.config.secrets.data_keys.current();
    let codes: Vec<RecoveryCode> = (0..recovery::COUNT)
        .map(|_| RecoveryCode::new(&*change.context.random))
        .collect();
    let hashes = codes
        .iter()
        .map(|code| code.hash(key, change.tenant, user))
        .collect();
    store::delete_recovery_codes(&change.tx, change.tenant, user).await?;
    store::insert_recovery_codes(change, user, hashes).await?;
    Ok(codes.iter().map(RecoveryCode::text).collect())
}

/// Ends every sign-in of the user that waits for its second step.
pub(crate) async fn drop_challenges(tx: &Tx, tenant: TenantId, user: UserId) -> Result<(), DbErr> {
    store::delete_challenges(tx, tenant, user).await
}

/// Ends what rests on the factor of before: sign-ins under way, and the trust in devices.
async fn forget_proofs(change: &Change<'_>, user: UserId) -> Result<(), DbErr> {
    drop_challenges(&change.tx, change.tenant, user).await?;
    device::distrust(&change.tx, change.tenant, user).await
}
