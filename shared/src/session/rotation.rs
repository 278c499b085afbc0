//! Refresh: a used token for its successor.
//!
//! One conditional `UPDATE` decides who uses a token. The successor is computed from its parent with a keyed MAC, so
//! whoever repeats the request within the grace window (a lost response, two tabs at once) gets the same one,
//! and it is never stored in clear. A token that comes back later was copied: its family ends (RFC 9700 section
//! 4.14.2).

use super::{Live, RevokeReason, keep, revoke, store};
use crate::{
    context::Change,
    crypto::token::Token,
    error::{Internal, internal_variant},
    id::UserId,
};

/// Why no session went on.
#[derive(Debug, thiserror::Error)]
pub enum RefreshError {
    /// The token is unknown, expired, of an ended session, or came back after its time.
    #[error("the refresh token is not valid")]
    Invalid,
    /// A failure inside.
    #[error(transparent)]
    Internal(Internal),
}

internal_variant!(RefreshError: Internal sea_orm::DbErr);

/// What a refresh came to. Either way the change must be committed.
pub enum Rotated {
    /// The session goes on.
    Live(Live),
    /// The token had been used before its time: the session has ended.
    Reused(UserId),
}

/// Uses the token and makes its successor.
///
/// # Errors
/// [`RefreshError::Invalid`]; nothing was changed then.
pub async fn rotate(change: &mut Change<'_>, token: &Token) -> Result<Rotated, RefreshError> {
    let used_now = store::use_token(&change.tx, change.tenant, &token.hash(), change.now).await?;
    let found = store::find_token(&change.tx, change.tenant, &token.hash())
        .await?
        .ok_or(RefreshError::Invalid)?;
    // Holds the row: a revocation either was committed before and is seen here, or waits and ends what follows.
    let session = store::hold_live(&change.tx, change.tenant, found.session_id, change.now).await?;
    let Some(session) = session else {
        return Err(RefreshError::Invalid);
    };
    let tokens = &change.context.config.tokens;
    let refresh_expires_at = (change.now + tokens.refresh_ttl).min(session.expires_at);

    let successor = if used_now {
        let successor = token.successor(change.context.config.secrets.data_keys.current());
        keep(change, found.session_id, &successor, refresh_expires_at).await?;
        successor
    } else {
        let Some(used_at) = found.used_at else {
            return Err(RefreshError::Invalid);
        };
        if change.now - used_at > chrono::TimeDelta::from_std(tokens.refresh_grace).unwrap_or_default() {
            revoke(change, found.session_id, RevokeReason::RefreshTokenReuse).await?;
            return Ok(Rotated::Reused(session.user_id));
        }
        known_successor(change, token).await?
    };
    Ok(Rotated::Live(Live {
        id: found.session_id,
        user: session.user_id,
        ends_at: session.expires_at,
        refresh_token: successor.into_text(),
        refresh_expires_at,
    }))
}

/// The successor that was handed out before; with whichever key of the ring it was computed.
async fn known_successor(change: &Change<'_>, token: &Token) -> Result<Token, RefreshError> {
    for key in change.context.config.secrets.data_keys.iter() {
        let successor = token.successor(key);
        if store::find_token(&change.tx, change.tenant, &successor.hash())
            .await?
            .is_some()
        {
            return Ok(successor);
        }
    }
    Err(RefreshError::Invalid)
}
