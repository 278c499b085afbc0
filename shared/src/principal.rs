//! Who is asking.

use std::{net::IpAddr, sync::Arc};

use chrono::{DateTime, Utc};

use crate::id::{SessionId, TenantId, UserId};

/// A signed-in caller, proven by a credential that was checked on this very request.
#[derive(Clone, Debug)]
pub struct Principal {
    /// The only tenant the caller may act in.
    pub tenant: TenantId,
    /// The user who signed in.
    pub user: UserId,
    /// The session the credential belongs to.
    pub session: SessionId,
    /// When the user last proved to be that user.
    pub authenticated_at: DateTime<Utc>,
    /// Whether that was proven by both factors.
    pub both_factors: bool,
    /// What the caller may do.
    pub permissions: Permissions,
}

/// A set of `resource:action` strings, cheap to hand around.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Permissions(Arc<[Box<str>]>);

impl Permissions {
    /// Whether the set holds the permission.
    #[must_use]
    pub fn contains(&self, permission: &str) -> bool {
        self.0.binary_search_by(|held| (**held).cmp(permission)).is_ok()
    }

    /// The permissions in alphabetical order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|held| &**held)
    }
}

impl<S: Into<Box<str>>> FromIterator<S> for Permissions {
    fn from_iter<I: IntoIterator<Item = S>>(permissions: I) -> Self {
        let mut sorted: Vec<Box<str>> = permissions.into_iter().map(Into::into).collect();
        sorted.sort_unstable();
        sorted.dedup();
        Self(sorted.into())
    }
}

/// Where a request came from: what the audit trail and the list of sessions say of it.
#[derive(Clone, Debug, Default)]
pub struct Origin {
    /// The request's id, echoed in `X-Request-Id`.
    pub request_id: String,
    /// The client's address as the configured proxies report it.
    pub address: Option<IpAddr>,
    /// The `User-Agent` header, cut to 256 characters.
    pub user_agent: Option<String>,
}

/// Who a change is put down to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Actor {
    /// A signed-in user.
    User(UserId),
    /// Whoever sent a request without a credential.
    Anonymous,
    /// Latchkey itself: a job, or a command of the operator.
    System,
}

impl From<&Principal> for Actor {
    fn from(principal: &Principal) -> Self {
        Self::User(principal.user)
    }
}
