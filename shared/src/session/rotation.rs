//! Refresh: a used token for its successor.
//!
//! One conditional `UPDATE` decides who uses a token. The successor is computed from its parent with a keyed MAC, so
//! whoever repeats the request within the grace window (a lost response, two tabs at once) gets the same one,
//! and it is never stored in clear. A token that comes back later was copied: its family ends (RFC 9700 section
//! 4.14.2), also when its row is gone by then.
//!
//! A lock holds here too, and uses nothing up: whoever waits can go on. It is the lock of the session's own device;
//! what strangers fail elsewhere signs nobody out.

use chrono::{DateTime, Utc};

use super::{
    Live, RevokeReason,
    lifetime::{Lifetime, Span},
    revoke,
    tokens::{self, Found},
};
use crate::{
    context::Change,
    crypto::token::Token,
    entity::user,
    error::{Internal, internal_variant},
    id::{SessionId, UserId},
    lockout::{Budget, Credential},
    tenant::Tenant,
    user::Email,
};

/// Why no session went on.
#[derive(Debug, thiserror::Error)]
pub enum RefreshError {
    /// The token is unknown, expired, of an ended session, or came back after its time; or the account is locked.
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

/// A token whose session and user stay as they are until the change ends.
pub(crate) struct Held(Found);

impl Held {
    /// Whose session it is.
    pub(crate) fn user(&self) -> &user::Model {
        &self.0.user
    }

    /// As [`Held::user`], once nothing else is asked.
    pub(crate) fn into_user(self) -> user::Model {
        self.0.user
    }
}

/// Looks up a token and locks what it stands for.
///
/// # Errors
/// [`RefreshError::Invalid`] for one that is unknown, of an ended session or of a user who may not sign in.
pub(crate) async fn hold(change: &Change<'_>, token: &Token) -> Result<Held, RefreshError> {
    let found = tokens::hold(&change.tx, change.tenant, token, change.now).await?;
    found.map(Held).ok_or(RefreshError::Invalid)
}

/// Ends the session of a used token whose row is gone with its time, if the session goes on without it; whose that was.
/// A used token comes back for as long as its thief likes, and its row is kept for as long as it could be used.
pub(crate) async fn end_forgotten(
    change: &mut Change<'_>,
    token: &Token,
) -> Result<Option<UserId>, Internal> {
    let Some(session) = token.session(&change.context.config.secrets.data_keys) else {
        return Ok(None);
    };
    let found = tokens::hold_forgotten(&change.tx, change.tenant, session, token, change.now).await?;
    if found.is_some() {
        revoke(change, session, RevokeReason::RefreshTokenReuse).await?;
    }
    Ok(found)
}

/// Uses the token and makes its successor.
///
/// # Errors
/// [`RefreshError::Invalid`]; nothing was changed then.
pub(crate) async fn rotate(
    change: &mut Change<'_>,
    tenant: &Tenant,
    token: &Token,
    Held(found): &Held,
) -> Result<Rotated, RefreshError> {
    let settings = &change.context.config.tokens;
    let lifetime = Lifetime::of(settings, &tenant.settings.sessions);
    let ends_at = found.span.ends_at(&lifetime);
    let credential = credential(change, tenant, found)?;

    let (successor, refresh_expires_at) = if let Some(used_at) = found.used_at {
        let grace = chrono::TimeDelta::from_std(settings.refresh_grace).unwrap_or_default();
        if change.now - used_at > grace {
            revoke(change, found.session, RevokeReason::RefreshTokenReuse).await?;
            return Ok(Rotated::Reused(found.user.id));
        }
        let (successor, token_end) = known_successor(change, &credential, token, found.session).await?;
        let span = Span {
            refreshed: used_at,
            token_end,
            ..found.span
        };
        // The tenant may have shortened its sessions since the first time.
        let usable_until = span.usable_until(&lifetime);
        if usable_until <= change.now {
            return Err(RefreshError::Invalid);
        }
        (successor, usable_until)
    } else {
        if found.span.usable_until(&lifetime) <= change.now {
            return Err(RefreshError::Invalid);
        }
        let expires_at = lifetime.idle_until(change.now).min(ends_at);
        let key = change.context.config.secrets.data_keys.current();
        let successor = token.successor(found.session, key);
        if !tokens::replace(change, &credential, token, &successor, expires_at).await? {
            return Err(RefreshError::Invalid);
        }
        (successor, expires_at)
    };
    Ok(Rotated::Live(Live {
        id: found.session,
        user: found.user.id,
        proof: found.proof.clone(),
        ends_at,
        refresh_token: successor.into_text(),
        refresh_expires_at,
    }))
}

/// What the failures are counted under that lock this session: those of its device, or, where that was forgotten, of
/// the account.
fn credential(change: &Change<'_>, tenant: &Tenant, found: &Found) -> Result<Vec<u8>, Internal> {
    let email = Email::parse(&found.user.email).map_err(Internal::fault)?;
    let credential = found
        .device
        .map_or(Credential::Password(&email), Credential::Device);
    let budget = Budget::of(&change.context.config, tenant, credential);
    Ok(budget.credential().to_vec())
}

/// The successor that was handed out before, and until when it was to last; with whichever key of the ring it was
/// computed.
async fn known_successor(
    change: &Change<'_>,
    credential: &[u8],
    token: &Token,
    session: SessionId,
) -> Result<(Token, DateTime<Utc>), RefreshError> {
    for key in change.context.config.secrets.data_keys.iter() {
        let successor = token.successor(session, key);
        if let Some(expires_at) = tokens::known_until(change, credential, &successor).await? {
            return Ok((successor, expires_at));
        }
    }
    Err(RefreshError::Invalid)
}
