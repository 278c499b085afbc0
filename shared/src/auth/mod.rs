//! Getting in: registration, sign-in, refresh, and the check of every later request; and what changes the way in:
//! another password, another address.
//!
//! [`Auth`] holds what only the API process has: the keys that sign access tokens, the threads that hash
//! passwords, and what is remembered of accounts and ended sessions.
//!
//! What must never happen: a response, its size or its time that tells whether an address has an account; a way in
//! that does not pass [`policy::may_enter`]; a request that is let in because something could not be decided.

mod accept;
mod account;
mod allowed;
mod api_key;
mod asker;
mod authenticate;
pub mod bootstrap;
pub mod breach;
mod change_email;
mod change_password;
mod confirm;
mod enter;
mod evenly;
mod factor;
mod introspect;
mod keys;
mod login;
mod password;
pub mod policy;
mod profile;
mod prove_code;
mod reauthenticate;
mod refresh;
mod register;
mod reset_password;
mod second_step;
mod unlock;
mod upkeep;
mod verify;

use std::{ops::Deref, sync::Arc};

use chrono::{DateTime, Utc};
use tokio::sync::Semaphore;

pub use self::{
    accept::{Accept, AcceptError, accept_invitation},
    account::{Account, Accounts},
    allowed::{Question, are_allowed},
    api_key::{
        KeyCaller, KeyRefused, Verification, Verified, VerifyCode, authenticate_key, authenticate_key_again,
        verify_key,
    },
    authenticate::{AuthenticateError, Caller, authenticate},
    change_email::{ChangeEmailError, change_email},
    change_password::{ChangePasswordError, change_password},
    factor::{
        FactorError, confirm_factor, disable_factor, factor_status, replace_recovery_codes, set_up_factor,
    },
    introspect::{ActiveToken, TokenKind, introspect},
    login::{Login, LoginError, login},
    password::NewPasswordError,
    profile::{ProfilePatch, update_profile},
    reauthenticate::reauthenticate,
    refresh::refresh,
    register::{Register, RegisterError, Registered, register},
    reset_password::{ResetPasswordError, forgot_password, reset_password},
    second_step::{Answer, AnswerError, Asked, answer_challenge},
    unlock::{UnlockError, unlock},
    upkeep::upkeep,
    verify::{VerifyError, resend_verification, verify_email},
};
use self::{
    breach::{BreachFileError, BreachRange, Breaches},
    keys::Keys,
};
pub(crate) use self::{
    change_email::request_change,
    confirm::confirm_password,
    factor::reset_factor,
    password::{hash_new, unusable_hash},
    register::send_verification,
    reset_password::{require_new_password, send_first_password},
    unlock::lift_locks,
};
use crate::{
    api_key::{KeyUsage, Keyring},
    config::ConfigFaults,
    context::Context,
    crypto::{
        jwt::Grant,
        pool::{HashPool, StartError},
        signing::PublicKey,
    },
    error::Internal,
    id::{SessionId, TenantId, UserId},
    secret::Secret,
    service_account::Machines,
    session::{LastSeen, Live, Proof, RevokedSessions},
    tenant::{self, Directory, ResolveError, Tenant, TenantStatus},
    user::User,
};

/// What it takes to let people in. Cheap to clone: each request has one.
#[derive(Clone)]
pub struct Auth(Arc<Parts>);

