//! Typed identifiers.
//!
//! Every row is named by a UUIDv7, so that ids sort by creation and indexes grow at one end. A newtype per
//! kind keeps a session from being passed where a user is meant.

use chrono::{DateTime, Utc};
use sea_orm::{DbErr, DeriveValueType, TryFromU64};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::random::Random;

/// A UUIDv7 (RFC 9562) for the given instant.
pub fn uuid_v7(now: DateTime<Utc>, random: &dyn Random) -> Uuid {
    let mut bytes = [0; 10];
    random.fill(&mut bytes);
    let millis = u64::try_from(now.timestamp_millis()).unwrap_or_default();
    uuid::Builder::from_unix_timestamp_millis(millis, &bytes).into_uuid()
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident)*) => {$(
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, DeriveValueType,
        )]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl $name {
            /// A new id for something created at `now`.
            pub fn new(now: DateTime<Utc>, random: &dyn Random) -> Self {
                Self(uuid_v7(now, random))
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }

        // SeaORM asks this of every primary key; ours never come from a sequence.
        impl TryFromU64 for $name {
            fn try_from_u64(_: u64) -> Result<Self, DbErr> {
                Err(DbErr::ConvertFromU64(stringify!($name)))
            }
        }
    )*};
}

ids! {
    /// A tenant: an isolated population.
    TenantId
    /// A user of one tenant.
    UserId
    /// A role of one tenant.
    RoleId
    /// A permission of a tenant's own.
    PermissionId
    /// A machine that has roles of its own.
    ServiceAccountId
    /// An API key.
    ApiKeyId
    /// A domain that names a tenant.
    DomainId
    /// A sign-in: the family of one refresh token chain.
    SessionId
    /// A device that a user has signed in with.
    DeviceId
    /// An invitation into a tenant.
    InvitationId
    /// Something that happened in a tenant; `webhook-id` in every copy sent of it.
    EventId
    /// A customer's webhook endpoint.
    EndpointId
    /// One event on its way to one endpoint.
    DeliveryId
    /// One call of an endpoint.
    AttemptId
    /// One mail on its way.
    MailId
    /// One row of the audit trail.
    AuditId
}
