//! New passwords: judged, hashed, put in the place of old ones.

use super::Auth;
use crate::{
    context::Change,
    crypto::pool::PoolError,
    device,
    entity::user,
    error::{Internal, internal_variant},
    id::{SessionId, TenantId},
    mfa,
    principal::{Actor, Origin},
    secret::Secret,
    session::{self, RevokeReason},
    signal::SignalKind,
    tenant::Tenant,
    user::{Email, NewPassword, Rules, WeakPassword, one_time, one_time::Purpose, store},
};

/// Why there is no new password.
#[derive(Debug, thiserror::Error)]
pub enum NewPasswordError {
    /// It may not be used.
    #[error(transparent)]
    Weak(#[from] WeakPassword),
    /// Too many passwords are waiting to be hashed.
    #[error("too many passwords at once")]
    Busy,
    /// A failure inside.
    #[error(transparent)]
    Internal(Internal),
}

internal_variant!(NewPasswordError: Internal sea_orm::DbErr);

impl From<PoolError> for NewPasswordError {
    fn from(error: PoolError) -> Self {
        match error {
            PoolError::Busy => Self::Busy,
            PoolError::Hash(error) => Self::Internal(error.into()),
            PoolError::Stopped => Self::Internal(Internal::unavailable(error)),
        }
    }
}

/// The hash of a password that may be set for the address in the tenant.
pub(crate) async fn hash_new(
    auth: &Auth,
    tenant: &Tenant,
    email: &Email,
    password: Secret<String>,
) -> Result<String, NewPasswordError> {
    hash_new_like(auth, tenant, email, password, None).await
}

/// In the place of a password that is yet to be set.
pub(crate) fn unusable_hash(auth: &Auth) -> Result<String, Internal> {
    Ok(auth.passwords.unusable(&*auth.context.random)?)
}

/// As [`hash_new`], made like another hash where there is one; it takes as long.
pub(super) async fn hash_new_like(
    auth: &Auth,
    tenant: &Tenant,
    email: &Email,
    password: Secret<String>,
    other: Option<String>,
) -> Result<String, NewPasswordError> {
    let password = judge(auth, tenant, email, password).await?.into_secret();
    Ok(match other {
        Some(other) => auth.passwords.hash_like(password, other).await?,
        None => auth.passwords.hash(password, &*auth.context.random).await?,
    })
}

/// As [`hash_new`], where there is a password already: that one, and those the tenant's policy remembers, are refused. That
/// of an account that waits to be proven is not: it may be somebody else's, and nobody is to learn whether it was this.
pub(super) async fn hash_replacement(
    auth: &Auth,
    tenant: &Tenant,
    user: &user::Model,
    password: Secret<String>,
) -> Result<String, NewPasswordError> {
    let email = Email::parse(&user.email).map_err(Internal::fault)?;
    let password = judge(auth, tenant, &email, password).await?;
    let tx = auth.context.postgres.tenant(tenant.id).await?;
    // The one that an administrator has ended is remembered whatever the policy.
    let count = tenant.settings.passwords.history.max(1);
    let former = store::former_passwords(&tx, tenant.id, user.id, count).await?;
    drop(tx);
    let present = user.email_verified_at.map(|_| user.password_hash.clone());
    for hash in present.into_iter().chain(former) {
        let verdict = auth
            .passwords
            .verify(password.secret().clone(), Some(hash))
            .await?;
        if verdict.matches() {
            return Err(WeakPassword::UsedBefore.into());
        }
    }
    Ok(auth
        .passwords
        .hash(password.into_secret(), &*auth.context.random)
        .await?)
}

async fn judge(
    auth: &Auth,
    tenant: &Tenant,
    email: &Email,
    password: Secret<String>,
) -> Result<NewPassword, WeakPassword> {
    let password = NewPassword::judge(password, email, &Rules::of(tenant))?;
    if auth.breaches.contain(password.secret()).await {
        return Err(WeakPassword::Breached);
    }
    Ok(password)
}

/// A password that takes the place of another.
pub(super) struct Replacement {
    /// Of the new one.
    pub(super) hash: String,
    /// The session that goes on, if any.
    pub(super) keep: Option<SessionId>,
    /// Why the others end.
    pub(super) reason: RevokeReason,
    /// So many former passwords are remembered, this one among them.
    pub(super) remember: u8,
}

/// Sets the password and ends whatever came of the old one: sessions, sign-ins under way, devices that are trusted,
/// and mails that could set a password or an address. `false` if the account is no longer as it was seen: nothing
/// was changed then.
///
/// The user's row is written first. Sign-in and refresh hold it too, and before all others: each is over by then, and
/// what it made is ended here, or it waits and finds that it came too late.
pub(super) async fn replace(
    change: &mut Change<'_>,
    seen: &user::Model,
    replacement: Replacement,
) -> Result<bool, Internal> {
    let tenant = change.tenant;
    let Replacement {
        hash,
        keep,
        reason,
        remember,
    } = replacement;
    let ended = reason == RevokeReason::NewPasswordRequired;
    if !store::replace_password(&change.tx, tenant, seen, (&hash, ended), change.now).await? {
        return Ok(false);
    }
    // Where there is no password to remember, nothing is forgotten for it either.
    if !seen.password_ended {
        store::remember_password(change, seen, remember).await?;
    }
    one_time::revoke(change, seen.id.0, &[Purpose::ResetPassword, Purpose::ChangeEmail]).await?;
    mfa::drop_challenges(&change.tx, tenant, seen.id).await?;
    device::distrust(&change.tx, tenant, seen.id).await?;
    session::revoke_all(change, seen.id, keep, reason).await?;
    change.signal(SignalKind::AccountChanged, seen.id.0).await?;
    Ok(true)
}

/// Hashes a password that has just proven right in the way that new ones are hashed. The sign-in goes on whatever
/// comes of it; the next one tries again.
pub(super) async fn rehash(
    auth: &Auth,
    tenant: TenantId,
    origin: &Origin,
    user: &user::Model,
    password: Secret<String>,
) {
    let rehashed: Result<(), NewPasswordError> = async {
        let hash = auth.passwords.hash(password, &*auth.context.random).await?;
        let change = auth.context.change(tenant, Actor::System, origin).await?;
        store::rehash(&change.tx, tenant, user, &hash).await?;
        change.commit().await?;
        metrics::counter!("latchkey_password_rehashes_total").increment(1);
        Ok(())
    }
    .await;
    if let Err(error) = rehashed {
        tracing::warn!(user = %user.id, %error, "an outdated hash stays until the next sign-in");
    }
}
