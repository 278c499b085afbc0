//! What a mail says and to whom, as it is sealed.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    config::KeyRing,
    crypto::seal::{self, SealBroken},
    error::Internal,
};

/// A mail, ready to be sent. It holds a token more often than not, so it does not print itself.
#[derive(Serialize, Deserialize)]
pub struct Message {
    /// The recipient's address.
    pub to: String,
    /// Where answers go, if anywhere. A process of an older version does not write it.
    #[serde(default)]
    pub reply_to: Option<String>,
    /// One line.
    pub subject: String,
    /// The plain-text part.
    pub text: String,
    /// The HTML part.
    pub html: String,
}

impl Message {
    /// Opens what the row `id` holds.
    ///
    /// # Errors
    /// When the key is missing, or the row was altered.
    pub fn open(ring: &KeyRing, id: Uuid, sealed: &[u8]) -> Result<Self, Internal> {
        let plain = seal::open(ring, id, sealed)?;
        serde_json::from_slice(plain.expose()).map_err(|_| SealBroken.into())
    }
}
