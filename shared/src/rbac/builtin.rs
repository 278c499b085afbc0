//! The built-in roles and what they grant. Pure.

use crate::permission::{CATALOGUE, Reach};

/// A role that every tenant has and nobody can delete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Builtin {
    /// May do everything in the tenant; the last one stays.
    Owner,
    /// May do everything an owner may, but decide over owners.
    Admin,
    /// May use the product; holds no permission over others.
    Member,
}

impl Builtin {
    const ALL: [Self; 3] = [Self::Owner, Self::Admin, Self::Member];

    /// Whether it grants all there is to grant in the tenant.
    #[must_use]
    pub const fn governs(self) -> bool {
        matches!(self, Self::Owner | Self::Admin)
    }

    /// The role's name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Admin => "admin",
            Self::Member => "member",
        }
    }

    /// The role of that name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == name)
    }

    /// What the role grants of the catalogue in a tenant, or in the platform's own.
    pub fn permissions(self, is_platform: bool) -> impl Iterator<Item = &'static str> {
        catalogue(is_platform)
            .filter(move |_| self.governs())
            .map(|(name, _)| name)
    }
}

/// What has a meaning in a tenant, or in the platform's own: name and description.
pub(super) fn catalogue(is_platform: bool) -> impl DoubleEndedIterator<Item = (&'static str, &'static str)> {
    CATALOGUE
        .iter()
        .filter(move |(_, reach, _)| is_platform || *reach == Reach::Tenant)
        .map(|(name, _, description)| (*name, *description))
}

#[cfg(test)]
mod tests {
    use super::Builtin;

    #[test]
    fn s27_platform_permissions_exist_in_the_platforms_tenant_only() {
        let granted = |is_platform| {
            Builtin::Owner
                .permissions(is_platform)
                .any(|name| name == "tenants:write")
        };
        assert!(granted(true));
        assert!(!granted(false));
    }

    #[test]
    fn a_member_governs_nothing() {
        assert_eq!(Builtin::Member.permissions(true).count(), 0);
    }
}
