//! Another address: asked for with the password, proven by a mail to it.
//!
//! Until it is proven the account keeps its address, and whoever reads that one is told. Whether the new address has
//! an account already shows nowhere: not in the answer, nor in what the caller sees of the account, nor in the notice
//! to the present address, which the caller may read. Only a mail to the new address tells.

use serde_json::json;

use super::{Auth, LoginError, VerifyError, asker, confirm::confirm_password, evenly::evenly};
use crate::{
    audit::{self, Record},
    context::Change,
    crypto::token::Token,
    entity::user,
    error::{Internal, internal_variant},
    id::UserId,
    mail::{self, Letter, To},
    outbox::{self, event},
    principal::{Actor, Origin, UserSession},
    secret::Secret,
    signal::SignalKind,
    tenant::Tenant,
    user::{Email, User, UserStatus, one_time, one_time::Purpose, store},
};

/// Why no change was begun.
#[derive(Debug, thiserror::Error)]
pub enum ChangeEmailError {
    /// The password was not proven.
    #[error(transparent)]
    Confirm(#[from] LoginError),
    /// It is the account's address.
    #[error("this is the account's address already")]
    Unchanged,
    /// A failure inside.
    #[error(transparent)]
    Internal(Internal),
}

internal_variant!(ChangeEmailError: Internal sea_orm::DbErr);

/// Mails the new address a token that makes it the caller's.
///
/// # Errors
/// See [`ChangeEmailError`]. That the address has an account is none.
pub async fn change_email(
    auth: &Auth,
    tenant: &Tenant,
    caller: &UserSession,
    origin: &Origin,
    new: &Email,
    password: Secret<String>,
) -> Result<(), ChangeEmailError> {
    let user = confirm_password(auth, tenant, caller, origin, password).await?;
    if user.email_canonical == new.canonical() {
        return Err(ChangeEmailError::Unchanged);
    }
    evenly(async {
        if !auth
            .context
            .limits
            .may_mail(tenant.id, "change_email", new.canonical())
            .await
        {
            return Ok(());
        }
        let mut change = auth
            .context
            .change(tenant.id, Actor::from(caller), origin)
            .await?;
        if !request_change(&mut change, tenant, &user, new).await? {
            // The password is another by now, or the account is barred.
            return Err(LoginError::InvalidCredentials.into());
        }
        Ok(change.commit().await?)
    })
    .await
}

/// Mails the new address a token that makes it the user's, and tells the present one. `false` if the account is barred,
/// or has another password than was seen: nothing was changed then.
pub(crate) async fn request_change(
    change: &mut Change<'_>,
    tenant: &Tenant,
    user: &user::Model,
    new: &Email,
) -> Result<bool, Internal> {
    let by = match change.actor {
        Actor::User(by) if by != user.id => (Some(by), None),
        Actor::ApiKey(key) => (None, Some(key)),
        Actor::User(_) | Actor::Anonymous | Actor::System => (None, None),
    };
    if !store::set_pending_email(&change.tx, tenant.id, user, new.written(), by, change.now).await? {
        return Ok(false);
    }
    ask_for_proof(change, tenant, user, new).await?;
    let notice = Letter::EmailChangeRequested;
    mail::queue(change, tenant.brand(), To::user(user), notice).await?;
    audit::record(
        change,
        Record::success("user.request_email_change", "user", user.id.0, json!({})),
    )
    .await?;
    change.signal(SignalKind::AccountChanged, user.id.0).await?;
    Ok(true)
}

/// The mail to the new address: a token, or to who has it already, that someone tried.
async fn ask_for_proof(
    change: &mut Change<'_>,
    tenant: &Tenant,
    user: &user::Model,
    new: &Email,
) -> Result<(), Internal> {
    let holder = store::find_by_email(&change.tx, tenant.id, new.canonical()).await?;
    if let Some(holder) = holder {
        one_time::revoke(change, user.id.0, &[Purpose::ChangeEmail]).await?;
        mail::queue(
            change,
            tenant.brand(),
            To::user(&holder),
            Letter::AlreadyRegistered,
        )
        .await?;
        return Ok(());
    }
    let expires_at = change.now + change.context.config.tokens.change_email_ttl;
    let token = one_time::issue(
        change,
        Purpose::ChangeEmail,
        user.id.0,
        new.canonical(),
        expires_at,
    )
    .await?;
    let to = To {
        user: Some(user.id),
        address: new.written(),
    };
    mail::queue(change, tenant.brand(), to, Letter::ChangeEmail { token }).await?;
    Ok(())
}

/// Makes the proven address the account's. Sessions go on; mails that went to the former address are of no more use.
pub(super) async fn confirm_change(auth: &Auth, origin: &Origin, token: &Token) -> Result<User, VerifyError> {
    let tenant = auth.active_tenant(token.tenant()).await?;
    let tenant = tenant.ok_or(VerifyError::InvalidToken)?;
    let mut change = auth.context.change(tenant.id, Actor::Anonymous, origin).await?;
    let proof = one_time::peek(&change.tx, tenant.id, Purpose::ChangeEmail, token, change.now).await?;
    let proof = proof.ok_or(VerifyError::InvalidToken)?;
    let id = UserId(proof.subject_id);
    change.actor = Actor::User(id);

    // The user's row before the token's, as everywhere.
    store::hold(&change.tx, tenant.id, id).await?;
    let former = store::find(&change.tx, tenant.id, id)
        .await?
        .filter(|user| user.status == UserStatus::Active)
        .ok_or(VerifyError::InvalidToken)?;
    if !asker::may_readdress(&change, &tenant, &former).await? {
        return Err(VerifyError::InvalidToken);
    }
    let pending = former.pending_email.as_deref().unwrap_or_default();
    let new = Email::parse(pending).map_err(|_| VerifyError::InvalidToken)?;
    let proof = one_time::consume(&change.tx, tenant.id, Purpose::ChangeEmail, token, change.now).await?;
    let bound = proof.is_some_and(|proof| proof.address == new.canonical());
    if !bound || !store::change_email(&change.tx, tenant.id, id, &new, change.now).await? {
        return Err(VerifyError::InvalidToken);
    }
    one_time::revoke(&change, id.0, &[Purpose::VerifyEmail, Purpose::ResetPassword]).await?;
    mail::queue(
        &mut change,
        tenant.brand(),
        To::user(&former),
        Letter::EmailChanged,
    )
    .await?;
    audit::record(
        &change,
        Record::success("user.change_email", "user", id.0, json!({})),
    )
    .await?;
    let updated = event::UpdatedUser {
        email: new.written().to_owned(),
        ..(&former).into()
    };
    outbox::emit(&mut change, Some(id), &event::UserUpdated { user: updated }).await?;
    change.signal(SignalKind::AccountChanged, id.0).await?;
    let user = store::find(&change.tx, tenant.id, id).await?;
    change.commit().await?;
    user.map(User::from).ok_or(VerifyError::InvalidToken)
}
