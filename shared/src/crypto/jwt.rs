//! Access tokens: JWTs (RFC 7519, profile RFC 9068) signed by a ring of HMAC-SHA256 keys.
//!
//! A token is refused before its signature is computed if its header is anything but what we write: an
//! algorithm other than ours, an unknown `kid`, a `jku`, `jwk` or `x5u`, a member twice, more than 8 KiB.

use std::collections::HashMap;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    config,
    id::{SessionId, TenantId, UserId},
    secret::Secret,
};

const MAX_BYTES: usize = 8 * 1024;
const TYP: &str = "at+jwt";
/// Clocks of several API processes may differ by so much, in seconds.
const SKEW: i64 = 5;

/// What an access token says. It carries no permissions: they are resolved when it is used.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Claims {
    /// The issuer.
    pub iss: String,
    /// The audience.
    pub aud: String,
    /// The user.
    pub sub: UserId,
    /// The session.
    pub sid: SessionId,
    /// The tenant.
    pub tid: TenantId,
    /// The token itself.
    pub jti: Uuid,
    /// Issued at, seconds since 1970.
    pub iat: i64,
    /// Expires at, seconds since 1970.
    pub exp: i64,
    /// Not valid before, seconds since 1970. We do not write it; where it stands it counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nbf: Option<i64>,
}

/// The token is not one of ours, or its time is over.
#[derive(Debug, thiserror::Error)]
#[error("the access token is not valid")]
pub struct InvalidToken;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StrictHeader {
    alg: Algorithm,
    kid: String,
    typ: String,
}

/// Signs with the first key, verifies with all.
pub struct JwtRing {
    issuer: String,
    audience: String,
    header: Header,
    signing: EncodingKey,
    verifying: HashMap<String, DecodingKey>,
    validation: Validation,
}

impl JwtRing {
    /// Prepares the keys.
    #[must_use]
    pub fn new(settings: &config::Tokens, keys: &config::KeyRing) -> Self {
        let current = keys.current();
        let mut header = Header::new(Algorithm::HS256);
        header.typ = Some(TYP.to_owned());
        header.kid = Some(current.id.clone());
        let mut validation = Validation::new(Algorithm::HS256);
        // Time is judged below, by the request's own clock.
        validation.validate_exp = false;
        validation.set_issuer(&[&settings.issuer]);
        validation.set_audience(&[&settings.audience]);
        validation.set_required_spec_claims(&["iss", "aud", "sub", "exp"]);
        let verifying = |key: &config::Key| (key.id.clone(), DecodingKey::from_secret(key.bytes.expose()));
        Self {
            issuer: settings.issuer.clone(),
            audience: settings.audience.clone(),
            header,
            signing: EncodingKey::from_secret(current.bytes.expose()),
            verifying: keys.iter().map(verifying).collect(),
            validation,
        }
    }

    /// A signed access token for the session.
    ///
    /// # Errors
    /// When the library cannot sign, which no input of ours makes it do.
    pub fn sign(&self, grant: &Grant) -> Result<Secret<String>, jsonwebtoken::errors::Error> {
        let claims = Claims {
            iss: self.issuer.clone(),
            aud: self.audience.clone(),
            sub: grant.user,
            sid: grant.session,
            tid: grant.tenant,
            jti: grant.id,
            iat: grant.issued_at.timestamp(),
            exp: grant.expires_at.timestamp(),
            nbf: None,
        };
        jsonwebtoken::encode(&self.header, &claims, &self.signing).map(Secret::new)
    }

    /// What a token says, once it is proven to be ours and of its time.
    ///
    /// # Errors
    /// [`InvalidToken`] whatever the fault: a caller learns nothing of which it was.
    pub fn verify(&self, token: &str, now: DateTime<Utc>) -> Result<Claims, InvalidToken> {
        if token.len() > MAX_BYTES {
            return Err(InvalidToken);
        }
        let header = token
            .split('.')
            .next()
            .and_then(|part| URL_SAFE_NO_PAD.decode(part).ok())
            .ok_or(InvalidToken)?;
        let header: StrictHeader = serde_json::from_slice(&header).map_err(|_| InvalidToken)?;
        if header.alg != Algorithm::HS256 || header.typ != TYP {
            return Err(InvalidToken);
        }
        let key = self.verifying.get(&header.kid).ok_or(InvalidToken)?;
        let claims = jsonwebtoken::decode::<Claims>(token, key, &self.validation)
            .map_err(|_| InvalidToken)?
            .claims;
        let now = now.timestamp();
        let begins = claims.nbf.unwrap_or(claims.iat).max(claims.iat);
        if now >= claims.exp || begins > now + SKEW {
            Err(InvalidToken)
        } else {
            Ok(claims)
        }
    }
}

/// What an access token is to say.
#[derive(Clone, Copy, Debug)]
pub struct Grant {
    /// The token's own id.
    pub id: Uuid,
    /// The tenant.
    pub tenant: TenantId,
    /// The user.
    pub user: UserId,
    /// The session.
    pub session: SessionId,
    /// From when it holds.
    pub issued_at: DateTime<Utc>,
    /// Until when.
    pub expires_at: DateTime<Utc>,
}
