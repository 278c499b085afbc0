//! Accepting an invitation.

use serde_json::json;

use super::{
    Auth, NewPasswordError,
    password::hash_new,
    register::{announce, claim},
};
use crate::{
    audit::{self, Record},
    context::Change,
    crypto::token::{Kind, Token},
    entity::user,
    error::{Internal, internal_variant},
    id::InvitationId,
    outbox::{self, event},
    principal::{Actor, Origin},
    rbac::{self, AssignError},
    secret::Secret,
    signal::SignalKind,
    user::{Email, User, invitation, new_row, one_time, one_time::Purpose, store},
};

/// An answer to an invitation.
pub struct Accept {
    /// From the mail.
    pub token: String,
    /// Of the account to be. Where the address has an account that is proven, that one's password stays.
    pub password: Secret<String>,
    /// What its user goes by.
    pub name: Option<String>,
}

/// Why the invitation was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum AcceptError {
    /// The token is unknown, used, expired, superseded, or for something else; or the invitation is void, because who
    /// made it could not make it now.
    #[error("the token is not valid")]
    InvalidToken,
    /// The password cannot be set; the invitation stands.
    #[error(transparent)]
    Password(#[from] NewPasswordError),
    /// The account holds as many roles as one may; the invitation stands.
    #[error("the account holds as many roles as one may")]
    TooManyRoles,
    /// A failure inside.
    #[error(transparent)]
    Internal(Internal),
}

internal_variant!(AcceptError: Internal sea_orm::DbErr);

impl From<AssignError> for AcceptError {
    fn from(error: AssignError) -> Self {
        match error {
            AssignError::TooManyRoles => Self::TooManyRoles,
            AssignError::Internal(error) => Self::Internal(error),
            refused => Self::Internal(Internal::fault(refused)),
        }
    }
}

/// Makes the invited account, its address proven by the mail, with the roles of the invitation. Where the address has an
/// account already, that one gets the roles.
///
/// # Errors
/// See [`AcceptError`].
pub async fn accept_invitation(auth: &Auth, origin: &Origin, request: Accept) -> Result<User, AcceptError> {
    let Accept {
        token,
        password,
        name,
    } = request;
    let token = Token::parse(Kind::OneTime, &token).ok_or(AcceptError::InvalidToken)?;
    let email = invited_address(auth, &token).await?;
    let tenant = auth.active_tenant(token.tenant()).await?;
    let tenant = tenant.ok_or(AcceptError::InvalidToken)?;
    let password_hash = hash_new(auth, &tenant, &email, password).await?;

    let mut change = auth.context.change(tenant.id, Actor::Anonymous, origin).await?;
    let (id, now) = (tenant.id, change.now);
    let proof = one_time::consume(&change.tx, id, Purpose::AcceptInvitation, &token, now).await?;
    let invitation = InvitationId(proof.ok_or(AcceptError::InvalidToken)?.subject_id);
    let invited = invitation::accept(&change.tx, id, invitation, now)
        .await?
        .ok_or(AcceptError::InvalidToken)?;

    let user = new_row(&change, &email, name, password_hash, Some(now));
    let user = admit(&mut change, user).await?;
    let roles = invitation::granted(&change, &tenant, &invited).await?;
    let roles = roles.ok_or(AcceptError::InvalidToken)?;
    rbac::give(&mut change, user.id, &roles).await?;
    audit::record(
        &change,
        Record::success("invitation.accept", "invitation", invitation.0, json!({})),
    )
    .await?;
    let data = event::InvitationAccepted {
        invitation_id: invitation,
        user: event::InvitedUser {
            id: user.id,
            email: user.email.clone(),
        },
    };
    outbox::emit(&mut change, Some(user.id), &data).await?;
    change.signal(SignalKind::AccountChanged, user.id.0).await?;
    change.commit().await?;
    Ok(user.into())
}

/// The address that the token was mailed to: the password is judged, and hashed, before the token is used.
async fn invited_address(auth: &Auth, token: &Token) -> Result<Email, AcceptError> {
    let tenant = token.tenant();
    let tx = auth.context.postgres.tenant(tenant).await?;
    let proof = one_time::peek(
        &tx,
        tenant,
        Purpose::AcceptInvitation,
        token,
        auth.context.clock.now(),
    )
    .await?;
    let proof = proof.ok_or(AcceptError::InvalidToken)?;
    Email::parse(&proof.address).map_err(|error| AcceptError::Internal(Internal::fault(error)))
}

/// The new account, or the one that the address had already, its address proven now.
async fn admit(change: &mut Change<'_>, user: user::Model) -> Result<user::Model, AcceptError> {
    if store::insert(&change.tx, user.clone()).await? {
        change.actor = Actor::User(user.id);
        announce(change, &user).await?;
        return Ok(user);
    }
    let known = store::find_by_email(&change.tx, change.tenant, &user.email_canonical).await?;
    let known = known.ok_or(AcceptError::InvalidToken)?;
    change.actor = Actor::User(known.id);
    // Whoever registered here before proved nothing: the account is the reader's of this mail, with the password
    // that came with it.
    if known.email_verified_at.is_none() {
        claim(change, known.id).await?;
    }
    store::take_over_unverified(&change.tx, change.tenant, known.id, &user).await?;
    store::verify_email(
        &change.tx,
        change.tenant,
        known.id,
        &known.email_canonical,
        change.now,
    )
    .await?;
    Ok(known)
}
