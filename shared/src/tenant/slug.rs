//! The short name of a tenant: one label of a host name (RFC 1035), so that `<slug>.<base_domain>` works.

/// 3 to 63 lower-case letters, digits and hyphens; begins with a letter, does not end with a hyphen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slug(String);

/// The text is no slug.
#[derive(Debug, thiserror::Error)]
#[error(
    "a slug is 3 to 63 lower-case letters, digits and hyphens, begins with a letter and does not end with a hyphen"
)]
pub struct InvalidSlug;

/// Labels that would be mistaken for something of the operator's.
const RESERVED: &[&str] = &[
    "admin", "api", "app", "auth", "docs", "login", "mail", "status", "www",
];

impl Slug {
    /// Reads a slug.
    ///
    /// # Errors
    /// When the text breaks a rule.
    pub fn parse(text: &str) -> Result<Self, InvalidSlug> {
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        let valid = (3..=63).contains(&text.len())
            && text.chars().all(allowed)
            && text.starts_with(|c: char| c.is_ascii_lowercase())
            && !text.ends_with('-')
            && uuid::Uuid::parse_str(text).is_err()
            && !RESERVED.contains(&text);
        valid.then(|| Self(text.to_owned())).ok_or(InvalidSlug)
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::Slug;

    #[test]
    fn a_slug_is_one_label_of_a_host_name() {
        for text in ["acme", "a1-b2", "abc"] {
            assert!(Slug::parse(text).is_ok(), "{text}");
        }
        let long = "a".repeat(64);
        for text in [
            "", "ab", "Acme", "-abc", "abc-", "a.b", "a b", "1abc", "www", &long,
        ] {
            assert!(Slug::parse(text).is_err(), "{text}");
        }
    }
}
