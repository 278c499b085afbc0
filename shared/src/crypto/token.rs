//! Opaque tokens: 256 random bits that name their tenant and say what they are for.
//!
//! A token reads `<prefix>_<base64url(tenant id, secret)>`. The prefix keeps kinds from being taken for one
//! another and lets secret scanners recognise a leak. The tenant is no secret; it spares a look-up across
//! tenants. Only the SHA-256 of the whole text is stored.

use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use uuid::Uuid;

use super::mac;
use crate::{
    config::Key,
    id::TenantId,
    random::{self, Random},
    secret::Secret,
};

const SECRET_BYTES: usize = 32;

/// What a token is for. Each kind is refused wherever another is expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Continues a session.
    Refresh,
    /// Came by mail.
    OneTime,
    /// Proves the first factor to whoever asks for the second.
    Mfa,
    /// Names a device that has signed in before.
    Device,
}

impl Kind {
    const fn prefix(self) -> &'static str {
        match self {
            Self::Refresh => "lkr_",
            Self::OneTime => "lko_",
            Self::Mfa => "lkm_",
            Self::Device => "lkd_",
        }
    }
}

/// A token in clear: made here or received from a client.
#[derive(Clone)]
pub struct Token {
    kind: Kind,
    tenant: TenantId,
    text: Secret<String>,
}

impl Token {
    /// A new token that nobody can guess.
    pub fn new(kind: Kind, tenant: TenantId, random: &dyn Random) -> Self {
        Self::from_secret(kind, tenant, &random::array::<SECRET_BYTES>(random))
    }

    fn from_secret(kind: Kind, tenant: TenantId, secret: &[u8; SECRET_BYTES]) -> Self {
        let mut bytes = [0; 16 + SECRET_BYTES];
        bytes[..16].copy_from_slice(tenant.0.as_bytes());
        bytes[16..].copy_from_slice(secret);
        let text = format!("{}{}", kind.prefix(), URL_SAFE_NO_PAD.encode(bytes));
        Self {
            kind,
            tenant,
            text: Secret::new(text),
        }
    }

    /// Reads what a client sent; `None` when it is no token of that kind.
    #[must_use]
    pub fn parse(kind: Kind, text: &str) -> Option<Self> {
        let encoded = text.strip_prefix(kind.prefix())?;
        let bytes: [u8; 16 + SECRET_BYTES] = URL_SAFE_NO_PAD.decode(encoded).ok()?.try_into().ok()?;
        let tenant = TenantId(Uuid::from_slice(&bytes[..16]).ok()?);
        Some(Self {
            kind,
            tenant,
            text: Secret::new(text.to_owned()),
        })
    }

    /// The token that follows this one. It takes the key to compute it, so it need not be stored to be said again.
    #[must_use]
    pub fn successor(&self, key: &Key) -> Self {
        let secret = mac(
            key.bytes.expose(),
            &[b"refresh token successor", self.text.expose().as_bytes()],
        );
        Self::from_secret(self.kind, self.tenant, &secret)
    }

    /// The tenant the token names; whether it belongs there, its row decides.
    #[must_use]
    pub fn tenant(&self) -> TenantId {
        self.tenant
    }

    /// What is stored of it.
    #[must_use]
    pub fn hash(&self) -> Vec<u8> {
        digest(&SHA256, self.text.expose().as_bytes()).as_ref().to_vec()
    }

    /// The text, for its one recipient.
    #[must_use]
    pub fn into_text(self) -> Secret<String> {
        self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::OsRandom;

    #[test]
    fn a_token_is_read_back_as_its_own_kind_only() {
        let tenant = TenantId(Uuid::from_u128(7));
        let token = Token::new(Kind::Refresh, tenant, &OsRandom::new());
        let text = token.clone().into_text();
        let read = Token::parse(Kind::Refresh, text.expose()).unwrap();
        assert_eq!((read.tenant(), read.hash()), (tenant, token.hash()));
        assert!(Token::parse(Kind::OneTime, text.expose()).is_none());
        assert!(Token::parse(Kind::Refresh, &text.expose()[..40]).is_none());
    }

    #[test]
    fn a_successor_is_the_same_each_time_and_differs_by_key() {
        let token = Token::new(Kind::Refresh, TenantId(Uuid::nil()), &OsRandom::new());
        let key = |byte| Key {
            id: "k".to_owned(),
            bytes: Secret::new(vec![byte; 32]),
        };
        assert_eq!(token.successor(&key(1)).hash(), token.successor(&key(1)).hash());
        assert_ne!(token.successor(&key(1)).hash(), token.successor(&key(2)).hash());
    }
}
