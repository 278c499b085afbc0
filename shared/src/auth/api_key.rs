//! The check of every use of an API key: on our own API, and for the tenant's services.
//!
//! On the warm path it costs a hash and a few look-ups, and no network; a key with a limit of its own asks Redis once.
//! What a key may do is worked out anew on each use, from its scopes and its owner as they are now.

use std::{net::IpAddr, num::NonZeroU32, sync::Arc};

use chrono::{DateTime, Utc};

use super::{
    Account, Auth, account,
    policy::{self, Next, Proven},
};
use crate::{
    api_key::{KeyText, Known, Outcome, Refusal},
    error::Internal,
    id::{ApiKeyId, TenantId},
    limit::Verdict,
    permission::{ApiKeysVerify, Authorized},
    postgres::Tx,
    principal::{Permissions, Principal, Subject},
    service_account::{Machine, ServiceAccountStatus},
    tenant::Tenant,
};

/// Whoever came by a key that counts.
#[derive(Clone, Debug)]
pub struct KeyCaller {
    /// What services take.
    pub principal: Principal,
    /// What the key's own limit says, if it has one.
    pub verdict: Option<Verdict>,
}

/// Why whoever brings a key is not let in.
#[derive(Debug, thiserror::Error)]
pub enum KeyRefused {
    /// There is no such key, or it does not count here and now: nobody learns which.
    #[error("the key is not valid")]
    Invalid,
    /// It is good, and used too often.
    #[error("the key is used too often")]
    TooOften(Verdict),
    /// A failure inside.
    #[error(transparent)]
    Internal(#[from] Internal),
}

/// What a key is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VerifyCode {
    /// It counts.
    Valid,
    /// The tenant has no such key.
    NotFound,
    /// Its time is over.
    Expired,
    /// Somebody has ended it.
    Revoked,
    /// It, or its owner, may not do what is asked.
    InsufficientPermissions,
    /// It may not be used from there.
    IpDenied,
    /// It is used too often.
    RateLimited,
    /// Its owner is barred, gone, or has yet to do what the tenant wants.
    OwnerDisabled,
}

/// What is asked about a key.
#[derive(Debug)]
pub struct Verification {
    /// Its text.
    pub key: String,
    /// What it is to be used for: all of these.
    pub permissions: Vec<String>,
    /// From where.
    pub client_ip: Option<IpAddr>,
    /// So many uses is this one worth.
    pub cost: NonZeroU32,
}

/// What a key is worth, and whose it is.
#[derive(Clone, Debug)]
pub struct Verified {
    /// Whether it counts, and why not.
    pub code: VerifyCode,
    /// The key; none where the tenant has none of that text.
    pub key: Option<Arc<Known>>,
    /// What it may do now.
    pub permissions: Permissions,
    /// What its own limit says, if it has one and was asked.
    pub verdict: Option<Verdict>,
}

impl From<Refusal> for VerifyCode {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Revoked => Self::Revoked,
            Refusal::Expired => Self::Expired,
            Refusal::Elsewhere => Self::IpDenied,
        }
    }
}

/// Who the bearer of the key is.
///
/// # Errors
/// See [`KeyRefused`]; a doubt denies.
pub async fn authenticate_key(
    auth: &Auth,
    text: &str,
    address: Option<IpAddr>,
) -> Result<KeyCaller, KeyRefused> {
    let text = KeyText::parse(text).ok_or(KeyRefused::Invalid)?;
    let known = auth.keyring.find(&auth.context, &text).await?;
    let known = known.ok_or(KeyRefused::Invalid)?;
    let now = auth.context.clock.now();
    let judged = judge(auth, &known, address, now).await?;
    let verdict = match &judged {
        Ok(_) => spend(auth, &known, NonZeroU32::MIN).await,
        Err(_) => None,
    };
    let refused = verdict
        .as_ref()
        .is_some_and(|verdict| verdict.refused_for().is_some());
    auth.key_usage
        .note(&known, outcome(judged.is_ok() && !refused), now);
    let permissions = judged.map_err(|_| KeyRefused::Invalid)?;
    match verdict {
        Some(verdict) if refused => Err(KeyRefused::TooOften(verdict)),
        verdict => Ok(KeyCaller {
            principal: principal(&known, permissions),
            verdict,
        }),
    }
}

/// Who the bearer of the key is by now, amid a request that began with [`authenticate_key`]: it is no further use of it.
///
/// # Errors
/// See [`KeyRefused`]; a doubt denies.
pub async fn authenticate_key_again(
    auth: &Auth,
    text: &str,
    address: Option<IpAddr>,
) -> Result<Principal, KeyRefused> {
    let text = KeyText::parse(text).ok_or(KeyRefused::Invalid)?;
    let known = auth.keyring.find(&auth.context, &text).await?;
    let known = known.ok_or(KeyRefused::Invalid)?;
    let judged = judge(auth, &known, address, auth.context.clock.now()).await?;
    let permissions = judged.map_err(|_| KeyRefused::Invalid)?;
    Ok(principal(&known, permissions))
}

