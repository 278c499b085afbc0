//! Going on with a session, and ending it.

use super::{
    Auth, SignedIn,
    policy::{self, Next, Proven},
};
use crate::{
    context::Change,
    crypto::token::{Kind, Token},
    error::Internal,
    principal::{Actor, Origin, Principal},
    session::{self, RefreshError, RevokeReason, Rotated},
    tenant::ResolveError,
    user::store,
};

/// New tokens for a refresh token.
///
/// # Errors
/// [`RefreshError::Invalid`], whatever is wrong with the token or its account.
pub async fn refresh(auth: &Auth, origin: &Origin, token: &str) -> Result<SignedIn, RefreshError> {
    let token = Token::parse(Kind::Refresh, token).ok_or(RefreshError::Invalid)?;
    let tenant = match auth.tenants.get(token.tenant()).await {
        Ok(tenant) => tenant.ok_or(RefreshError::Invalid)?,
        Err(ResolveError::Internal(error)) => return Err(error.into()),
        Err(_) => return Err(RefreshError::Invalid),
    };
    let mut change = auth.context.change(tenant.id, Actor::Anonymous, origin).await?;
    let session = match session::rotate(&mut change, &token).await? {
        Rotated::Live(session) => session,
        Rotated::Reused(user) => {
            tracing::warn!(%user, tenant = %tenant.id, "a used refresh token came back; its session was ended");
            change.commit().await?;
            return Err(RefreshError::Invalid);
        }
    };
    let user = store::find(&change.tx, tenant.id, session.user)
        .await?
        .ok_or(RefreshError::Invalid)?;
    if policy::may_enter(&user, &tenant, Proven::Session) != Ok(Next::Enter) {
        return Err(RefreshError::Invalid);
    }
    let tokens = auth.tokens(tenant.id, session, change.now)?;
    change.commit().await?;
    Ok(SignedIn {
        user: user.into(),
        tokens,
        device_token: None,
    })
}

/// Ends the caller's session.
///
/// # Errors
/// Only failures inside.
pub async fn logout(auth: &Auth, caller: &Principal, origin: &Origin) -> Result<(), Internal> {
    let mut change: Change<'_> = auth
        .context
        .change(caller.tenant, Actor::from(caller), origin)
        .await?;
    session::revoke(&mut change, caller.session, RevokeReason::Logout).await?;
    change.commit().await?;
    Ok(())
}
