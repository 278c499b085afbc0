//! Addresses and their one canonical form. Pure.

use email_address::{EmailAddress, Options};
use unicode_normalization::UnicodeNormalization;

/// An address as it was written, and as it is compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Email {
    written: String,
    canonical: String,
}

/// The text is no address that mail could reach.
#[derive(Debug, thiserror::Error)]
#[error("this is not an e-mail address")]
pub struct InvalidEmail;

/// RFC 5321 section 4.5.3.1.3.
const MAX_BYTES: usize = 254;

impl Email {
    /// Reads an address. Its canonical form is NFKC, in lower case, with the domain as DNS spells it: what a person
    /// would call the same address is the same account.
    ///
    /// # Errors
    /// When it is no address, or longer than 254 bytes in either form.
    pub fn parse(text: &str) -> Result<Self, InvalidEmail> {
        let text = text.trim();
        if text.len() > MAX_BYTES || text.chars().any(char::is_control) {
            return Err(InvalidEmail);
        }
        let (local, domain) = text.rsplit_once('@').ok_or(InvalidEmail)?;
        // Mail goes to the same mailbox that the canonical form stands for: only the case of its local part is kept.
        let local: String = local.nfkc().collect();
        let domain = idna::domain_to_ascii(domain.trim_end_matches('.')).map_err(|_| InvalidEmail)?;
        let written = format!("{local}@{domain}");
        // A final sigma is the same letter as any other.
        let folded = local
            .chars()
            .flat_map(char::to_lowercase)
            .map(|c| if c == 'ς' { 'σ' } else { c });
        let local: String = folded.nfkc().collect();
        let canonical = format!("{local}@{domain}");
        let options = Options::default().without_display_text().without_domain_literal();
        EmailAddress::parse_with_options(&canonical, options).map_err(|_| InvalidEmail)?;
        if written.len().max(canonical.len()) > MAX_BYTES || local.starts_with('"') {
            return Err(InvalidEmail);
        }
        Ok(Self { written, canonical })
    }

    /// Where mail goes: as it was written, in the spelling that DNS and mail servers use.
    #[must_use]
    pub fn written(&self) -> &str {
        &self.written
    }

    /// What is unique in a tenant.
    #[must_use]
    pub fn canonical(&self) -> &str {
        &self.canonical
    }
}

#[cfg(test)]
mod tests {
    use super::Email;

    fn canonical(text: &str) -> Option<String> {
        Email::parse(text).ok().map(|email| email.canonical)
    }

    #[test]
    fn s06_spellings_of_one_address_have_one_canonical_form() {
        let ada = Some("ada@xn--bcher-kva.example".to_owned());
        for text in [
            "ada@bücher.example",
            " ADA@BÜCHER.example ",
            "ａｄａ@bücher.example",
            "Ada@xn--bcher-kva.example.",
        ] {
            assert_eq!(canonical(text), ada, "{text}");
        }
        assert_eq!(canonical("αλεξης@a.example"), canonical("ΑΛΕΞΗΣ@a.example"));
        // A precomposed letter and a letter with a combining accent.
        assert_eq!(
            canonical("ren\u{e9}@a.example"),
            canonical("rene\u{301}@A.example")
        );
    }

    #[test]
    fn what_no_mail_could_reach_is_refused() {
        let long = format!("{}@a.example", "a".repeat(250));
        for text in [
            "",
            "ada",
            "@a.example",
            "ada@",
            "a b@c.example",
            "Ada <ada@a.example>",
            "a@b@c",
            "a\n@b.c",
            &long,
        ] {
            assert_eq!(canonical(text), None, "{text}");
        }
    }
}
