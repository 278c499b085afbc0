//! Setting up, replacing and removing the second factor of someone who is signed in; and of someone who has lost it.
//!
//! Each begins with the password, or goes on with what began with it, but for the reset of a factor that was lost, which
//! is others' to ask for. The user's row is held first, then the factors', so that a change of the password meanwhile is
//! either seen or waits.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Auth, Caller, LoginError, confirm::confirm_password, policy, prove_code::prove_code};
use crate::{
    audit::{self, Record},
    context::Change,
    entity::user,
    error::{Internal, internal_variant},
    mail::{self, Letter, To},
    mfa::{self, Code, Factors, Removed, Setup, Status},
    outbox::{self, Payload, event},
    principal::{Actor, Origin},
    secret::Secret,
    session::{self, RevokeReason},
    signal::SignalKind,
    tenant::{MfaRequirement, Tenant},
    user::store,
};

/// Why a second factor is what it was.
#[derive(Debug, thiserror::Error)]
pub enum FactorError {
    /// The password is wrong, or there were too many wrong ones.
    #[error("the password is wrong")]
    InvalidCredentials,
    /// The code is wrong, used or out of its time, or there were too many of those.
    #[error("the code is not valid")]
    InvalidCode,
    /// The account has none.
    #[error("there is no second factor")]
    NotEnabled,
    /// None waits to be confirmed.
    #[error("no second factor is being set up")]
    NotPending,
    /// The tenant has switched them off.
    #[error("second factors are switched off")]
    Off,
    /// The tenant wants one of this user.
    #[error("the tenant requires a second factor")]
    Required,
    /// The session has not proven the factor that would be replaced, or longer ago than this.
    #[error("the present factor must be proven first")]
    Unproven(Duration),
    /// The session ended meanwhile.
    #[error("the session has ended")]
    SessionEnded,
    /// Too many passwords are waiting to be hashed.
    #[error("too many requests at once")]
    Busy,
    /// A failure inside.
    #[error(transparent)]
    Internal(Internal),
}

internal_variant!(FactorError: Internal sea_orm::DbErr);

impl From<LoginError> for FactorError {
    fn from(error: LoginError) -> Self {
        match error {
            LoginError::Busy => Self::Busy,
            LoginError::Internal(error) => Self::Internal(error),
            _ => Self::InvalidCredentials,
        }
    }
}

/// What is told of the caller's second factor.
///
/// # Errors
/// Only failures inside.
pub async fn factor_status(auth: &Auth, caller: &Caller) -> Result<Status, Internal> {
    let session = &caller.session;
    let tx = auth.context.postgres.tenant(session.tenant).await?;
    Ok(mfa::status(&tx, session.tenant, session.user).await?)
}

/// Begins to set a factor up; one that the account has goes on counting until this one is confirmed.
///
/// # Errors
/// See [`FactorError`].
pub async fn set_up_factor(
    auth: &Auth,
    caller: &Caller,
    origin: &Origin,
    password: Secret<String>,
) -> Result<Setup, FactorError> {
    let tenant = &caller.account.tenant;
    refuse_where_off(tenant)?;
    let (change, user) = with_password(auth, caller, origin, password).await?;
    // Whoever knows the password alone must not put a factor in the place of the owner's, nor who has found a session that
    // proved the present one long ago.
    let max_age = auth.context.config.tokens.reauthentication_ttl;
    let recent_until = caller.session.authenticated_at + max_age;
    let proven = caller.session.both_factors && change.now <= recent_until;
    if !proven && mfa::hold(&change, user.id).await?.active.is_some() {
        return Err(FactorError::Unproven(max_age));
    }
    let branding = &tenant.settings.branding;
    let issuer = branding.product_name.as_deref().unwrap_or(&tenant.name);
    let setup = mfa::set_up(&change, user.id, issuer, &user.email).await?;
    note(&change, "mfa.set_up", &user, json!({})).await?;
    change.commit().await?;
    Ok(setup)
}

/// Makes the factor that is being set up the account's, and gives its recovery codes, once. Other sessions end: they
/// were begun without it.
///
/// # Errors
/// See [`FactorError`].
pub async fn confirm_factor(
    auth: &Auth,
    caller: &Caller,
    origin: &Origin,
    code: Secret<String>,
) -> Result<Vec<Secret<String>>, FactorError> {
    let (tenant, session) = (&caller.account.tenant, &caller.session);
    refuse_where_off(tenant)?;
    let change = auth
        .context
        .change(tenant.id, Actor::from(session), origin)
        .await?;
    // Nobody signs in meanwhile: a session without the factor is there to be ended, or waits and finds it.
    store::hold(&change.tx, tenant.id, session.user).await?;
    let user = store::find(&change.tx, tenant.id, session.user).await?;
    let user = user.ok_or(FactorError::SessionEnded)?;
    let Factors { active, pending } = mfa::hold(&change, user.id).await?;
    let pending = pending.ok_or(FactorError::NotPending)?;
    let proven = prove_code(change, tenant, &user, &pending, &Code::Totp(code)).await?;
    let (mut change, _) = proven.ok_or(FactorError::InvalidCode)?;
    session::second_factor_added(&change, session.session)
        .await?
        .ok_or(FactorError::SessionEnded)?;
    let codes = mfa::confirm(&change, &pending).await?;
    let (except, reason) = (Some(session.session), RevokeReason::SecondFactorChanged);
    session::revoke_all(&mut change, user.id, except, reason).await?;
    note(
        &change,
        "mfa.enable",
        &user,
        json!({ "replaced": active.is_some() }),
    )
    .await?;
    announce(
        &mut change,
        tenant,
        &user,
        &event::MfaEnabled {
            user_id: user.id,
            method: event::FactorMethod::Totp,
        },
        Letter::MfaEnabled,
    )
    .await?;
    change.commit().await?;
    Ok(codes)
}

