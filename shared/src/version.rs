//! Versions of what several people may change at once, as `ETag` and `If-Match` carry them (RFC 9110 section 8.8.3).
//!
//! Each change counts up by one; whoever changes something names the version that they have read, so that nobody
//! overwrites what they have not seen.

use sea_orm::DeriveValueType;

/// How many changes something has seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, DeriveValueType)]
pub struct Version(pub i64);

impl Version {
    /// Of something new.
    pub const FIRST: Self = Self(1);
}

/// What a change may be made of: versions that the caller has read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expected {
    /// Whatever is there.
    Any,
    /// One of these.
    OneOf(Vec<Version>),
}

impl Expected {
    /// Whether the version is one of those that the caller has read.
    #[must_use]
    pub fn allows(&self, version: Version) -> bool {
        match self {
            Self::Any => true,
            Self::OneOf(versions) => versions.contains(&version),
        }
    }

    /// The field value of `If-Match` (RFC 9110 section 13.1.1). A tag that is weak, or was never one of ours, names no
    /// version; nothing for what is no list of tags at all.
    #[must_use]
    pub fn parse(field: &str) -> Option<Self> {
        if field.trim() == "*" {
            return Some(Self::Any);
        }
        let tags = field.split(',').map(str::trim).filter(|tag| !tag.is_empty());
        let versions = tags.map(|tag| {
            let weak = tag.strip_prefix("W/");
            let opaque = weak.unwrap_or(tag).strip_prefix('"')?.strip_suffix('"')?;
            // If-Match compares strongly.
            Some(opaque.parse().ok().filter(|_| weak.is_none()).map(Version))
        });
        let versions: Option<Vec<_>> = versions.collect();
        let versions = versions.filter(|tags| !tags.is_empty())?;
        Some(Self::OneOf(versions.into_iter().flatten().collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_names_the_version_that_was_read() {
        let three = Expected::parse(r#""3""#).unwrap();
        assert!(three.allows(Version(3)));
        assert!(!three.allows(Version(4)));
        assert!(Expected::parse(r#" "1" , "3" "#).unwrap().allows(Version(3)));
        assert!(Expected::parse("*").unwrap().allows(Version(9)));
    }

    #[test]
    fn a_weak_or_foreign_tag_names_none_and_what_is_no_tag_is_refused() {
        for none in [r#"W/"3""#, r#""abc""#] {
            assert_eq!(Expected::parse(none), Some(Expected::OneOf(Vec::new())), "{none}");
        }
        for broken in ["", "3", r#""3"#, ","] {
            assert_eq!(Expected::parse(broken), None, "{broken}");
        }
    }
}
