//! Accepting an invitation.

use serde_json::json;

use super::{
    Auth, NewPasswordError,
    asker::granted,
    password::hash_new,
    register::{announce, claim},
    verify::announce_verified,
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
    /// Of the account to be. Where the address has an account, and a mail has proven that, its own password stays.
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
    let mut user = new_row(&change, &email, name, password_hash, Some(now));
    user.email_proven = true;
    // The user's row before the token's, as everywhere.
    let (user, account) = admit(&mut change, user).await?;
    let proof = one_time::consume(&change.tx, id, Purpose::AcceptInvitation, &token, now).await?;
    let invitation = InvitationId(proof.ok_or(AcceptError::InvalidToken)?.subject_id);
    let invited = invitation::accept(&change.tx, id, invitation, now)
        .await?
        .ok_or(AcceptError::InvalidToken)?;

    let roles = granted(&change, &tenant, &invited).await?;
    let roles = roles.ok_or(AcceptError::InvalidToken)?;
    rbac::give(&mut change, user.id, &roles).await?;
    audit::record(
        &change,
        Record::success(
            "invitation.accept",
            "invitation",
            invitation.0,
            json!({ "account": account }),
        ),
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

/// The new account, or the one that the address has already, its address proven now; and a word for which it is.
///
/// An account that somebody has made in advance, of an address that no mail has proven, is the reader's of this mail, with
/// the password that came with it: whether its maker registered, or was an administrator who called the address verified.
async fn admit(
    change: &mut Change<'_>,
    user: user::Model,
) -> Result<(user::Model, &'static str), AcceptError> {
    loop {
        if store::insert(&change.tx, user.clone()).await? {
            change.actor = Actor::User(user.id);
            announce(change, &user).await?;
            return Ok((user, "made"));
        }
        let known = store::hold_by_email(&change.tx, change.tenant, &user.email_canonical).await?;
        // Or whoever had the address has left it in between.
        if let Some(known) = known {
            change.actor = Actor::User(known.id);
            return prove(change, known, &user).await;
        }
    }
}

/// Proves the address of an account that is held, after what comes of a proof that is the first.
async fn prove(
    change: &mut Change<'_>,
    known: user::Model,
    attempt: &user::Model,
) -> Result<(user::Model, &'static str), AcceptError> {
    let (tenant, id) = (change.tenant, known.id);
    if known.email_proven {
        return Ok((known, "kept"));
    }
    claim(change, &known).await?;
    store::take_over(&change.tx, tenant, id, attempt).await?;
    store::verify_email(&change.tx, tenant, id, &known.email_canonical, change.now).await?;
    if known.email_verified_at.is_none() {
        announce_verified(change, &known).await?;
    }
    let user = store::find(&change.tx, tenant, id).await?;
    Ok((user.ok_or(AcceptError::InvalidToken)?, "claimed"))
}
