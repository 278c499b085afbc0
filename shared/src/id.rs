//! Typed identifiers.
//!
//! Every row is named by a UUIDv7, so that ids sort by creation and indexes grow at one end. A newtype per
//! kind keeps a session from being passed where a user is meant.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
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

/// The smallest id that an instant can have.
#[must_use]
pub fn first_id(at: DateTime<Utc>) -> Uuid {
    let millis = u64::try_from(at.timestamp_millis()).unwrap_or_default();
    Uuid::from_u128(u128::from(millis) << RANDOM_BITS)
}

/// The smallest and the largest id that the instants of these ids, and those between them, can have.
///
/// A statement that names them besides the ids themselves opens the partitions of those days and no others, whether
/// PostgreSQL plans it anew or not. What was made in the same instant as one of the ids lies between them as well.
#[must_use]
pub fn span(ids: &[Uuid]) -> (Uuid, Uuid) {
    let instants = || ids.iter().map(|id| id.as_u128() >> RANDOM_BITS);
    let (first, last) = (instants().min().unwrap_or(1), instants().max().unwrap_or(0));
    let (first, last) = (
        first << RANDOM_BITS,
        (last << RANDOM_BITS) | u128::MAX >> (128 - RANDOM_BITS),
    );
    (Uuid::from_u128(first), Uuid::from_u128(last))
}

/// All of a UUIDv7 behind its milliseconds.
const RANDOM_BITS: u32 = 80;

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident)*) => {$(
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
            DeriveValueType,
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
    /// A type of events that a tenant publishes itself.
    EventTypeId
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::OsRandom;

    #[test]
    fn an_instants_ids_lie_behind_its_first_one_and_within_its_span() {
        let random = OsRandom::new();
        let at = DateTime::from_timestamp_millis(1_795_000_000_123).unwrap();
        let later = at + chrono::TimeDelta::milliseconds(7);
        let ids = [later, at].map(|at| uuid_v7(at, &random));
        let (first, last) = span(&ids);
        assert_eq!(first, first_id(at));
        for at in [at, later] {
            let id = uuid_v7(at, &random);
            assert!(first <= id && id <= last);
        }
        let beyond = first_id(later + chrono::TimeDelta::milliseconds(1));
        assert!(last < beyond && last.as_u128() + 1 == beyond.as_u128());
        assert!(uuid_v7(at - chrono::TimeDelta::milliseconds(1), &random) < first);
    }

    #[test]
    fn no_ids_span_nothing() {
        let (first, last) = span(&[]);
        assert!(first > last);
    }
}
