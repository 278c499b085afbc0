//! Opaque tokens: 256 random bits that name their tenant and say what they are for.
//!
//! A token reads `<prefix>_<base64url(tenant id, secret)>`. The prefix keeps kinds from being taken for one
//! another and lets secret scanners recognise a leak. The tenant is no secret; it spares a look-up across
//! tenants. Only the SHA-256 of the whole text is stored.
//!
//! A refresh token also names its session, and bears a keyed hash that says so: a copy that comes back when the row of
//! the original is long gone still tells whose it was.

use aws_lc_rs::{
    constant_time::verify_slices_are_equal,
    digest::{SHA256, digest},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use uuid::Uuid;

use super::mac;
use crate::{
    config::{Key, KeyRing},
    id::{SessionId, TenantId},
    random::{self, Random},
    secret::Secret,
};

const SECRET_BYTES: usize = 32;
const ID_BYTES: usize = 16;
const TAG_BYTES: usize = 16;
/// The tenant's id and the secret.
const PLAIN_BYTES: usize = ID_BYTES + SECRET_BYTES;
/// The same, the session's id, and the tag over all of that.
const FAMILY_BYTES: usize = PLAIN_BYTES + ID_BYTES + TAG_BYTES;

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
        let secret = random::array::<SECRET_BYTES>(random);
        Self::write(kind, tenant, &[tenant.0.as_bytes().as_slice(), &secret].concat())
    }

    /// The first refresh token of a session.
    pub fn of_session(tenant: TenantId, session: SessionId, key: &Key, random: &dyn Random) -> Self {
        Self::in_family(tenant, session, &random::array(random), key)
    }

    fn in_family(tenant: TenantId, session: SessionId, secret: &[u8; SECRET_BYTES], key: &Key) -> Self {
        let parts = [tenant.0.as_bytes().as_slice(), secret, session.0.as_bytes()];
        let mut bytes = parts.concat();
        let tag = family_tag(key, &bytes);
        bytes.extend(tag);
        Self::write(Kind::Refresh, tenant, &bytes)
    }

    fn write(kind: Kind, tenant: TenantId, bytes: &[u8]) -> Self {
        Self {
            kind,
            tenant,
            text: Secret::new(format!("{}{}", kind.prefix(), URL_SAFE_NO_PAD.encode(bytes))),
        }
    }

    /// Reads what a client sent; `None` when it is no token of that kind.
    #[must_use]
    pub fn parse(kind: Kind, text: &str) -> Option<Self> {
        let encoded = text.strip_prefix(kind.prefix())?;
        let bytes = URL_SAFE_NO_PAD.decode(encoded).ok()?;
        let length = if kind == Kind::Refresh {
            FAMILY_BYTES
        } else {
            PLAIN_BYTES
        };
        let (tenant, _) = bytes.split_first_chunk().filter(|_| bytes.len() == length)?;
        Some(Self {
            kind,
            tenant: TenantId(Uuid::from_bytes(*tenant)),
            text: Secret::new(text.to_owned()),
        })
    }

    /// The refresh token that follows this one. It takes the key to compute it, so it need not be stored to be said again.
    #[must_use]
    pub fn successor(&self, session: SessionId, key: &Key) -> Self {
        let secret = mac(
            key.bytes.expose(),
            &[b"refresh token successor", self.text.expose().as_bytes()],
        );
        Self::in_family(self.tenant, session, &secret, key)
    }

    /// The session that a refresh token was made for, if it was made with one of the keys.
    #[must_use]
    pub fn session(&self, ring: &KeyRing) -> Option<SessionId> {
        if self.kind != Kind::Refresh {
            return None;
        }
        let encoded = self.text.expose().strip_prefix(self.kind.prefix())?;
        let bytes = URL_SAFE_NO_PAD.decode(encoded).ok()?;
        let (signed, tag) = bytes.split_last_chunk::<TAG_BYTES>()?;
        let session = *signed.get(PLAIN_BYTES..)?.first_chunk()?;
        ring.iter()
            .any(|key| verify_slices_are_equal(&family_tag(key, signed), tag).is_ok())
            .then_some(SessionId(Uuid::from_bytes(session)))
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

fn family_tag(key: &Key, signed: &[u8]) -> [u8; TAG_BYTES] {
    let mut tag = [0; TAG_BYTES];
    tag.copy_from_slice(&mac(key.bytes.expose(), &[b"refresh token family", signed])[..TAG_BYTES]);
    tag
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::OsRandom;

    #[test]
    fn a_token_is_read_back_as_its_own_kind_only() {
        let tenant = TenantId(Uuid::from_u128(7));
        let of_session = Token::of_session(tenant, SessionId(Uuid::nil()), &key("1", 1), &OsRandom::new());
        let mailed = Token::new(Kind::OneTime, tenant, &OsRandom::new());
        for (token, kind, other) in [
            (of_session, Kind::Refresh, Kind::OneTime),
            (mailed, Kind::OneTime, Kind::Refresh),
        ] {
            let text = token.clone().into_text();
            let read = Token::parse(kind, text.expose()).unwrap();
            assert_eq!((read.tenant(), read.hash()), (tenant, token.hash()));
            assert!(Token::parse(other, text.expose()).is_none());
            assert!(Token::parse(kind, &text.expose()[..40]).is_none());
        }
    }

    fn key(id: &str, byte: u8) -> Key {
        Key {
            id: id.to_owned(),
            bytes: Secret::new(vec![byte; 32]),
        }
    }

    #[test]
    fn a_successor_is_the_same_each_time_and_differs_by_key() {
        let session = SessionId(Uuid::from_u128(3));
        let (one, other) = (key("1", 1), key("2", 2));
        let token = Token::of_session(TenantId(Uuid::nil()), session, &one, &OsRandom::new());
        let successor = |key| token.successor(session, key).hash();
        assert_eq!(successor(&one), successor(&one));
        assert_ne!(successor(&one), successor(&other));
    }

    #[test]
    fn a_refresh_token_proves_which_session_it_was_made_for() {
        let session = SessionId(Uuid::from_u128(3));
        let (one, other) = (key("1", 1), key("2", 2));
        let first = Token::of_session(TenantId(Uuid::from_u128(7)), session, &one, &OsRandom::new());
        let ring = KeyRing::of(vec![key("3", 3), one.clone()]).unwrap();
        for token in [first.successor(session, &one), first] {
            assert_eq!(token.session(&ring), Some(session));
            assert_eq!(token.session(&KeyRing::of(vec![other.clone()]).unwrap()), None);
            let text = token.into_text();
            let mut bytes = URL_SAFE_NO_PAD.decode(&text.expose()[4..]).unwrap();
            // Nobody makes one of another's session, or of another secret.
            for place in [0, 20, 50, 70] {
                bytes[place] ^= 1;
                let forged = format!("lkr_{}", URL_SAFE_NO_PAD.encode(&bytes));
                assert_eq!(Token::parse(Kind::Refresh, &forged).unwrap().session(&ring), None);
                bytes[place] ^= 1;
            }
        }
    }
}
