//! Going on with a session.

use super::{
    Auth, SignedIn,
    policy::{self, Next, Proven},
};
use crate::{
    crypto::token::{Kind, Token},
    id::UserId,
    principal::{Actor, Origin},
    session::{self, RefreshError, Rotated},
    tenant::Tenant,
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
    let held = match session::hold(&change, &token).await {
        Err(RefreshError::Invalid) => {
            if let Some(user) = session::end_forgotten(&mut change, &token).await? {
                warn_of_reuse(user, &tenant);
                change.commit().await?;
            }
            return Err(RefreshError::Invalid);
        }
        held => held?,
    };
    if policy::may_enter(held.user(), &tenant, Proven::Session) != Ok(Next::Enter) {
        return Err(RefreshError::Invalid);
    }
    let session = match session::rotate(&mut change, &tenant, &token, &held).await? {
        Rotated::Live(session) => session,
        Rotated::Reused(user) => {
            warn_of_reuse(user, &tenant);
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

fn warn_of_reuse(user: UserId, tenant: &Tenant) {
    tracing::warn!(%user, tenant = %tenant.id, "a used refresh token came back; its session was ended");
}
