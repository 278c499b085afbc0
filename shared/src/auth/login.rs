//! Signing in with a password.

use serde_json::json;

use super::{
    Asked, Auth, Entrance,
    enter::{Entrant, enter},
    evenly::evenly,
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
    let verdict = auth.passwords.verify(request.password.clone(), hash).await?;
    let matches = verdict.matches();

    let Seen {
        user: Some(user),
        locked: false,
        ..
    } = &seen
    else {
        return refuse(auth, tenant, origin, &seen, !matches).await;
    };
    if !matches {
        return refuse(auth, tenant, origin, &seen, true).await;
    }
    // Whether the account may be entered at all, before anything is told.
    let door = policy::may_enter(user, tenant, Proven::BothFactors);
    if door == Err(Denied::Barred) {
        return refuse(auth, tenant, origin, &seen, false).await;
    }
    // Only for who is told that the password is right: anyone else could see it in the time.
    if verdict == (Verdict::Right { outdated: true }) {
        rehash(auth, tenant.id, origin, user, request.password).await;
    }
    let change = auth
        .context
        .change(tenant.id, Actor::User(user.id), origin)
        .await?;
    // Asked again: others may have failed while this password was hashed.
    if !lockout::clear(&change, &seen.budget).await? {
        drop(change);
        return refuse(auth, tenant, origin, &seen, false).await;
    }
    if door == Err(Denied::EmailNotVerified) {
        audit::record(&change, failure()).await?;
        change.commit().await?;
        return Err(LoginError::EmailNotVerified);
    }
    let right = RightPassword {
        user,
        device: seen.device.as_ref().map(|device| device.id),
        device_label: request.device_label,
    };
    go_on(auth, change, tenant, right).await
}

/// Someone who has proven the first factor.
struct RightPassword<'a> {
    user: &'a user::Model,
    device: Option<DeviceId>,
    device_label: Option<String>,
}

/// Lets someone in, or asks for the second factor. Whether there is one, and whether the device is trusted with it, is
/// read while the user's row is held: who sets one up at this moment ends this session, or is seen here.
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
    if !store::hold_unchanged(&change.tx, tenant.id, user).await? {
        return Err(LoginError::InvalidCredentials);
    }
    let device = match device {
        Some(id) => device::find(&change.tx, tenant.id, user.id, id, change.now).await?,
        None => None,
    };
    let trusted_until = device.as_ref().and_then(|device| device.trusted_until);
    let status = mfa::status(&change.tx, tenant.id, user.id).await?;
    let proven = Proven::Password {
        enrolled: status.confirmed_at.is_some(),
        trusted_device: policy::is_trusted(&tenant.settings.mfa, trusted_until, change.now),
    };
    match policy::may_enter(user, tenant, proven) {
        Ok(Next::Enter) => {}
        Ok(Next::ProveSecondFactor) => {
            let device = device.map(|device| device.id);
            let mfa_token = challenge::ask(&change, user.id, device, device_label).await?;
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
    signed_in
        .map(|signed_in| Entrance::SignedIn(Box::new(signed_in)))
        .ok_or(LoginError::InvalidCredentials)
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

async fn refuse(
    auth: &Auth,
    tenant: &Tenant,
    origin: &Origin,
    seen: &Seen,
    counts: bool,
) -> Result<Entrance, LoginError> {
    let written: Result<(), Internal> = evenly(async {
        let mut change = auth.context.change(tenant.id, Actor::Anonymous, origin).await?;
        lockout::fail(&mut change, tenant, &seen.budget, seen.user.as_ref(), counts).await?;
        audit::record(&change, failure()).await?;
        Ok(change.commit().await?)
    })
    .await;
    written?;
    Err(LoginError::InvalidCredentials)
}

fn failure() -> Record {
    Record {
        action: "session.create",
        target: None,
        outcome: Outcome::Failure,
        detail: json!({}),
    }
}
