//! Which domains can be claimed. Pure.

use url::{Host, Url};

/// DNS names have 253 characters at most, and the record's label stands before the domain.
const MAX_BYTES: usize = 253 - super::LABEL.len() - 1;

/// A domain that a tenant may claim, as DNS spells it: lower case, international names in their ASCII form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DomainName(String);

/// Why nobody can claim it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotClaimable {
    /// It is an address, has a port, a path, or a single label.
    #[error("must be a domain name of two labels or more, without scheme, port and path")]
    Malformed,
    /// It is the installation's own.
    #[error("is a name of this installation")]
    Reserved,
}

impl DomainName {
    /// Reads a domain. The names below `base_domain` are slugs, and the host of `public_url` is nobody's.
    ///
    /// # Errors
    /// [`NotClaimable`].
    pub fn parse(text: &str, base_domain: Option<&str>, public_url: &Url) -> Result<Self, NotClaimable> {
        let text = text.trim().trim_end_matches('.');
        // Reading it as the host of a URL would decode escapes.
        if text.contains('%') {
            return Err(NotClaimable::Malformed);
        }
        let Ok(Host::Domain(domain)) = Host::parse(text) else {
            return Err(NotClaimable::Malformed);
        };
        let is_name = domain.contains('.') && domain.len() <= MAX_BYTES && domain.split('.').all(is_label);
        if !is_name {
            return Err(NotClaimable::Malformed);
        }
        let is_base = |base: &str| {
            let rest = domain.strip_suffix(base);
            rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        };
        if base_domain.is_some_and(is_base) || public_url.host_str() == Some(&domain) {
            return Err(NotClaimable::Reserved);
        }
        Ok(Self(domain))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Letters, digits and hyphens (RFC 1123 section 2.1).
fn is_label(label: &str) -> bool {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    (1..=63).contains(&label.len())
        && label.chars().all(allowed)
        && !label.starts_with('-')
        && !label.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<String, NotClaimable> {
        let public_url = Url::parse("https://id.operator.test").unwrap();
        DomainName::parse(text, Some("example.test"), &public_url).map(|name| name.0)
    }

    #[test]
    fn a_domain_has_one_spelling() {
        for (text, spelled) in [
            ("login.acme.com", "login.acme.com"),
            (" LOGIN.Acme.COM. ", "login.acme.com"),
            ("bücher.example", "xn--bcher-kva.example"),
            ("xn--bcher-kva.example", "xn--bcher-kva.example"),
            ("acme。com", "acme.com"),
        ] {
            assert_eq!(parse(text).as_deref(), Ok(spelled), "{text}");
        }
    }

    #[test]
    fn what_is_no_domain_is_not_claimed() {
        let long = format!("{}.com", "a.".repeat(125));
        let label = format!("{}.com", "a".repeat(64));
        for text in [
            "",
            ".",
            "com",
            "localhost",
            "127.0.0.1",
            "127.1",
            "0x7f000001",
            "2130706433",
            "[::1]",
            "::1",
            "acme.com:443",
            "https://acme.com",
            "acme.com/path",
            "user@acme.com",
            "a..com",
            "-a.com",
            "a-.com",
            "a_b.com",
            "*.acme.com",
            "a b.com",
            "a%2ecom.test",
            "a\u{0}.com",
            &long,
            &label,
        ] {
            assert_eq!(parse(text), Err(NotClaimable::Malformed), "{text}");
        }
    }

    #[test]
    fn the_operators_own_names_are_nobodys() {
        for text in [
            "example.test",
            "acme.example.test",
            "a.b.Example.test",
            "id.operator.test",
        ] {
            assert_eq!(parse(text), Err(NotClaimable::Reserved), "{text}");
        }
        for text in ["evilexample.test", "operator.test", "x.id.operator.test"] {
            assert!(parse(text).is_ok(), "{text}");
        }
    }
}
