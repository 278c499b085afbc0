//! The second step of a sign-in: the code that the first step asked for.

use super::{
    Auth, SignedIn,
    enter::{Entrant, enter},
    policy::{self, Next, Proven},
    prove_code::prove_code,
};
use crate::{
    crypto::token::{Kind, Token},
    device,
    error::{Internal, internal_variant},
    mail::{self, Letter, To},
    mfa::{self, Code, challenge},
    principal::{Actor, Origin},
    secret::Secret,
    session::Method,
    user::store,
};

/// What someone who has proven the first factor gets.
pub struct Asked {
    /// Proves it to the second step.
    pub mfa_token: Secret<String>,
    /// Seconds that the second step may take.
    pub expires_in: u64,
    /// Whether a recovery code could stand in.
    pub has_recovery_codes: bool,
}

/// An answer to the question for the second factor.
pub struct Answer {
    /// From the first step.
    pub mfa_token: String,
    /// The code.
    pub code: Code,
    /// Whether this device is not to be asked again for a while.
    pub remember_device: bool,
}

/// Why nobody was signed in.
#[derive(Debug, thiserror::Error)]
pub enum AnswerError {
    /// The token is unknown, used or expired, or its account is not what it was.
    #[error("the sign-in has to begin again")]
    InvalidMfaToken,
    /// The code is wrong, used or out of its time, or there were too many of those.
    #[error("the code is not valid")]
    InvalidCode,
    /// A failure inside.
    #[error(transparent)]
    Internal(Internal),
}

internal_variant!(AnswerError: Internal sea_orm::DbErr);

/// Begins the session that a first step led to.
///
/// # Errors
/// [`AnswerError::InvalidCode`]: the token can be used again, until there were too many failures.
pub async fn answer_challenge(auth: &Auth, origin: &Origin, answer: Answer) -> Result<SignedIn, AnswerError> {
    let token = Token::parse(Kind::Mfa, &answer.mfa_token).ok_or(AnswerError::InvalidMfaToken)?;
    let tenant = auth.active_tenant(token.tenant()).await?;
    let tenant = tenant.ok_or(AnswerError::InvalidMfaToken)?;
    let mut change = auth.context.change(tenant.id, Actor::Anonymous, origin).await?;
    let gone = || AnswerError::InvalidMfaToken;
    let asked = challenge::find(&change, &token).await?.ok_or_else(gone)?;
    let user = store::find(&change.tx, tenant.id, asked.user_id)
        .await?
        .ok_or_else(gone)?;
    if !store::hold_unchanged(&change.tx, tenant.id, &user).await? {
        return Err(gone());
    }
    let factor = mfa::hold(&change, user.id).await?.active.ok_or_else(gone)?;
    // Whoever held the rows before may have answered the challenge, or ended it.
    challenge::find(&change, &token).await?.ok_or_else(gone)?;
    if policy::may_enter(&user, &tenant, Proven::BothFactors) != Ok(Next::Enter) {
        return Err(gone());
    }
    change.actor = Actor::User(user.id);
    let proven = prove_code(change, &tenant, &user, &factor, &answer.code).await?;
    let (mut change, method) = proven.ok_or(AnswerError::InvalidCode)?;
    if !challenge::answer(&change, &token).await? {
        return Err(gone());
    }
    if method == Method::RecoveryCode {
        let letter = Letter::RecoveryCodeUsed;
        mail::queue(&mut change, tenant.brand(), To::user(&user), letter).await?;
    }
    let device = match asked.device_id {
        Some(id) => device::find(&change.tx, tenant.id, user.id, id, change.now).await?,
        None => None,
    };
    let trusted_until = policy::trust(&tenant.settings.mfa, change.now).filter(|_| answer.remember_device);
    let entrant = Entrant {
        user,
        methods: vec![Method::Password, method],
        device,
        device_label: asked.device_label,
        trusted_until,
    };
    Ok(enter(auth, change, &tenant, entrant).await?)
}
