//! Making an account for oneself.

use serde_json::json;

use super::{Auth, NewPasswordError, evenly::evenly, password::hash_new_like, reset_password::send_token};
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
/// not verified, and so does one that was there to who has registered last. That attempt's password is kept as a decoy,
/// which opens nothing. It does not expire, for an account that nobody proves does not either; it ends with the account's
/// own hash, whose salt it shares, with the address and with the account.
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
    let known = if must_verify {
        known_hash(auth, tenant, &email).await?
    } else {
        None
    };
    // One hash for every address, whatever becomes of it.
    let password_hash = hash_new_like(auth, tenant, &email, password, known).await?;
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

/// The hash of the account that the address has, if any: what a decoy is made like.
async fn known_hash(auth: &Auth, tenant: &Tenant, email: &Email) -> Result<Option<String>, Internal> {
    evenly(async {
        let tx = auth.context.postgres.tenant(tenant.id).await?;
        let known = store::find_by_email(&tx, tenant.id, email.canonical()).await?;
        Ok(known.map(|known| known.password_hash))
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

/// An account that is held, and whose address no mail has proven before, is claimed by the reader of one: whatever was
/// begun with it ends, its sessions and sign-ins under way, its devices and its keys. So does a second factor that whoever
/// registered may have set up; that of an account that was imported, or called verified, may be its owner's, and whoever
/// reads the mail alone must not pass it.
pub(super) async fn claim(change: &mut Change<'_>, user: &user::Model) -> Result<(), Internal> {
    let id = user.id;
    if user.email_verified_at.is_none() && user.import_mac.is_none() {
        let had_factor = mfa::hold(change, id).await?.active.is_some();
        mfa::remove(change, id).await?;
        if had_factor {
            let detail = json!({ "reason": RevokeReason::AccountTakenOver });
            audit::record(change, Record::success("mfa.disable", "user", id.0, detail)).await?;
            let data = event::MfaDisabled {
                user_id: id,
                method: event::FactorMethod::Totp,
            };
            outbox::emit(change, Some(id), &data).await?;
        }
    }
    mfa::drop_challenges(&change.tx, change.tenant, id).await?;
    device::forget_all(&change.tx, change.tenant, id).await?;
    session::revoke_all(change, id, None, RevokeReason::AccountTakenOver).await?;
    api_key::revoke_of(change, Subject::User(id), KeyRevokeReason::AccountTakenOver).await?;
    change.signal(SignalKind::AccountChanged, id.0).await?;
    Ok(())
}

/// The address has an account, which stays as it is: whoever registers is nobody's owner yet. The attempt's password
/// becomes a decoy, and the reader of the mail decides.
async fn remind(change: &mut Change<'_>, tenant: &Tenant, attempt: &user::Model) -> Result<(), Internal> {
    let known = store::hold_by_email(&change.tx, tenant.id, &attempt.email_canonical).await?;
    let Some(known) = known else { return Ok(()) };
    if known.email_verified_at.is_some() {
        store::set_decoy(&change.tx, tenant.id, known.id, &attempt.password_hash).await?;
        mail::queue(
            change,
            tenant.brand(),
            To::user(&known),
            Letter::AlreadyRegistered,
        )
        .await?;
    } else if attempt.password_hash == known.password_hash && !is_contested(&known) {
        send_verification(change, tenant, &known).await?;
    } else {
        store::set_decoy(&change.tx, tenant.id, known.id, &attempt.password_hash).await?;
        send_choice(change, tenant, &known).await?;
    }
    audit::record(
        change,
        Record::success("user.register_again", "user", known.id.0, json!({})),
    )
    .await?;
    Ok(())
}

/// Whether somebody has registered with another password than the account has: which of them reads its mail is not known.
fn is_contested(user: &user::Model) -> bool {
    user.decoy_hash.is_some()
}

/// Mails an account that waits to be proven what proves it: a link, or where it is contested, one by which its reader
/// chooses the password. To confirm the address alone would confirm whoever else knows the present one.
pub(super) async fn ask_for_proof(
    change: &mut Change<'_>,
    tenant: &Tenant,
    user: &user::Model,
) -> Result<(), Internal> {
    if is_contested(user) {
        send_choice(change, tenant, user).await
    } else {
        send_verification(change, tenant, user).await
    }
}

async fn send_choice(change: &mut Change<'_>, tenant: &Tenant, user: &user::Model) -> Result<(), Internal> {
    one_time::revoke(change, user.id.0, &[Purpose::VerifyEmail]).await?;
    let ttl = change.context.config.tokens.verify_ttl;
    send_token(change, tenant, user, ttl, |token| Letter::RegisteredAgain {
        token,
    })
    .await
}
