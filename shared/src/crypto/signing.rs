//! Keys that sign access tokens, as operators write them.
//!
//! An entry reads `id:base64` for an HMAC-SHA256 key, `id:eddsa:base64` or `id:es256:base64` for a private key as
//! PKCS#8. Each key has one algorithm, and no token is ever verified by another: a public key that is used as an
//! HMAC secret is the classic forgery (RFC 8725 section 2.1).

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair};
use base64::{Engine, engine::general_purpose::STANDARD};

use crate::{
    random::{self, Random},
    secret::Secret,
};

/// RFC 7518 section 3.2: an HMAC key is at least as long as the hash.
const MIN_BYTES: usize = 32;

/// How a key signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// HMAC-SHA256: who verifies could sign as well.
    Hs256,
    /// Ed25519 (RFC 8037).
    EdDsa,
    /// ECDSA on P-256 with SHA-256.
    Es256,
}

impl Algorithm {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Hs256, Self::EdDsa, Self::Es256];

    /// The word in entries and on the command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hs256 => "hs256",
            Self::EdDsa => "eddsa",
            Self::Es256 => "es256",
        }
    }
}

impl std::str::FromStr for Algorithm {
    type Err = &'static str;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        let named = Self::ALL.into_iter().find(|algorithm| algorithm.as_str() == word);
        named.ok_or("is of an algorithm other than hs256, eddsa and es256")
    }
}

/// The half of a key that anyone may know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PublicKey {
    /// A point on Curve25519.
    Ed25519(Vec<u8>),
    /// A point on P-256, uncompressed: 4, x, y.
    P256(Vec<u8>),
}

impl PublicKey {
    /// The bytes as libraries take them.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Ed25519(bytes) | Self::P256(bytes) => bytes,
        }
    }
}

/// A key that was read, and found to be one.
#[derive(Clone, Debug)]
pub struct SigningKey {
    /// The `kid` of its tokens.
    pub id: String,
    /// How it signs.
    pub algorithm: Algorithm,
    /// The HMAC key, or the private key as PKCS#8.
    pub material: Secret<Vec<u8>>,
    /// What is published of it; nothing of an HMAC key.
    pub public: Option<PublicKey>,
}

impl SigningKey {
    /// Reads an entry.
    ///
    /// # Errors
    /// With what is wrong, to be read after "key 3"; nothing of the entry is repeated.
    pub fn parse(entry: &str) -> Result<Self, &'static str> {
        let (id, rest) = entry
            .split_once(':')
            .ok_or("is not written as id:base64 or id:algorithm:base64")?;
        let simple = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if id.is_empty() || id.len() > 32 || !id.chars().all(simple) {
            return Err("has an id of other than 1 to 32 letters, digits, - and _");
        }
        let (algorithm, encoded) = match rest.split_once(':') {
            Some((word, encoded)) => (word.parse()?, encoded),
            None => (Algorithm::Hs256, rest),
        };
        let material = STANDARD.decode(encoded).map_err(|_| "is not base64")?;
        Self::new(id.to_owned(), algorithm, material)
    }

    /// A new key that nobody can guess.
    ///
    /// # Errors
    /// When the library makes none.
    pub fn generate(id: String, algorithm: Algorithm, random: &dyn Random) -> Result<Self, &'static str> {
        let failed = "could not be made";
        let material = match algorithm {
            Algorithm::Hs256 => random::array::<MIN_BYTES>(random).to_vec(),
            Algorithm::EdDsa => {
                let key = Ed25519KeyPair::generate().map_err(|_| failed)?;
                key.to_pkcs8().map_err(|_| failed)?.as_ref().to_vec()
            }
            Algorithm::Es256 => {
                let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map_err(|_| failed)?;
                key.to_pkcs8v1().map_err(|_| failed)?.as_ref().to_vec()
            }
        };
        Self::new(id, algorithm, material)
    }

    fn new(id: String, algorithm: Algorithm, material: Vec<u8>) -> Result<Self, &'static str> {
        let public = match algorithm {
            Algorithm::Hs256 => {
                judge_secret(&material)?;
                None
            }
            Algorithm::EdDsa => {
                let key = Ed25519KeyPair::from_pkcs8(&material)
                    .map_err(|_| "is not an Ed25519 private key as PKCS#8")?;
                Some(PublicKey::Ed25519(key.public_key().as_ref().to_vec()))
            }
            Algorithm::Es256 => {
                let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &material)
                    .map_err(|_| "is not a P-256 private key as PKCS#8")?;
                Some(PublicKey::P256(key.public_key().as_ref().to_vec()))
            }
        };
        Ok(Self {
            id,
            algorithm,
            material: Secret::new(material),
            public,
        })
    }

    /// The entry that reads as this key.
    #[must_use]
    pub fn entry(&self) -> Secret<String> {
        let encoded = STANDARD.encode(self.material.expose());
        Secret::new(match self.algorithm {
            Algorithm::Hs256 => format!("{}:{encoded}", self.id),
            other => format!("{}:{}:{encoded}", self.id, other.as_str()),
        })
    }
}

