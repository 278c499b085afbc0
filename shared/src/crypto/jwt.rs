//! Access tokens: JWTs (RFC 7519, profile RFC 9068) signed by a ring of keys.
//!
//! A token is refused before its signature is computed if its header is anything but what we write: an
//! algorithm other than its key's, an unknown `kid`, a `jku`, `jwk` or `x5u`, a member twice, more than 8 KiB.

use std::{borrow::Cow, collections::HashMap};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::signing::{self, PublicKey, SigningKey, SigningRing};
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
    /// When the user last proved to be that user, seconds since 1970. Where an older version did not write it, that
    /// was long ago.
    #[serde(default)]
    pub auth_time: i64,
    /// How (RFC 8176).
    #[serde(default)]
    pub amr: Vec<String>,
    /// How strongly: `aal1` or `aal2`. Where an older version did not write it, the weaker.
    #[serde(default = "one_factor")]
    pub acr: String,
}

fn one_factor() -> String {
    "aal1".to_owned()
}

/// Why a token is not one of ours, or not any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenFault {
    /// It is of no use. A caller learns nothing of why.
    #[error("the access token is not valid")]
    Invalid,
    /// It is written as ours are, and names a key that this ring does not hold.
    #[error("the access token names an unknown key")]
    UnknownKey,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StrictHeader<'a> {
    alg: Algorithm,
    #[serde(borrow)]
    kid: Cow<'a, str>,
    #[serde(borrow)]
    typ: Cow<'a, str>,
}

/// A key and the one algorithm that its tokens may bear.
struct Verifying {
    algorithm: Algorithm,
    key: DecodingKey,
}

impl Verifying {
    fn of(key: &SigningKey) -> Self {
        let material = key.public.as_ref().map_or(&[] as &[u8], PublicKey::bytes);
        Self {
            algorithm: algorithm(key),
            key: match key.algorithm {
                signing::Algorithm::Hs256 => DecodingKey::from_secret(key.material.expose()),
                signing::Algorithm::EdDsa => DecodingKey::from_ed_der(material),
                signing::Algorithm::Es256 => DecodingKey::from_ec_der(material),
            },
        }
    }
}

fn algorithm(key: &SigningKey) -> Algorithm {
    match key.algorithm {
        signing::Algorithm::Hs256 => Algorithm::HS256,
        signing::Algorithm::EdDsa => Algorithm::EdDSA,
        signing::Algorithm::Es256 => Algorithm::ES256,
    }
}

/// Signs with the first key, verifies with all.
pub struct JwtRing {
    issuer: String,
    audience: String,
    /// Seconds. Revocations are remembered for so long, whatever a token from before a change of settings says.
    max_age: i64,
    header: Header,
    signing: EncodingKey,
    verifying: HashMap<String, Verifying>,
    public: Vec<(String, PublicKey)>,
}

impl JwtRing {
    /// Prepares the keys.
    #[must_use]
    pub fn new(settings: &config::Tokens, keys: &SigningRing) -> Self {
        let current = keys.current();
        let mut header = Header::new(algorithm(current));
        header.typ = Some(TYP.to_owned());
        header.kid = Some(current.id.clone());
        let material = current.material.expose();
        let published = |key: &SigningKey| Some((key.id.clone(), key.public.clone()?));
        Self {
            issuer: settings.issuer.clone(),
            audience: settings.audience.clone(),
            max_age: i64::try_from(settings.access_ttl.as_secs()).unwrap_or(i64::MAX),
            header,
            signing: match current.algorithm {
                signing::Algorithm::Hs256 => EncodingKey::from_secret(material),
                signing::Algorithm::EdDsa => EncodingKey::from_ed_der(material),
                signing::Algorithm::Es256 => EncodingKey::from_ec_der(material),
            },
            verifying: keys
                .iter()
                .map(|key| (key.id.clone(), Verifying::of(key)))
                .collect(),
            public: keys.iter().filter_map(published).collect(),
        }
    }

    /// The public keys by `kid`, the newest first.
    #[must_use]
    pub fn public_keys(&self) -> &[(String, PublicKey)] {
        &self.public
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
            auth_time: grant.auth_time.timestamp(),
            amr: grant.amr.clone(),
            acr: grant.acr.to_owned(),
        };
        jsonwebtoken::encode(&self.header, &claims, &self.signing).map(Secret::new)
    }

    /// What a token says, once it is proven to be ours and of its time.
    ///
    /// # Errors
    /// See [`TokenFault`].
    pub fn verify(&self, token: &str, now: DateTime<Utc>) -> Result<Claims, TokenFault> {
        let claims = self.verify_signature(token)?;
        let now = now.timestamp();
        let begins = claims.nbf.unwrap_or(claims.iat).max(claims.iat);
        let is_ours = claims.iss == self.issuer && claims.aud == self.audience;
        let ends = claims.exp.min(claims.iat.saturating_add(self.max_age));
        if is_ours && now < ends && begins <= now + SKEW {
            Ok(claims)
        } else {
            Err(TokenFault::Invalid)
        }
    }

    /// Reads the claims once the signature is proven, and not before.
    fn verify_signature(&self, token: &str) -> Result<Claims, TokenFault> {
        if token.len() > MAX_BYTES {
            return Err(TokenFault::Invalid);
        }
        let (message, signature) = token.rsplit_once('.').ok_or(TokenFault::Invalid)?;
        let (header, payload) = message.split_once('.').ok_or(TokenFault::Invalid)?;
        let header = decode(header)?;
        let header: StrictHeader<'_> = serde_json::from_slice(&header).map_err(|_| TokenFault::Invalid)?;
        if header.typ != TYP {
            return Err(TokenFault::Invalid);
        }
        let known = self.verifying.get(&*header.kid).ok_or(TokenFault::UnknownKey)?;
        if header.alg != known.algorithm {
            return Err(TokenFault::Invalid);
        }
        let proven = jsonwebtoken::crypto::verify(signature, message.as_bytes(), &known.key, known.algorithm);
        if !matches!(proven, Ok(true)) {
            return Err(TokenFault::Invalid);
        }
        serde_json::from_slice(&decode(payload)?).map_err(|_| TokenFault::Invalid)
    }
}

fn decode(part: &str) -> Result<Vec<u8>, TokenFault> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| TokenFault::Invalid)
}

/// What an access token is to say.
#[derive(Clone, Debug)]
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
    /// When the user last proved to be that user.
    pub auth_time: DateTime<Utc>,
    /// How (RFC 8176).
    pub amr: Vec<String>,
    /// How strongly: `aal1` or `aal2`.
    pub acr: &'static str,
}