impl Deref for Auth {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

/// What [`Auth`] is made of.
pub struct Parts {
    /// Connections and settings.
    pub context: Context,
    /// Tenants by name.
    pub tenants: Arc<Directory>,
    passwords: HashPool,
    breaches: Breaches,
    keys: Keys,
    accounts: Accounts,
    revoked: RevokedSessions,
    seen: LastSeen,
    keyring: Keyring,
    key_usage: KeyUsage,
    machines: Machines,
    /// Whoever writes users by the hundred has one of these before it has a connection: most would only wait for one
    /// another, and everybody else for their connections.
    pub(crate) imports: Semaphore,
}

/// Batches of imported users that are written at once.
const IMPORTS: usize = 2;

/// Why [`Auth`] did not start.
#[derive(Debug, thiserror::Error)]
pub enum AuthStartError {
    /// Without keys there are no tokens.
    #[error(transparent)]
    Keys(#[from] ConfigFaults),
    /// The hashing threads.
    #[error(transparent)]
    Passwords(#[from] StartError),
    /// The file of leaked passwords.
    #[error(transparent)]
    BreachFile(#[from] BreachFileError),
}

impl Auth {
    /// Starts the hashing threads and listens for signals; whoever calls must have the signals followed. New passwords
    /// are looked for in `leaked` too, where there is such a service.
    ///
    /// # Errors
    /// When the settings hold no signing key or the threads do not start.
    pub fn start(context: Context, leaked: Option<Arc<dyn BreachRange>>) -> Result<Self, AuthStartError> {
        let tokens = &context.config.tokens;
        let keys = tokens
            .keys
            .as_ref()
            .ok_or_else(|| ConfigFaults(vec!["tokens.keys: is missing".to_owned()]))?;
        Ok(Self(Arc::new(Parts {
            keys: Keys::new(tokens, keys),
            passwords: HashPool::start(&context.config.passwords)?,
            breaches: Breaches::open(&context.config.passwords, leaked)?,
            tenants: Arc::new(Directory::new(context.clone())),
            accounts: Accounts::new(&context.signals),
            revoked: RevokedSessions::new(Arc::clone(&context.signals), tokens.access_ttl),
            seen: LastSeen::default(),
            keyring: Keyring::new(&context.signals),
            key_usage: KeyUsage::default(),
            machines: Machines::new(&context.signals),
            imports: Semaphore::new(IMPORTS),
            context,
        })))
    }

    /// The tenant that a token names, if its users' credentials count.
    pub(crate) async fn active_tenant(&self, id: TenantId) -> Result<Option<Arc<Tenant>>, Internal> {
        match self.tenants.get(id).await {
            Ok(tenant) => Ok(tenant.filter(|tenant| tenant.status == TenantStatus::Active)),
            Err(ResolveError::Internal(error)) => Err(error),
            Err(_) => Ok(None),
        }
    }

    /// As [`Self::active_tenant`], but what is remembered counts only as long as this process hears of changes.
    async fn active_tenant_heard(&self, id: TenantId) -> Result<Option<Arc<Tenant>>, Internal> {
        if self.context.signals.is_fresh() {
            return self.active_tenant(id).await;
        }
        let tx = self.context.postgres.tenant(id).await?;
        let row = tenant::store::find(&tx, id).await?;
        let tenant = row.map(Tenant::try_from).transpose()?;
        Ok(tenant
            .filter(|tenant| tenant.status == TenantStatus::Active)
            .map(Arc::new))
    }

    /// The public keys by `kid`, for who verifies access tokens without asking us.
    #[must_use]
    pub fn public_keys(&self) -> Vec<(String, PublicKey)> {
        self.keys.public()
    }

    /// An access token of a session that ends at `ends_at`, unless it is refreshed before.
    fn access(
        &self,
        tenant: TenantId,
        user: UserId,
        session: SessionId,
        ends_at: DateTime<Utc>,
        proof: &Proof,
        now: DateTime<Utc>,
    ) -> Result<Access, Internal> {
        let expires_at = (now + self.context.config.tokens.access_ttl).min(ends_at);
        let token = self.keys.sign(&Grant {
            id: self.context.uuid(now),
            tenant,
            user,
            session,
            issued_at: now,
            expires_at,
            auth_time: proof.at,
            amr: proof.amr(),
            acr: proof.acr(),
        })?;
        Ok(Access {
            token,
            expires_in: (expires_at - now).num_seconds(),
        })
    }

    /// The tokens of a session that goes on.
    fn tokens(&self, tenant: TenantId, session: Live, now: DateTime<Utc>) -> Result<Tokens, Internal> {
        let access = self.access(
            tenant,
            session.user,
            session.id,
            session.refresh_expires_at,
            &session.proof,
            now,
        )?;
        Ok(Tokens {
            access_token: access.token,
            expires_in: access.expires_in,
            refresh_expires_in: (session.refresh_expires_at - now).num_seconds(),
            session,
        })
    }
}

/// What a right first factor comes to.
pub enum Entrance {
    /// Someone is in.
    SignedIn(Box<SignedIn>),
    /// The second factor is asked for.
    SecondFactor(Asked),
}

/// An access token without a refresh token: for a session that has both.
pub struct Access {
    /// For `Authorization: Bearer`.
    pub token: Secret<String>,
    /// Seconds.
    pub expires_in: i64,
}

/// Someone is in.
pub struct SignedIn {
    /// Who.
    pub user: User,
    /// What to come back with.
    pub tokens: Tokens,
    /// Names the device at its next sign-in; given once.
    pub device_token: Option<Secret<String>>,
}

/// What a client holds of a session.
pub struct Tokens {
    /// For `Authorization: Bearer`.
    pub access_token: Secret<String>,
    /// Seconds.
    pub expires_in: i64,
    /// Seconds.
    pub refresh_expires_in: i64,
    /// The session.
    pub session: Live,
}

impl Tokens {
    /// Whose they are.
    #[must_use]
    pub fn user(&self) -> UserId {
        self.session.user
    }
}
