//! Standard Webhooks signatures, version `v1`: HMAC-SHA256 over `id.timestamp.body`.
//!
//! A customer's secret reads `whsec_<base64 of 32 bytes>`; at rest it is sealed.

use aws_lc_rs::hmac::{HMAC_SHA256, Key, sign as hmac};
use base64::{Engine, engine::general_purpose::STANDARD};

use crate::{
    random::{self, Random},
    secret::Secret,
};

const SECRET_BYTES: usize = 32;
const SECRET_PREFIX: &str = "whsec_";

/// The key of one endpoint's signatures.
#[derive(Clone, Debug)]
pub struct SigningSecret(Secret<Vec<u8>>);

impl SigningSecret {
    /// A new one that nobody can guess.
    pub fn new(random: &dyn Random) -> Self {
        Self(Secret::new(random::array::<SECRET_BYTES>(random).to_vec()))
    }

    /// From the bytes that were sealed.
    #[must_use]
    pub fn from_bytes(bytes: Secret<Vec<u8>>) -> Self {
        Self(bytes)
    }

    /// The bytes, to be sealed.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.0.expose()
    }

    /// What the customer is shown, once.
    #[must_use]
    pub fn text(&self) -> Secret<String> {
        Secret::new(format!("{SECRET_PREFIX}{}", STANDARD.encode(self.bytes())))
    }

    /// The value of `webhook-signature`. `timestamp` is in Unix seconds, as `webhook-timestamp` says it.
    #[must_use]
    pub fn sign(&self, id: &str, timestamp: i64, body: &str) -> String {
        let signed = format!("{id}.{timestamp}.{body}");
        let tag = hmac(&Key::new(HMAC_SHA256, self.bytes()), signed.as_bytes());
        format!("v1,{}", STANDARD.encode(tag.as_ref()))
    }
}

/// The value of `webhook-signature` while several secrets sign: a signature of each, in their order.
#[must_use]
pub fn sign_all(secrets: &[SigningSecret], id: &str, timestamp: i64, body: &str) -> String {
    let signatures: Vec<String> = secrets
        .iter()
        .map(|secret| secret.sign(id, timestamp, body))
        .collect();
    signatures.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_the_one_of_the_specification() {
        // The example of the Standard Webhooks libraries.
        let key = STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let secret = SigningSecret::from_bytes(Secret::new(key));
        assert_eq!(
            secret.sign(
                "msg_p5jXN8AQM9LWM0D4loKWxJek",
                1_614_265_330,
                r#"{"test": 2432232314}"#
            ),
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
        );
    }

    #[test]
    fn a_secret_is_shown_as_receivers_expect_it() {
        let secret = SigningSecret::from_bytes(Secret::new(vec![7; 32]));
        assert_eq!(
            secret.text().expose(),
            "whsec_BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc="
        );
        assert!(!format!("{secret:?}").contains('7'));
    }
}
