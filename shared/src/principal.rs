//! Who is asking.

use std::{net::IpAddr, sync::Arc};

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::{
    id::{ApiKeyId, ServiceAccountId, SessionId, TenantId, UserId},
    trace::TraceContext,
};

/// Whoever acts, proven by a credential that was checked on this very request: what operations that take a permission
/// know of their caller.
#[derive(Clone, Debug)]
pub struct Principal {
    /// The only tenant the caller may act in.
    pub tenant: TenantId,
    /// In whose name.
    pub subject: Subject,
    /// The API key that the caller came by; none for a session.
    pub key: Option<ApiKeyId>,
    /// The session that the caller came by; none for a key.
    pub session: Option<SessionId>,
    /// What the caller may do: of a key, its scopes as far as its owner holds them now.
    pub permissions: Permissions,
}

/// In whose name somebody acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Subject {
    /// A user.
    User(UserId),
    /// A machine with roles of its own.
    ServiceAccount(ServiceAccountId),
    /// The tenant as a whole, by one of its keys.
    Tenant,
}

/// A user and the session the user acts in: what operations on one's own account know of their caller.
#[derive(Clone, Debug)]
pub struct UserSession {
    /// The only tenant the user may act in.
    pub tenant: TenantId,
    /// Who signed in.
    pub user: UserId,
    /// The session the access token belongs to.
    pub session: SessionId,
    /// When the user last proved to be that user.
    pub authenticated_at: DateTime<Utc>,
    /// Whether that was proven by both factors.
    pub both_factors: bool,
    /// What the user may do.
    pub permissions: Permissions,
}

impl From<UserSession> for Principal {
    fn from(session: UserSession) -> Self {
        Self {
            tenant: session.tenant,
            subject: Subject::User(session.user),
            key: None,
            session: Some(session.session),
            permissions: session.permissions,
        }
    }
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
    /// The trace that its client says it belongs to.
    pub trace: Option<TraceContext>,
    /// The claim under which the request may be carried out once, where its client named a key.
    pub claim: Option<Claim>,
}

/// One attempt at a request that is to be carried out once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Whose request it is.
    pub tenant: TenantId,
    /// What the request is known by.
    pub key: [u8; 32],
    /// The attempt.
    pub id: Uuid,
}

/// Who a change is put down to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Actor {
    /// A signed-in user.
    User(UserId),
    /// Whoever holds an API key.
    ApiKey(ApiKeyId),
    /// Whoever sent a request without a credential.
    Anonymous,
    /// Latchkey itself: a job, or a command of the operator.
    System,
}

impl From<&UserSession> for Actor {
    fn from(session: &UserSession) -> Self {
        Self::User(session.user)
    }
}

impl From<&Principal> for Actor {
    fn from(principal: &Principal) -> Self {
        match (principal.key, principal.subject) {
            (Some(key), _) => Self::ApiKey(key),
            (None, Subject::User(user)) => Self::User(user),
            // Nobody else signs in.
            (None, Subject::ServiceAccount(_) | Subject::Tenant) => Self::System,
        }
    }
}