/// Removes the account's factor and its recovery codes.
///
/// # Errors
/// See [`FactorError`].
pub async fn disable_factor(
    auth: &Auth,
    caller: &Caller,
    origin: &Origin,
    password: Secret<String>,
    code: Code,
) -> Result<(), FactorError> {
    let tenant = &caller.account.tenant;
    if policy::requires_factor(&tenant.settings.mfa, &caller.account.roles) {
        return Err(FactorError::Required);
    }
    let (mut change, user) = with_both(auth, caller, origin, password, &code).await?;
    mfa::remove(&change, user.id).await?;
    note(&change, "mfa.disable", &user, json!({})).await?;
    announce(
        &mut change,
        tenant,
        &user,
        &event::MfaDisabled {
            user_id: user.id,
            method: event::FactorMethod::Totp,
        },
        Letter::MfaDisabled,
    )
    .await?;
    change.commit().await?;
    Ok(())
}

/// Removes the factor of a user who has lost it, asked for by somebody who may; whoever calls holds the user's row. Every
/// session ends: whoever has found the factor may have begun one. `false` if there was none: then nothing is to be
/// committed.
pub(crate) async fn reset_factor(
    change: &mut Change<'_>,
    tenant: &Tenant,
    user: &user::Model,
) -> Result<bool, Internal> {
    let removed = mfa::remove(change, user.id).await?;
    if removed == Removed::Nothing {
        return Ok(false);
    }
    session::revoke_all(change, user.id, None, RevokeReason::SecondFactorChanged).await?;
    let was_active = removed == Removed::Active;
    note(
        change,
        "user.reset_mfa",
        user,
        json!({ "was_active": was_active }),
    )
    .await?;
    if was_active {
        let data = event::MfaDisabled {
            user_id: user.id,
            method: event::FactorMethod::Totp,
        };
        announce(change, tenant, user, &data, Letter::MfaDisabled).await?;
    }
    Ok(true)
}

/// New recovery codes, given once; the old ones no longer work.
///
/// # Errors
/// See [`FactorError`].
pub async fn replace_recovery_codes(
    auth: &Auth,
    caller: &Caller,
    origin: &Origin,
    password: Secret<String>,
    code: Code,
) -> Result<Vec<Secret<String>>, FactorError> {
    let tenant = &caller.account.tenant;
    let (mut change, user) = with_both(auth, caller, origin, password, &code).await?;
    let codes = mfa::replace_recovery_codes(&change, user.id).await?;
    note(&change, "mfa.replace_recovery_codes", &user, json!({})).await?;
    let letter = Letter::RecoveryCodesReplaced;
    mail::queue(&mut change, tenant.brand(), To::user(&user), letter).await?;
    change.commit().await?;
    Ok(codes)
}

/// A change by someone who has proven the password; the user's row is held.
pub(super) async fn with_password<'a>(
    auth: &'a Auth,
    caller: &Caller,
    origin: &'a Origin,
    password: Secret<String>,
) -> Result<(Change<'a>, user::Model), FactorError> {
    let (tenant, session) = (&caller.account.tenant, &caller.session);
    let user = confirm_password(auth, tenant, session, origin, password).await?;
    let change = auth
        .context
        .change(tenant.id, Actor::from(session), origin)
        .await?;
    if store::hold_unchanged(&change.tx, tenant.id, &user).await? {
        Ok((change, user))
    } else {
        Err(FactorError::InvalidCredentials)
    }
}

/// A change by someone who has proven the password and the second factor.
async fn with_both<'a>(
    auth: &'a Auth,
    caller: &Caller,
    origin: &'a Origin,
    password: Secret<String>,
    code: &Code,
) -> Result<(Change<'a>, user::Model), FactorError> {
    let (change, user) = with_password(auth, caller, origin, password).await?;
    let factor = mfa::hold(&change, user.id).await?.active;
    let factor = factor.ok_or(FactorError::NotEnabled)?;
    let proven = prove_code(change, &caller.account.tenant, &user, &factor, code).await?;
    let (change, _) = proven.ok_or(FactorError::InvalidCode)?;
    Ok((change, user))
}

fn refuse_where_off(tenant: &Tenant) -> Result<(), FactorError> {
    if tenant.settings.mfa.requirement == MfaRequirement::Off {
        Err(FactorError::Off)
    } else {
        Ok(())
    }
}

async fn note(
    change: &Change<'_>,
    action: &'static str,
    user: &user::Model,
    detail: Value,
) -> Result<(), Internal> {
    Ok(audit::record(change, Record::success(action, "user", user.id.0, detail)).await?)
}

/// Tells the tenant's endpoints, the owner and every process.
async fn announce(
    change: &mut Change<'_>,
    tenant: &Tenant,
    user: &user::Model,
    event: &impl Payload,
    letter: Letter,
) -> Result<(), Internal> {
    outbox::emit(change, Some(user.id), event).await?;
    mail::queue(change, tenant.brand(), To::user(user), letter).await?;
    change.signal(SignalKind::AccountChanged, user.id.0).await?;
    Ok(())
}
