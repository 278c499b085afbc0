//! What a new password must be. Pure.

use super::{Email, common};
use crate::{secret::Secret, tenant::Tenant};

/// NIST SP 800-63B section 5.1.1.2: no tenant may ask for less.
const MIN_CHARS: usize = 8;
/// Enough for any phrase; a bound on what is hashed.
const MAX_CHARS: usize = 256;

/// A password that may be set.
#[derive(Clone, Debug)]
pub struct NewPassword(Secret<String>);

/// Why a password may not be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WeakPassword {
    /// Fewer characters than the tenant asks for.
    #[error("a password has at least {min} characters here")]
    TooShort {
        /// So many.
        min: usize,
    },
    /// More than 256 characters.
    #[error("a password has at most 256 characters")]
    TooLong,
    /// It is the address, or its part before the @.
    #[error("a password must not be the e-mail address")]
    IsAddress,
    /// It is the tenant's name.
    #[error("a password must not be the name of what it opens")]
    IsTenantName,
    /// Everybody tries it first.
    #[error("this password is one of the most common ones")]
    TooCommon,
    /// It is in a collection of passwords that have leaked.
    #[error("this password is known from a data breach")]
    Breached,
    /// It is the present password, or one that the tenant remembers.
    #[error("this password was used before")]
    UsedBefore,
}

/// What a tenant asks of passwords.
#[derive(Clone, Copy, Debug)]
pub struct Rules<'a> {
    /// Characters.
    pub min_length: u16,
    /// What the tenant is called.
    pub names: [&'a str; 2],
}

impl<'a> Rules<'a> {
    /// Of the tenant.
    #[must_use]
    pub fn of(tenant: &'a Tenant) -> Self {
        Self {
            min_length: tenant.settings.passwords.min_length,
            names: [&tenant.name, &tenant.slug],
        }
    }
}

impl NewPassword {
    /// Judges a password by the account and the tenant it is for. No rule asks for kinds of characters.
    ///
    /// # Errors
    /// The first rule it breaks.
    pub fn judge(password: Secret<String>, email: &Email, rules: &Rules<'_>) -> Result<Self, WeakPassword> {
        let text = password.expose();
        let chars = text.chars().count();
        let min = MIN_CHARS.max(rules.min_length.into());
        if chars < min {
            return Err(WeakPassword::TooShort { min });
        }
        if chars > MAX_CHARS {
            return Err(WeakPassword::TooLong);
        }
        let address = email.canonical();
        let local = address.split('@').next().unwrap_or_default();
        if [address, local, email.written()]
            .iter()
            .any(|known| alike(text, known))
        {
            return Err(WeakPassword::IsAddress);
        }
        if rules.names.iter().any(|name| alike(text, name)) {
            return Err(WeakPassword::IsTenantName);
        }
        if common::contains(&text.to_lowercase()) {
            return Err(WeakPassword::TooCommon);
        }
        Ok(Self(password))
    }

    /// The password, to be compared.
    #[must_use]
    pub fn secret(&self) -> &Secret<String> {
        &self.0
    }

    /// The password, to be hashed.
    #[must_use]
    pub fn into_secret(self) -> Secret<String> {
        self.0
    }
}

/// Whether two texts have the same letters and digits, whatever their case and what stands in between: who thinks of
/// `Acme Corporation` tries `acme-corporation` next.
fn alike(one: &str, other: &str) -> bool {
    fn essence(text: &str) -> impl Iterator<Item = char> {
        text.chars()
            .filter(|c| c.is_alphanumeric())
            .flat_map(char::to_lowercase)
    }
    essence(one).next().is_some() && essence(one).eq(essence(other))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge_in(rules: Rules<'_>, text: &str) -> Result<(), WeakPassword> {
        let email = Email::parse("ada.lovelace@example.com").unwrap();
        NewPassword::judge(Secret::new(text.to_owned()), &email, &rules).map(drop)
    }

    fn judge(text: &str) -> Result<(), WeakPassword> {
        let rules = Rules {
            min_length: 8,
            names: ["Analytical Engines", "engines-ltd"],
        };
        judge_in(rules, text)
    }

    #[test]
    fn s07_length_counts_characters_and_composition_counts_nothing() {
        let too_short = Err(WeakPassword::TooShort { min: 8 });
        assert_eq!(judge("xq7kd0p"), too_short);
        assert_eq!(judge("pässwör"), too_short);
        assert_eq!(judge("all lower case"), Ok(()));
        assert_eq!(judge("        "), Ok(()));
        assert_eq!(judge(&"x".repeat(256)), Ok(()));
        assert_eq!(judge(&"ü".repeat(256)), Ok(()));
        assert_eq!(judge(&"x".repeat(257)), Err(WeakPassword::TooLong));
    }

    #[test]
    fn s07_a_tenant_may_ask_for_more_characters_and_not_for_fewer() {
        let rules = |min_length| Rules {
            min_length,
            names: ["", ""],
        };
        let thirteen = "thirteen char";
        assert_eq!(judge_in(rules(13), thirteen), Ok(()));
        assert_eq!(
            judge_in(rules(14), thirteen),
            Err(WeakPassword::TooShort { min: 14 })
        );
        assert_eq!(
            judge_in(rules(1), "xq7kd0p"),
            Err(WeakPassword::TooShort { min: 8 })
        );
    }

    #[test]
    fn s07_the_address_the_tenant_and_what_everybody_tries_are_refused() {
        for text in [
            "Ada.Lovelace",
            "ada lovelace",
            "ada.lovelace@example.com",
            "ADA.LOVELACE@EXAMPLE.COM",
        ] {
            assert_eq!(judge(text), Err(WeakPassword::IsAddress), "{text}");
        }
        for text in ["analytical engines", "AnalyticalEngines", "Engines-Ltd"] {
            assert_eq!(judge(text), Err(WeakPassword::IsTenantName), "{text}");
        }
        for text in ["password1", "PassWord1", "qwertyuiop", "iloveyou"] {
            assert_eq!(judge(text), Err(WeakPassword::TooCommon), "{text}");
        }
    }
}
