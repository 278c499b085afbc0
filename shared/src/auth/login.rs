//! Signing in with a password.

use serde_json::json;
use tokio::time::Instant;

use super::{
    Asked, Auth, Entrance,
    enter::{Entrant, enter},
    evenly::evenly_since,
    password::rehash,
    policy::{self, Denied, Next, Proven},
};
use crate::{
    audit::{self, Outcome, Record},
    context::{Change, Context},
    crypto::{password::Verdict, pool::PoolError},
    device::{self, Known},
    entity::user,
    error::{Internal, internal_variant},
    id::DeviceId,
    lockout::{self, Budget, Credential},
    mfa::{self, challenge},
    principal::{Actor, Origin},
    secret::Secret,
    session::Method,
    tenant::Tenant,
    user::{Email, store},
};

/// A try to sign in.
pub struct Login {
    /// The account's address.
    pub email: Email,
    /// The password.
    pub password: Secret<String>,
    /// From an earlier sign-in, where the client kept it.
    pub device_token: Option<String>,
    /// What the client calls the device.
    pub device_label: Option<String>,
}

/// Why nobody was signed in.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// Unknown address, wrong password, locked or barred account: nobody learns which.
    #[error("the e-mail address or the password is wrong")]
    InvalidCredentials,
    /// The password is right; the address is yet to be proven.
    #[error("the e-mail address is not verified")]
    EmailNotVerified,
    /// Too many passwords are waiting to be hashed.
    #[error("too many sign-ins at once")]
    Busy,
    /// A failure inside.
    #[error(transparent)]
    Internal(Internal),
}

internal_variant!(LoginError: Internal sea_orm::DbErr);

impl From<PoolError> for LoginError {
    fn from(error: PoolError) -> Self {
        match error {
            PoolError::Busy => Self::Busy,
            PoolError::Hash(error) => Self::Internal(error.into()),
            PoolError::Stopped => Self::Internal(Internal::unavailable(error)),
        }
    }
}

/// What is known before the password is looked at.
struct Seen {
    user: Option<user::Model>,
    device: Option<Known>,
    budget: Budget,
    locked: bool,
}

/// Why somebody is turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refusal {
    /// The password is wrong, or there is no account: a failure.
    Wrong,
    /// The password is right, and that is not said.
    Withheld,
    /// The password is that of the latest registration, and the address is unproven, or seems to be.
    Unproven,
}

/// Begins a session, if address and password belong together and no second factor is to be asked for.
///
/// Whether or not there is such an account, and whether or not it is locked, one hash is computed and one failure is
/// written down.
///
/// # Errors
/// See [`LoginError`].
pub async fn login(
    auth: &Auth,
    tenant: &Tenant,
    origin: &Origin,
    request: Login,
) -> Result<Entrance, LoginError> {
    let seen = look(&auth.context, tenant, &request).await?;
    let hash = seen.user.as_ref().map(|user| user.password_hash.clone());
    let decoy = seen.user.as_ref().and_then(|user| user.decoy_hash.clone());
    let verdict = auth
        .passwords
        .verify_beside(request.password.clone(), hash, decoy)
        .await?;
    let judged_at = Instant::now();
    let user = match judge(tenant, &seen, verdict) {
        Ok(user) => user,
        Err(refusal) => return refuse(auth, tenant, origin, (&seen, judged_at), refusal).await,
    };
    let change = auth
        .context
        .change(tenant.id, Actor::User(user.id), origin)
        .await?;
    // The account first, as whoever deletes it holds it before its locks. Those are asked again: others may have failed
    // while this password was hashed.
    let held = store::hold_unchanged(&change.tx, tenant.id, user).await?;
    if !held || !lockout::clear(&change, &seen.budget).await? {
        drop(change);
        return refuse(auth, tenant, origin, (&seen, judged_at), Refusal::Withheld).await;
    }
    let right = RightPassword {
        user,
        device: seen.device.as_ref().map(|device| device.id),
        device_label: request.device_label,
    };
    let entrance = go_on(auth, change, tenant, right).await?;
    // Only for who may enter: anyone else could see it in the time.
    if verdict == (Verdict::Right { outdated: true }) {
        rehash(auth, tenant.id, origin, user, request.password).await;
    }
    Ok(entrance)
}

/// The user, if the password is right and nothing stands in the way.
///
/// A decoy is answered as the account that it stands for: one that was made with that password and waits to be proven.
fn judge<'a>(tenant: &Tenant, seen: &'a Seen, verdict: Verdict) -> Result<&'a user::Model, Refusal> {
    let user = seen.user.as_ref().ok_or(Refusal::Wrong)?;
    let door = match verdict {
        Verdict::Wrong => return Err(Refusal::Wrong),
        Verdict::Right { .. } => policy::may_enter(user, tenant, Proven::BothFactors),
        Verdict::Decoy => {
            let mut unproven = user.clone();
            unproven.email_verified_at = None;
            policy::may_enter(&unproven, tenant, Proven::BothFactors)
        }
    };
    match door {
        // Where nobody has to prove an address any more, a decoy is a wrong password.
        Ok(_) if !verdict.matches() => Err(Refusal::Wrong),
        Err(Denied::EmailNotVerified) if verdict.matches() && is_superseded(user) => Err(Refusal::Wrong),
        Err(Denied::Barred) => Err(Refusal::Withheld),
        _ if seen.locked => Err(Refusal::Withheld),
        Err(Denied::EmailNotVerified) => Err(Refusal::Unproven),
        Ok(_) => Ok(user),
    }
}

