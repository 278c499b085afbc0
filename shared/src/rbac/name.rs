//! What roles and permissions of a tenant's own may be called. Pure.

use unicode_normalization::UnicodeNormalization;

use crate::permission::CATALOGUE;

/// The longest name of a role, in characters.
pub const MAX_ROLE_NAME: usize = 100;
/// The longest name of a permission.
pub const MAX_PERMISSION_NAME: usize = 128;

/// Resources that a later release may give permissions of its own: a name that a tenant had taken before would grant
/// them.
const RESERVED: &[&str] = &[
    "audit",
    "latchkey",
    "permissions",
    "platform",
    "sessions",
    "tenant",
];

/// The name of a role, as it was written and as it is compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleName {
    written: String,
    canonical: String,
}

/// The text is no name of a role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a name is 1 to 100 characters that can be seen")]
pub struct InvalidRoleName;

impl RoleName {
    /// Reads a name. What looks the same is the same: case, the space around it and the way its letters are encoded
    /// make no other name, and what cannot be seen is refused.
    ///
    /// # Errors
    /// When it is empty, too long or holds characters that cannot be seen.
    pub fn parse(text: &str) -> Result<Self, InvalidRoleName> {
        let written: String = text.trim().nfkc().collect();
        let length = written.chars().count();
        if !(1..=MAX_ROLE_NAME).contains(&length)
            || written.trim() != written
            || written.chars().any(is_invisible)
        {
            return Err(InvalidRoleName);
        }
        let canonical = written.to_lowercase().nfkc().collect();
        Ok(Self { written, canonical })
    }

    /// As people read it.
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

/// Control characters, and those that join, split or turn text without showing.
fn is_invisible(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{180e}' | '\u{feff}')
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}')
}

/// The name of a permission of a tenant's own: `resource:action`, with none of our resources.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PermissionName(String);

/// The text is no name of such a permission.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPermissionName {
    /// It is not of the form.
    #[error("a permission is resource:action, each of a-z, 0-9, ., _ and -, beginning with a letter")]
    Malformed,
    /// Its resource is one of ours: a service must be able to trust that `users:write` means what it says.
    #[error("this resource is one of the built-in ones")]
    Reserved,
}

impl PermissionName {
    /// Reads a name.
    ///
    /// # Errors
    /// See [`InvalidPermissionName`].
    pub fn parse(text: &str) -> Result<Self, InvalidPermissionName> {
        let (resource, action) = text.split_once(':').ok_or(InvalidPermissionName::Malformed)?;
        if text.len() > MAX_PERMISSION_NAME || !is_word(resource) || !is_word(action) {
            return Err(InvalidPermissionName::Malformed);
        }
        let built_in = CATALOGUE
            .iter()
            .filter_map(|(name, ..)| Some(name.split_once(':')?.0));
        if built_in
            .chain(RESERVED.iter().copied())
            .any(|ours| ours == resource)
        {
            return Err(InvalidPermissionName::Reserved);
        }
        Ok(Self(text.to_owned()))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_word(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_lowercase())
        && text
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '_' | '-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_name_are_one_name() {
        let canonical = |text: &str| RoleName::parse(text).map(|name| name.canonical);
        for text in ["owner", " Owner ", "ＯＷＮＥＲ", "\tOWNER\n"] {
            assert_eq!(canonical(text), Ok("owner".to_owned()), "{text}");
        }
        assert_eq!(canonical("ren\u{e9}"), canonical("RENE\u{301}"));
        assert_ne!(canonical("support 1"), canonical("support 2"));
    }

    #[test]
    fn what_cannot_be_seen_is_no_part_of_a_name() {
        let long = "a".repeat(MAX_ROLE_NAME + 1);
        for text in [
            "",
            "  ",
            "own\u{200b}er",
            "a\u{0}b",
            "\u{202e}renwo",
            "a\nb",
            &long,
        ] {
            assert_eq!(RoleName::parse(text), Err(InvalidRoleName), "{text:?}");
        }
        assert!(RoleName::parse(&"ä".repeat(MAX_ROLE_NAME)).is_ok());
    }

    #[test]
    fn s27_a_tenants_permission_is_none_of_ours() {
        for name in ["invoices:read", "billing.invoices:mark-paid", "a1_b:c2"] {
            assert!(PermissionName::parse(name).is_ok(), "{name}");
        }
        let long = format!("a:{}", "b".repeat(MAX_PERMISSION_NAME));
        for name in [
            "", "invoices", ":read", "a:", "a:b:c", "A:b", "a b:c", "1a:b", "ä:b", "*:*", "a:*", &long,
        ] {
            let parsed = PermissionName::parse(name);
            assert_eq!(parsed, Err(InvalidPermissionName::Malformed), "{name}");
        }
        for name in ["users:explode", "tenants:write", "api_keys:x", "audit:read"] {
            let parsed = PermissionName::parse(name);
            assert_eq!(parsed, Err(InvalidPermissionName::Reserved), "{name}");
        }
    }
}