fn judge_secret(bytes: &[u8]) -> Result<(), &'static str> {
    if bytes.len() < MIN_BYTES {
        return Err("is shorter than 256 bits");
    }
    if bytes.windows(2).all(|pair| pair[0] == pair[1]) {
        return Err("repeats a single byte");
    }
    Ok(())
}

/// At least one key: the first signs, all verify.
#[derive(Clone, Debug)]
pub struct SigningRing(Vec<SigningKey>);

impl SigningRing {
    /// Reads entries with commas, spaces or line breaks between them.
    ///
    /// # Errors
    /// With every fault at once, to be read after the ring's name.
    pub fn parse(text: &str) -> Result<Self, Vec<String>> {
        let between = |c: char| c == ',' || c.is_ascii_whitespace();
        let entries = text.split(between).filter(|entry| !entry.is_empty());
        let (mut keys, mut faults) = (Vec::<SigningKey>::new(), Vec::new());
        for (position, entry) in entries.enumerate() {
            match SigningKey::parse(entry) {
                Ok(key) if keys.iter().any(|known| known.id == key.id) => {
                    faults.push(format!("key {position} has the id of an earlier one"));
                }
                Ok(key) => keys.push(key),
                Err(reason) => faults.push(format!("key {position} {reason}")),
            }
        }
        if keys.is_empty() {
            faults.push("holds no usable key; make one with `latchkey-api keys generate`".to_owned());
        }
        if faults.is_empty() {
            Ok(Self(keys))
        } else {
            Err(faults)
        }
    }

    /// The same ring with a new key in use; of the others the newest stay, so that there are `keep` at most.
    #[must_use]
    pub fn rotated(self, new: SigningKey, keep: usize) -> Self {
        let older = self.0.into_iter().filter(|key| key.id != new.id);
        let older: Vec<SigningKey> = older.take(keep.saturating_sub(1)).collect();
        Self([vec![new], older].concat())
    }

    /// The key that signs.
    #[must_use]
    pub fn current(&self) -> &SigningKey {
        &self.0[0]
    }

    /// All keys, the one in use first.
    pub fn iter(&self) -> impl Iterator<Item = &SigningKey> {
        self.0.iter()
    }

    /// The text that reads as this ring, an entry a line.
    #[must_use]
    pub fn text(&self) -> Secret<String> {
        let entries = self.0.iter().map(|key| key.entry().expose().clone() + "\n");
        Secret::new(entries.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::OsRandom;

    fn key(id: &str, algorithm: Algorithm) -> SigningKey {
        SigningKey::generate(id.to_owned(), algorithm, &OsRandom::new()).unwrap()
    }

    #[test]
    fn an_entry_reads_as_the_key_that_was_written() {
        for algorithm in Algorithm::ALL {
            let made = key("k1", algorithm);
            let read = SigningKey::parse(made.entry().expose()).unwrap();
            assert_eq!((read.algorithm, &read.public), (algorithm, &made.public));
            assert_eq!(read.public.is_none(), algorithm == Algorithm::Hs256);
        }
    }

    #[test]
    fn s17_a_key_that_is_weak_or_of_another_kind_is_refused() {
        let eddsa = STANDARD.encode(key("k1", Algorithm::EdDsa).material.expose());
        let short = STANDARD.encode([7, 8, 9].repeat(10));
        let faults = [
            (format!("k1:{short}"), "is shorter than 256 bits"),
            (
                format!("k1:{}", STANDARD.encode([7; 32])),
                "repeats a single byte",
            ),
            (
                format!("k1:es256:{eddsa}"),
                "is not a P-256 private key as PKCS#8",
            ),
            (
                format!("k1:eddsa:{short}"),
                "is not an Ed25519 private key as PKCS#8",
            ),
            (
                format!("k1:rs256:{short}"),
                "is of an algorithm other than hs256, eddsa and es256",
            ),
            (
                "k1".to_owned(),
                "is not written as id:base64 or id:algorithm:base64",
            ),
            ("k1:?".to_owned(), "is not base64"),
        ];
        for (entry, fault) in faults {
            assert_eq!(SigningKey::parse(&entry).unwrap_err(), fault);
        }
    }

    #[test]
    fn rotating_puts_the_new_key_first_and_drops_the_oldest() {
        let text = key("k1", Algorithm::Hs256).entry();
        let ring = SigningRing::parse(text.expose()).unwrap();
        let ring = ring.rotated(key("k2", Algorithm::Es256), 3);
        let ring = ring.rotated(key("k3", Algorithm::EdDsa), 2);
        let again = SigningRing::parse(ring.text().expose()).unwrap();
        let ids: Vec<&str> = again.iter().map(|key| key.id.as_str()).collect();
        assert_eq!(ids, ["k3", "k2"]);
    }

    #[test]
    fn every_fault_of_a_ring_is_named_at_once() {
        let good = key("k1", Algorithm::Hs256).entry();
        let faults = SigningRing::parse(&format!("{0}\n{0}, k2:?", good.expose())).unwrap_err();
        assert_eq!(
            faults,
            ["key 1 has the id of an earlier one", "key 2 is not base64"]
        );
        assert_eq!(SigningRing::parse(" \n").unwrap_err().len(), 1);
    }
}
