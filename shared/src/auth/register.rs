//! Making an account for oneself.

use serde_json::json;

use super::{Auth, NewPasswordError, evenly::evenly, password::hash_new_like};
use crate::{
    api_key,
    audit::{self, Record},
    context::Change,
    device,
    entity::{KeyRevokeReason, user},
    error::{Internal, internal_variant},
    mail::{self, Letter, To},
    mfa,
    outbox::{self, event},
    principal::{Actor, Origin, Subject},
    rbac::{self, Builtin},
    secret::Secret,
    session::{self, RevokeReason},
    signal::SignalKind,
    tenant::{EmailVerification, Registration, Tenant},
    user::{Email, User, new_row, one_time, one_time::Purpose, store},
};

/// An account to be.
pub struct Register {
    /// Its address.
    pub email: Email,
    /// Its password.
    pub password: Secret<String>,
    /// What its user goes by.
    pub name: Option<String>,
}

/// What a registration came to.
pub enum Registered {
    /// A mail was sent to the address; whether it had an account already is not said.
    VerificationSent,
    /// The account is there and can be used.
    Created(User),
}

/// Why there is no account.
#[derive(Debug, thiserror::Error)]
pub enum RegisterError {
    /// The tenant takes only those it invites.
    #[error("this tenant is closed for registration")]
    Closed,
    /// The password cannot be set.
    #[error(transparent)]
    Password(#[from] NewPasswordError),
    /// The address has an account. Said only where no mail would say it, because verification is optional.
    #[error("the e-mail address has an account")]
    EmailTaken,
    /// A failure inside.
    #[error(transparent)]
    Internal(Internal),
}

internal_variant!(RegisterError: Internal sea_orm::DbErr);

/// Makes an account with the role `member`.
///
/// Where verification is required the answer is the same for a new and a known address; a known one is told by
/// mail. Signing in afterwards is answered the same too: a new account says to who has its password that the address is
/// not verified, and so does a proven one to who has registered last. That attempt's password is kept as a decoy, which
/// opens nothing. It does not expire, for an account that nobody proves does not either; it ends with the account's own
/// hash, whose salt it shares, with the address and with the account.
///
/// # Errors
/// See [`RegisterError`].
pub async fn register(
    auth: &Auth,
    tenant: &Tenant,
    origin: &Origin,
    request: Register,
) -> Result<Registered, RegisterError> {
    if tenant.settings.registration == Registration::Closed {
        return Err(RegisterError::Closed);
    }
    let Register {
        email,
        password,
        name,
    } = request;
    let must_verify = tenant.settings.email_verification == EmailVerification::Required;
    let proven = if must_verify {
        proven_hash(auth, tenant, &email).await?
    } else {
        None
    };
    // One hash for every address, whatever becomes of it.
    let password_hash = hash_new_like(auth, tenant, &email, password, proven).await?;
    evenly(async {
        // Without its mail an attempt proves nothing, so it leaves nothing behind.
        if must_verify
            && !auth
                .context
                .limits
                .may_mail(tenant.id, "verify", email.canonical())
                .await
        {
            return Ok(Registered::VerificationSent);
        }
        let mut change = auth.context.change(tenant.id, Actor::Anonymous, origin).await?;
        let user = new_row(&change, &email, name, password_hash, None);
        if store::insert(&change.tx, user.clone()).await? {
            welcome(&mut change, &user).await?;
            if must_verify {
                send_verification(&mut change, tenant, &user).await?;
            }
        } else if must_verify {
            remind(&mut change, tenant, &user).await?;
        } else {
            return Err(RegisterError::EmailTaken);
        }
        change.commit().await?;
        Ok(if must_verify {
            Registered::VerificationSent
        } else {
            Registered::Created(user.into())
        })
    })
    .await
}

/// The hash of the proven account that the address has, if any: what a decoy is made like.
async fn proven_hash(auth: &Auth, tenant: &Tenant, email: &Email) -> Result<Option<String>, Internal> {
    evenly(async {
        let tx = auth.context.postgres.tenant(tenant.id).await?;
        let known = store::find_by_email(&tx, tenant.id, email.canonical()).await?;
        let proven = known.filter(|known| known.email_verified_at.is_some());
        Ok(proven.map(|proven| proven.password_hash))
    })
    .await
}

/// What every new account gets: the role, the audit row, the event.
async fn welcome(change: &mut Change<'_>, user: &user::Model) -> Result<(), Internal> {
    let member = rbac::builtin_id(&change.tx, change.tenant, Builtin::Member).await?;
    rbac::assign(change, user.id, &[member]).await?;
    announce(change, user).await
}

/// Tells the audit trail and the tenant's endpoints of a new account.
pub(super) async fn announce(change: &mut Change<'_>, user: &user::Model) -> Result<(), Internal> {
    audit::record(
        change,
        Record::success("user.register", "user", user.id.0, json!({})),
    )
    .await?;
    let data = event::UserRegistered {
        user: user.into(),
        imported: false,
    };
    outbox::emit(change, Some(user.id), &data).await?;
    Ok(())
}

/// Mails the address a token that proves it.
pub(crate) async fn send_verification(
    change: &mut Change<'_>,
    tenant: &Tenant,
    user: &user::Model,
) -> Result<(), Internal> {
    let expires_at = change.now + change.context.config.tokens.verify_ttl;
    let address = &user.email_canonical;
    let token = one_time::issue(change, Purpose::VerifyEmail, user.id.0, address, expires_at).await?;
    mail::queue(
        change,
        tenant.brand(),
        To::user(user),
        Letter::VerifyEmail { token },
    )
    .await?;
    Ok(())
}

/// An account that is held, and whose address no mail has proven, is claimed by someone else, or by its owner at last:
/// whatever was begun with it ends, its sessions and sign-ins under way, its devices and its keys. So does its second factor, unless it belongs
/// to an account that an administrator has called verified: that one may be its owner's, and whoever reads the mail alone
/// must not pass it.
pub(super) async fn claim(change: &mut Change<'_>, user: &user::Model) -> Result<(), Internal> {
    let id = user.id;
    if user.email_verified_at.is_none() {
        mfa::remove(change, id).await?;
    }
    mfa::drop_challenges(&change.tx, change.tenant, id).await?;
    device::forget_all(&change.tx, change.tenant, id).await?;
    session::revoke_all(change, id, None, RevokeReason::AccountTakenOver).await?;
    api_key::revoke_of(change, Subject::User(id), KeyRevokeReason::AccountTakenOver).await?;
    change.signal(SignalKind::AccountChanged, id.0).await?;
    Ok(())
}

/// The address has an account. If it is proven, its owner hears of the attempt, whose password becomes a decoy. If not,
/// nobody has a claim to it yet: the mail proves the newest attempt, so that attempt's password counts, and no earlier
/// token or password does.
async fn remind(change: &mut Change<'_>, tenant: &Tenant, attempt: &user::Model) -> Result<(), Internal> {
    let known = store::hold_by_email(&change.tx, tenant.id, &attempt.email_canonical).await?;
    let Some(known) = known else { return Ok(()) };
    if known.email_verified_at.is_none() {
        claim(change, &known).await?;
        store::take_over(&change.tx, tenant.id, known.id, attempt).await?;
        send_verification(change, tenant, &known).await?;
    } else {
        store::set_decoy(&change.tx, tenant.id, known.id, &attempt.password_hash).await?;
        mail::queue(
            change,
            tenant.brand(),
            To::user(&known),
            Letter::AlreadyRegistered,
        )
        .await?;
    }
    audit::record(
        change,
        Record::success("user.register_again", "user", known.id.0, json!({})),
    )
    .await?;
    Ok(())
}
