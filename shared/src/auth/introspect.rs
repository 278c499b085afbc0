//! What a token is worth (RFC 7662), for those of the tenant's services that cannot tell by themselves.
//!
//! Whatever is not active is all the same: expired, revoked, forged, another tenant's. Nothing is used up by being
//! asked about, and no lock shows.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{
    Auth, AuthenticateError,
    authenticate::check,
    policy::{self, Next, Proven},
};
use crate::{
    crypto::token::{Kind, Token},
    error::Internal,
    id::{SessionId, TenantId, UserId},
    permission::{Authorized, TokensIntrospect},
    session,
    user::User,
};

/// Which kind of token was asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenKind {
    /// An access token.
    Access,
    /// A refresh token.
    Refresh,
}

/// A token that counts now.
#[derive(Clone, Debug)]
pub struct ActiveToken {
    /// Which kind.
    pub kind: TokenKind,
    /// Its tenant.
    pub tenant: TenantId,
    /// Its session.
    pub session: SessionId,
    /// Whose it is.
    pub user: UserId,
    /// That user's address.
    pub email: String,
    /// An access token's own id.
    pub token: Option<Uuid>,
    /// Who made it.
    pub issuer: String,
    /// For whom.
    pub audience: String,
    /// Since when it stands.
    pub issued_at: DateTime<Utc>,
    /// Until when.
    pub expires_at: DateTime<Utc>,
    /// When its user last proved a credential.
    pub authenticated_at: DateTime<Utc>,
    /// How: `amr` (RFC 8176), of an access token.
    pub methods: Vec<String>,
    /// How strongly: `acr`, of an access token.
    pub level: Option<String>,
}

/// What the token is worth in the caller's tenant; nothing for one that counts no more, or never did.
///
/// # Errors
/// Only failures inside.
pub async fn introspect(
    auth: &Auth,
    caller: &Authorized<TokensIntrospect>,
    token: &str,
) -> Result<Option<ActiveToken>, Internal> {
    let tenant = caller.principal().tenant;
    match Token::parse(Kind::Refresh, token) {
        Some(token) if token.tenant() == tenant => refresh_token(auth, &token).await,
        Some(_) => Ok(None),
        None => access_token(auth, tenant, token).await,
    }
}

async fn access_token(auth: &Auth, tenant: TenantId, token: &str) -> Result<Option<ActiveToken>, Internal> {
    let now = auth.context.clock.now();
    let (claims, account) = match check(auth, token, now).await {
        Ok(checked) => checked,
        Err(AuthenticateError::InvalidToken) => return Ok(None),
        Err(AuthenticateError::Internal(error)) => return Err(error),
    };
    // Who must set up a second factor first is let in nowhere else.
    if claims.tid != tenant || account.must_enrol() {
        return Ok(None);
    }
    let tx = auth.context.postgres.tenant(tenant).await?;
    let session = session::find_live(&tx, tenant, claims.sid, now).await?;
    let time = |seconds| DateTime::from_timestamp(seconds, 0).unwrap_or_default();
    Ok(session.map(|_| ActiveToken {
        kind: TokenKind::Access,
        tenant,
        session: claims.sid,
        user: claims.sub,
        email: account.user.email.clone(),
        token: Some(claims.jti),
        issuer: claims.iss,
        audience: claims.aud,
        issued_at: time(claims.iat),
        expires_at: time(claims.exp),
        authenticated_at: time(claims.auth_time),
        methods: claims.amr,
        level: Some(claims.acr),
    }))
}

async fn refresh_token(auth: &Auth, token: &Token) -> Result<Option<ActiveToken>, Internal> {
    let Some(tenant) = auth.active_tenant(token.tenant()).await? else {
        return Ok(None);
    };
    let context = &auth.context;
    let now = context.clock.now();
    let tx = context.postgres.tenant(tenant.id).await?;
    let found = session::find_refreshable(context, &tx, &tenant, token, now).await?;
    let found =
        found.filter(|found| policy::may_enter(&found.user, &tenant, Proven::Session) == Ok(Next::Enter));
    drop(tx);
    let Some(found) = found else {
        return Ok(None);
    };
    let account = auth.accounts.get(context, tenant.id, found.user.id).await?;
    if account.is_none_or(|account| account.must_enrol()) {
        return Ok(None);
    }
    let (settings, user) = (&context.config.tokens, User::from(found.user));
    Ok(Some(ActiveToken {
        kind: TokenKind::Refresh,
        tenant: tenant.id,
        session: found.session,
        user: user.id,
        email: user.email,
        token: None,
        issuer: settings.issuer.clone(),
        audience: settings.audience.clone(),
        issued_at: found.issued_at,
        expires_at: found.expires_at,
        authenticated_at: found.authenticated_at,
        methods: Vec::new(),
        level: None,
    }))
}
