//! Standard Webhooks signatures over `id.timestamp.body`: `v1` is HMAC-SHA256, `v1a` is Ed25519.
//!
//! A customer's secret reads `whsec_<base64 of 32 bytes>`. Beside it lies, never shown to anybody, the seed of a key pair of
//! which the public half reads `whpk_<base64 of 32 bytes>`: who has the secret can sign as `v1`, and nobody but us as `v1a`.
//! Both are sealed at rest, as one.

use aws_lc_rs::{
    hmac::{HMAC_SHA256, Key, sign as hmac},
    signature::{Ed25519KeyPair, KeyPair},
};
use base64::{Engine, engine::general_purpose::STANDARD};

use crate::{
    random::{self, Random},
    secret::Secret,
};

const SECRET_BYTES: usize = 32;
const SEED_BYTES: usize = 32;
const SECRET_PREFIX: &str = "whsec_";
const PUBLIC_KEY_PREFIX: &str = "whpk_";

/// The keys of one endpoint's signatures.
#[derive(Clone, Debug)]
pub struct SigningSecret {
    /// Of `v1`, and after it of `v1a`.
    bytes: Secret<Vec<u8>>,
}

impl SigningSecret {
    /// New ones that nobody can guess.
    pub fn new(random: &dyn Random) -> Self {
        let bytes = random::array::<{ SECRET_BYTES + SEED_BYTES }>(random);
        Self::from_bytes(Secret::new(bytes.to_vec()))
    }

    /// From the bytes that were sealed.
    #[must_use]
    pub fn from_bytes(bytes: Secret<Vec<u8>>) -> Self {
        Self { bytes }
    }

    /// The bytes, to be sealed.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.bytes.expose()
    }

    /// With a seed for a key pair, if it has none: secrets were made without one once.
    #[must_use]
    pub fn with_key_pair(self, random: &dyn Random) -> Self {
        if self.key_pair().is_some() {
            return self;
        }
        let seed = random::array::<SEED_BYTES>(random);
        Self::from_bytes(Secret::new([self.shared(), &seed].concat()))
    }

    /// What the customer is shown, once.
    #[must_use]
    pub fn text(&self) -> Secret<String> {
        Secret::new(format!("{SECRET_PREFIX}{}", STANDARD.encode(self.shared())))
    }

    /// What verifies `v1a` signatures, for everybody to read.
    #[must_use]
    pub fn public_key(&self) -> Option<String> {
        let public = STANDARD.encode(self.key_pair()?.public_key());
        Some(format!("{PUBLIC_KEY_PREFIX}{public}"))
    }

    fn shared(&self) -> &[u8] {
        let bytes = self.bytes();
        &bytes[..bytes.len().min(SECRET_BYTES)]
    }

    fn key_pair(&self) -> Option<Ed25519KeyPair> {
        let seed = self.bytes().get(SECRET_BYTES..)?;
        Ed25519KeyPair::from_seed_unchecked(seed).ok()
    }

    fn sign(&self, signed: &[u8]) -> String {
        let tag = hmac(&Key::new(HMAC_SHA256, self.shared()), signed);
        format!("v1,{}", STANDARD.encode(tag.as_ref()))
    }

    fn sign_asymmetrically(&self, signed: &[u8]) -> Option<String> {
        let signature = self.key_pair()?.sign(signed);
        Some(format!("v1a,{}", STANDARD.encode(signature.as_ref())))
    }
}

/// The value of `webhook-signature`: a `v1` signature of each secret, in their order, and after them, if they are wanted, the
/// `v1a` signatures. `timestamp` is in Unix seconds, as `webhook-timestamp` says it.
#[must_use]
pub fn sign(secrets: &[SigningSecret], asymmetric: bool, id: &str, timestamp: i64, body: &[u8]) -> String {
    let signed = [format!("{id}.{timestamp}.").as_bytes(), body].concat();
    let mut signatures: Vec<String> = secrets.iter().map(|secret| secret.sign(&signed)).collect();
    if asymmetric {
        signatures.extend(
            secrets
                .iter()
                .filter_map(|secret| secret.sign_asymmetrically(&signed)),
        );
    }
    signatures.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::OsRandom;

    #[test]
    fn a_signature_is_the_one_of_the_specification() {
        // The example of the Standard Webhooks libraries.
        let key = STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let secret = SigningSecret::from_bytes(Secret::new(key));
        let (id, body) = ("msg_p5jXN8AQM9LWM0D4loKWxJek", r#"{"test": 2432232314}"#);
        assert_eq!(
            sign(&[secret], true, id, 1_614_265_330, body.as_bytes()),
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
        );
    }

    #[test]
    fn a_secret_is_shown_as_receivers_expect_it_and_its_other_half_never() {
        let secret = SigningSecret::from_bytes(Secret::new([[7; 32], [8; 32]].concat()));
        assert_eq!(
            secret.text().expose(),
            "whsec_BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc="
        );
        assert!(!format!("{secret:?}").contains('7'));
        // The public half of the seed, as RFC 8032 makes it.
        assert_eq!(
            secret.public_key().unwrap(),
            "whpk_E5j2LG0aRXxRumpLXz29L2n8qTIWIY3ImX5Ba9F9k8o="
        );
    }

    #[test]
    fn a_secret_from_before_there_were_key_pairs_keeps_what_the_customer_has() {
        let old = SigningSecret::from_bytes(Secret::new(vec![7; 32]));
        assert_eq!(old.public_key(), None);
        let (text, random) = (old.text(), OsRandom::new());
        let new = old.with_key_pair(&random);
        assert_eq!(new.text().expose(), text.expose());
        let public = new.public_key();
        assert!(public.is_some() && new.with_key_pair(&random).public_key() == public);
    }
}
