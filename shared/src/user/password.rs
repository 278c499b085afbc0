//! What a new password must be. Pure.

use super::Email;
use crate::secret::Secret;

/// NIST SP 800-63B section 5.1.1.2.
const MIN_CHARS: usize = 8;
/// Enough for any phrase; a bound on what is hashed.
const MAX_CHARS: usize = 256;

/// A password that may be set.
#[derive(Clone, Debug)]
pub struct NewPassword(Secret<String>);

/// Why a password may not be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WeakPassword {
    /// Fewer than 8 characters.
    #[error("a password has at least 8 characters")]
    TooShort,
    /// More than 256 characters.
    #[error("a password has at most 256 characters")]
    TooLong,
    /// It is the address, or its part before the @.
    #[error("a password must not be the e-mail address")]
    IsAddress,
}

impl NewPassword {
    /// Judges a password by the account it is for. No rule asks for kinds of characters.
    ///
    /// # Errors
    /// The first rule it breaks.
    pub fn judge(password: Secret<String>, email: &Email) -> Result<Self, WeakPassword> {
        let text = password.expose();
        let chars = text.chars().count();
        if chars < MIN_CHARS {
            return Err(WeakPassword::TooShort);
        }
        if chars > MAX_CHARS {
            return Err(WeakPassword::TooLong);
        }
        let lower = text.to_lowercase();
        let address = email.canonical();
        let local = address.split('@').next().unwrap_or_default();
        if lower == address || lower == local || lower == email.written().to_lowercase() {
            return Err(WeakPassword::IsAddress);
        }
        Ok(Self(password))
    }

    /// The password, to be hashed.
    #[must_use]
    pub fn into_secret(self) -> Secret<String> {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s07_length_and_the_address_are_the_only_rules() {
        let email = Email::parse("ada.lovelace@example.com").unwrap();
        let judge = |text: &str| NewPassword::judge(Secret::new(text.to_owned()), &email).map(drop);
        assert_eq!(judge("1234567"), Err(WeakPassword::TooShort));
        assert_eq!(judge("pässwör"), Err(WeakPassword::TooShort));
        assert_eq!(judge("all lower case"), Ok(()));
        assert_eq!(judge(&"x".repeat(256)), Ok(()));
        assert_eq!(judge(&"x".repeat(257)), Err(WeakPassword::TooLong));
        assert_eq!(judge("Ada.Lovelace"), Err(WeakPassword::IsAddress));
        assert_eq!(judge("ada.lovelace@example.com"), Err(WeakPassword::IsAddress));
    }
}
