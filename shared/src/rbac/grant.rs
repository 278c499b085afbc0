//! The one rule against escalation: nobody grants what they do not hold. Pure.
//!
//! It holds for whatever hands permissions on: a role that is made, changed, given or taken away, an invitation, the
//! scopes of a key. Owners and administrators hold the same permissions; that owners alone decide over owners is the
//! second half of the rule.

use super::{Builtin, Held, Role};
use crate::principal::Permissions;

/// Whether somebody with the permissions of `holder` may grant these.
#[must_use]
pub fn may_grant<'a>(holder: &Permissions, granted: impl IntoIterator<Item = &'a str>) -> bool {
    granted.into_iter().all(|permission| holder.contains(permission))
}

/// Who gives roles, or takes them away.
#[derive(Clone, Debug)]
pub(crate) struct Granter {
    /// What they may do themselves.
    pub(crate) permissions: Permissions,
    /// Whether this is an owner of the tenant, in person.
    pub(crate) is_owner: bool,
}

impl Granter {
    /// Whether they may give the role. Who may not give it may not take it away either: nobody takes apart what stands
    /// above them.
    pub(crate) fn may_give(&self, role: &Role) -> bool {
        (self.is_owner || role.builtin != Some(Builtin::Owner))
            && may_grant(&self.permissions, role.permissions.iter())
    }

    /// Whether they may decide over who holds that: over nobody who may do what they may not, and over owners only as one.
    pub(crate) fn may_decide_over(&self, held: &Held) -> bool {
        self.may_change(held.is_owner) && may_grant(&self.permissions, held.permissions.iter())
    }

    /// Whether they may change the roles of a user who is an owner, or is not.
    pub(crate) fn may_change(&self, of_owner: bool) -> bool {
        self.is_owner || !of_owner
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use uuid::Uuid;

    use super::*;
    use crate::{id::RoleId, version::Version};

    fn role(builtin: Option<Builtin>, permissions: &[&str]) -> Role {
        Role {
            id: RoleId(Uuid::nil()),
            name: "a role".to_owned(),
            description: None,
            builtin,
            permissions: permissions.iter().copied().collect(),
            version: Version::FIRST,
            created_at: DateTime::UNIX_EPOCH,
            updated_at: DateTime::UNIX_EPOCH,
        }
    }

    #[test]
    fn s27_nobody_grants_what_they_lack() {
        let holder: Permissions = ["users:read", "roles:write"].into_iter().collect();
        assert!(may_grant(&holder, []));
        assert!(may_grant(&holder, ["users:read"]));
        assert!(!may_grant(&holder, ["users:read", "users:write"]));
        assert!(!may_grant(&Permissions::default(), ["users:read"]));
    }

    #[test]
    fn s27_who_holds_all_that_an_owner_holds_makes_no_owner() {
        let permissions: Permissions = Builtin::Owner.permissions(false).collect();
        let held: Vec<&str> = permissions.iter().collect();
        let (owner, admin) = (
            role(Some(Builtin::Owner), &held),
            role(Some(Builtin::Admin), &held),
        );
        let of = |is_owner| Granter {
            permissions: permissions.clone(),
            is_owner,
        };
        assert!(of(true).may_give(&owner) && of(true).may_give(&admin) && of(true).may_change(true));
        assert!(!of(false).may_give(&owner) && of(false).may_give(&admin));
        assert!(!of(false).may_change(true) && of(false).may_change(false));
    }
}