fn principal(known: &Known, permissions: Permissions) -> Principal {
    Principal {
        tenant: known.tenant,
        subject: known.owner,
        key: Some(known.id),
        session: None,
        permissions,
    }
}

/// What the key is worth to a service of the caller's tenant. Another tenant's key is no key.
///
/// # Errors
/// Only failures inside.
pub async fn verify_key(
    auth: &Auth,
    caller: &Authorized<ApiKeysVerify>,
    asked: &Verification,
) -> Result<Verified, Internal> {
    let tenant = caller.principal().tenant;
    let Some(known) = find_in(auth, tenant, &asked.key).await? else {
        return Ok(Verified {
            code: VerifyCode::NotFound,
            key: None,
            permissions: Permissions::default(),
            verdict: None,
        });
    };
    let now = auth.context.clock.now();
    let judged = judge(auth, &known, asked.client_ip, now).await?;
    let (mut code, permissions) = match judged {
        Ok(permissions) => (VerifyCode::Valid, permissions),
        Err(code) => (code, Permissions::default()),
    };
    if code == VerifyCode::Valid
        && !asked
            .permissions
            .iter()
            .all(|wanted| permissions.contains(wanted))
    {
        code = VerifyCode::InsufficientPermissions;
    }
    // What is refused uses nothing up.
    let verdict = match code {
        VerifyCode::Valid => spend(auth, &known, asked.cost).await,
        _ => None,
    };
    if verdict
        .as_ref()
        .is_some_and(|verdict| verdict.refused_for().is_some())
    {
        code = VerifyCode::RateLimited;
    }
    auth.key_usage
        .note(&known, outcome(code == VerifyCode::Valid), now);
    Ok(Verified {
        code,
        key: Some(known),
        permissions,
        verdict,
    })
}

async fn find_in(auth: &Auth, tenant: TenantId, text: &str) -> Result<Option<Arc<Known>>, Internal> {
    let Some(text) = KeyText::parse(text) else {
        return Ok(None);
    };
    let known = auth.keyring.find(&auth.context, &text).await?;
    Ok(known.filter(|known| known.tenant == tenant))
}

fn outcome(is_good: bool) -> Outcome {
    if is_good {
        Outcome::Verified
    } else {
        Outcome::Denied
    }
}

async fn spend(auth: &Auth, known: &Known, cost: NonZeroU32) -> Option<Verdict> {
    Some(auth.context.limits.judge_key(known.id, known.rate?, cost).await)
}

/// What the key may do now and from there, or why it counts for nothing.
async fn judge(
    auth: &Auth,
    known: &Known,
    address: Option<IpAddr>,
    now: DateTime<Utc>,
) -> Result<Result<Permissions, VerifyCode>, Internal> {
    if let Err(refusal) = known.usable(now, address) {
        return Ok(Err(refusal.into()));
    }
    let permissions = match known.owner {
        Subject::User(user) => {
            let account = auth.accounts.get_heard(&auth.context, known.tenant, user).await?;
            account.and_then(|account| of_user(known, &account))
        }
        Subject::ServiceAccount(id) => match auth.active_tenant_heard(known.tenant).await? {
            Some(tenant) => {
                let machine = auth
                    .machines
                    .get(&auth.context, tenant.id, tenant.is_platform(), id);
                machine.await?.and_then(|machine| of_machine(known, &machine))
            }
            None => None,
        },
        Subject::Tenant => {
            let tenant = auth.active_tenant_heard(known.tenant).await?;
            tenant.map(|tenant| known.permissions_of_tenant(tenant.is_platform()))
        }
    };
    Ok(permissions.ok_or(VerifyCode::OwnerDisabled))
}

/// What the key of that id may do now, by what PostgreSQL holds of it and its owner; nothing if it counts no longer. For
/// what was begun with a key, and is finished without it.
pub(super) async fn worth(
    tx: &Tx,
    tenant: &Tenant,
    id: ApiKeyId,
    now: DateTime<Utc>,
) -> Result<Option<Permissions>, Internal> {
    let known = Known::read(tx, tenant.id, id).await?;
    let Some(known) = known.filter(|known| known.live(now).is_ok()) else {
        return Ok(None);
    };
    Ok(match known.owner {
        Subject::User(user) => {
            let account = account::read(tx, tenant.id, user).await?;
            account.and_then(|account| of_user(&known, &account))
        }
        Subject::ServiceAccount(id) => {
            let machine = Machine::read(tx, tenant.id, tenant.is_platform(), id).await?;
            machine.and_then(|machine| of_machine(&known, &machine))
        }
        Subject::Tenant => Some(known.permissions_of_tenant(tenant.is_platform())),
    })
}

fn of_user(known: &Known, account: &Account) -> Option<Permissions> {
    let may_enter = policy::may_enter(account, &account.tenant, Proven::Key) == Ok(Next::Enter);
    (may_enter && !account.must_enrol()).then(|| known.permissions_within(&account.permissions))
}

fn of_machine(known: &Known, machine: &Machine) -> Option<Permissions> {
    let may_act = machine.status == ServiceAccountStatus::Active;
    may_act.then(|| known.permissions_within(&machine.permissions))
}