/// Whether somebody has registered since with another password. An account that waits to be proven then says of its own
/// what one that was there before says of any but the last. Of two who registered at once neither is known to be the last:
/// their hashes have salts of their own.
fn is_superseded(user: &user::Model) -> bool {
    user.decoy_hash.as_ref().is_some_and(|decoy| {
        *decoy != user.password_hash && made_like(decoy) == made_like(&user.password_hash)
    })
}

/// A hash without its last part: the scheme, the cost and the salt.
fn made_like(hash: &str) -> Option<&str> {
    hash.rsplit_once('$').map(|(like, _)| like)
}

/// Someone who has proven the first factor.
struct RightPassword<'a> {
    user: &'a user::Model,
    device: Option<DeviceId>,
    device_label: Option<String>,
}

/// Lets someone in whose row is held, or asks for the second factor. Whether there is one, and whether the device is trusted
/// with it, is read while it is: who sets one up at this moment ends this session, or is seen here.
async fn go_on(
    auth: &Auth,
    change: Change<'_>,
    tenant: &Tenant,
    right: RightPassword<'_>,
) -> Result<Entrance, LoginError> {
    let RightPassword {
        user,
        device,
        device_label,
    } = right;
    let mfa::Standing { enrolled, device } = mfa::standing(&change, user.id, device).await?;
    let trusted_until = device.as_ref().and_then(|device| device.trusted_until);
    let proven = Proven::Password {
        enrolled,
        trusted_device: policy::is_trusted(&tenant.settings.mfa, trusted_until, change.now),
    };
    match policy::may_enter(user, tenant, proven) {
        Ok(Next::Enter) => {}
        Ok(Next::ProveSecondFactor) => {
            let device = device.map(|device| device.id);
            let status = mfa::status(&change.tx, tenant.id, user.id).await?;
            let mfa_token = challenge::ask(&change, user.id, device, device_label).await?;
            // Whoever knows the password and goes no further has come this far.
            let asked = Record::success("mfa.ask", "user", user.id.0, json!({}));
            audit::record(&change, asked).await?;
            change.commit().await?;
            return Ok(Entrance::SecondFactor(Asked {
                mfa_token,
                expires_in: auth.context.config.tokens.mfa_ttl.as_secs(),
                has_recovery_codes: status.recovery_codes > 0,
            }));
        }
        Err(_) => return Err(LoginError::InvalidCredentials),
    }
    let entrant = Entrant {
        user: user.clone(),
        methods: vec![Method::Password],
        device,
        device_label,
        trusted_until: None,
    };
    let signed_in = enter(auth, change, tenant, entrant).await?;
    Ok(Entrance::SignedIn(Box::new(signed_in)))
}

async fn look(context: &Context, tenant: &Tenant, request: &Login) -> Result<Seen, LoginError> {
    let now = context.clock.now();
    let tx = context.postgres.tenant(tenant.id).await?;
    let user = store::find_by_email(&tx, tenant.id, request.email.canonical()).await?;
    let device = device::recognise(&tx, tenant.id, request.device_token.as_deref(), now)
        .await?
        .filter(|device| user.as_ref().is_some_and(|user| user.id == device.user));
    let credential = match &device {
        Some(device) => Credential::Device(device.id),
        None => Credential::Password(&request.email),
    };
    let budget = Budget::of(&context.config, tenant, credential);
    let locked = lockout::is_locked(&tx, tenant, &budget, now).await?;
    Ok(Seen {
        user,
        device,
        budget,
        locked,
    })
}

/// Turns somebody away, with the same statements whatever the reason, and at a time that is even since the verdict.
///
/// An unproven address is said only where nothing is locked by now: others may have failed while the password was hashed.
/// Failures are not forgotten for it, as they are for a sign-in: by a decoy, whoever guesses at the password of a proven
/// account could begin anew as often as they like.
async fn refuse(
    auth: &Auth,
    tenant: &Tenant,
    origin: &Origin,
    (seen, judged_at): (&Seen, Instant),
    refusal: Refusal,
) -> Result<Entrance, LoginError> {
    let written: Result<bool, Internal> = evenly_since(judged_at, async {
        let mut change = auth.context.change(tenant.id, Actor::Anonymous, origin).await?;
        let counts = refusal == Refusal::Wrong;
        let failed = lockout::fail(&mut change, tenant, &seen.budget, seen.user.as_ref(), counts).await?;
        let locked = failed.locked_until.is_some_and(|until| until > change.now);
        audit::record(&change, failure()).await?;
        change.commit().await?;
        Ok(locked)
    })
    .await;
    let locked = written?;
    Err(match refusal {
        Refusal::Unproven if !locked => LoginError::EmailNotVerified,
        _ => LoginError::InvalidCredentials,
    })
}

fn failure() -> Record {
    Record {
        action: "session.create",
        target: None,
        outcome: Outcome::Failure,
        detail: json!({}),
    }
}
