//! The check of every request that carries an access token.
//!
//! On the warm path it costs a signature, three hash look-ups and no network.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::{Account, Auth};
use crate::{crypto::jwt::Claims, error::Internal, principal::UserSession, session};

/// Someone whose credential was checked on this very request.
#[derive(Clone, Debug)]
pub struct Caller {
    /// What services take.
    pub session: UserSession,
    /// What is known of the account.
    pub account: Arc<Account>,
}

/// Why the request is not let in.
#[derive(Debug, thiserror::Error)]
pub enum AuthenticateError {
    /// The token is forged, expired, of an ended session or of an account that is barred or gone.
    #[error("the access token is not valid")]
    InvalidToken,
    /// A failure inside.
    #[error(transparent)]
    Internal(#[from] Internal),
}

/// Who the bearer of the token is.
///
/// # Errors
/// [`AuthenticateError::InvalidToken`]; a doubt denies.
pub async fn authenticate(auth: &Auth, token: &str) -> Result<Caller, AuthenticateError> {
    let now = auth.context.clock.now();
    let (claims, account) = check(auth, token, now).await?;
    auth.seen.note(claims.tid, claims.sid, now);
    let session = UserSession {
        tenant: claims.tid,
        user: claims.sub,
        session: claims.sid,
        authenticated_at: DateTime::from_timestamp(claims.auth_time, 0).unwrap_or_default(),
        both_factors: claims.acr == session::BOTH_FACTORS,
        permissions: account.permissions.clone(),
    };
    Ok(Caller { session, account })
}

/// What an access token says, and the account it says it of.
pub(super) async fn check(
    auth: &Auth,
    token: &str,
    now: DateTime<Utc>,
) -> Result<(Claims, Arc<Account>), AuthenticateError> {
    let claims = auth
        .keys
        .verify(token, now)
        .await
        .map_err(|_| AuthenticateError::InvalidToken)?;
    if auth.revoked.contains(claims.sid).map_err(Internal::unavailable)? {
        return Err(AuthenticateError::InvalidToken);
    }
    let account = auth.accounts.get(&auth.context, claims.tid, claims.sub).await?;
    let account = account
        .filter(|account| account.is_active())
        .ok_or(AuthenticateError::InvalidToken)?;
    Ok((claims, account))
}
