//! Going on with a session.

use super::{
    Auth, SignedIn,
    policy::{self, Next, Proven},
};
use crate::{
    crypto::token::{Kind, Token},
    principal::{Actor, Origin},
    session::{self, RefreshError, Rotated},
    usage::Counter,
};

/// New tokens for a refresh token.
///
/// # Errors
/// [`RefreshError::Invalid`], whatever is wrong with the token or its account.
pub async fn refresh(auth: &Auth, origin: &Origin, token: &str) -> Result<SignedIn, RefreshError> {
    let token = Token::parse(Kind::Refresh, token).ok_or(RefreshError::Invalid)?;
    let tenant = auth.active_tenant(token.tenant()).await?;
    let tenant = tenant.ok_or(RefreshError::Invalid)?;
    let mut change = auth.context.change(tenant.id, Actor::Anonymous, origin).await?;
    let held = session::hold(&change, &token).await?;
    if policy::may_enter(held.user(), &tenant, Proven::Session) != Ok(Next::Enter) {
        return Err(RefreshError::Invalid);
    }
    let session = match session::rotate(&mut change, &tenant, &token, &held).await? {
        Rotated::Live(session) => session,
        Rotated::Reused(user) => {
            tracing::warn!(%user, tenant = %tenant.id, "a used refresh token came back; its session was ended");
            change.commit().await?;
            return Err(RefreshError::Invalid);
        }
    };
    let tokens = auth.tokens(tenant.id, session, change.now)?;
    change.count(Counter::Refreshes, 1);
    change.commit().await?;
    Ok(SignedIn {
        user: held.into_user().into(),
        tokens,
        device_token: None,
    })
}
