//! Along a chain, link by link: what fits and what does not. Pure.

use chrono::{DateTime, TimeDelta, Utc};
use sea_orm::DbErr;
use uuid::Uuid;

use super::{
    mac::{self, Content, Keys, Link},
    seal::is_ours,
    store::{Head, Place, Seal},
};
use crate::{entity::audit_event, id::TenantId};

/// What a verification found of a tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Everything is as it was written.
    Intact,
    /// The first thing that is not.
    Tampered(Fault),
    /// It cannot be told, and why.
    Unchecked(String),
}

/// What was done to a trail.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The row's keyed hash is not that of what it says.
    #[error("row {0} was altered, or made by somebody else")]
    Altered(Uuid),
    /// The row was never ours.
    #[error("row {0} was inserted by somebody else")]
    Inserted(Uuid),
    /// The row is ours, and nobody was to seal it.
    #[error("row {0} was kept from being sealed")]
    Kept(Uuid),
    /// A link without its row.
    #[error("row {1}, sealed at {0}, was removed")]
    Removed(i64, Uuid),
    /// The row went before it was sealed.
    #[error("row {0} was removed before it was sealed")]
    RemovedEarly(Uuid),
    /// A link is gone.
    #[error("the seal at {0} was removed")]
    SealRemoved(i64),
    /// The link does not follow the one before it.
    #[error("the seal at {0}, of row {1}, was altered or moved, or the one before it was")]
    Displaced(i64, Uuid),
    /// The last links are gone.
    #[error("the seals after {0} were removed; there were {1}")]
    CutOff(i64, i64),
    /// The chain is shorter than it once was, or another one.
    #[error("the chain is not the one that had {0} rows before: it was set back, or replaced")]
    SetBack(i64),
    /// The head is gone or not ours.
    #[error("the end of the chain was altered or removed")]
    Head,
}

impl From<Fault> for Verdict {
    fn from(fault: Fault) -> Self {
        Self::Tampered(fault)
    }
}

/// How far one has got along a tenant's chain.
pub(super) struct Walk<'a> {
    keys: &'a Keys,
    tenant: TenantId,
    pub(super) length: i64,
    pub(super) hash: Vec<u8>,
}

impl<'a> Walk<'a> {
    /// At the beginning.
    pub(super) fn new(keys: &'a Keys, tenant: TenantId) -> Self {
        Self {
            keys,
            tenant,
            length: 0,
            hash: mac::START.to_vec(),
        }
    }

    /// Whether the end that is written down is one of ours, and what links there are reach it. `last` is the number of
    /// the last one.
    pub(super) fn head(&self, head: Option<&Head>, last: i64) -> Result<(), Verdict> {
        let Some(head) = head else {
            return if last == 0 {
                Ok(())
            } else {
                Err(Fault::Head.into())
            };
        };
        self.known(&head.key_id)?;
        if !is_ours(self.keys, head) || last > head.length {
            return Err(Fault::Head.into());
        }
        Ok(())
    }

    /// Once more, at the link that the end names.
    pub(super) fn at_head(&self, head: Option<&Head>) -> Result<(), Verdict> {
        match head {
            Some(head) if head.length == self.length && head.hash != self.hash => Err(Fault::Head.into()),
            _ => Ok(()),
        }
    }

    /// The next link with its row, which is gone, or there and perhaps in a form that nobody can read.
    pub(super) fn step(
        &mut self,
        seal: &Seal,
        row: Option<&Result<audit_event::Model, DbErr>>,
    ) -> Result<(), Verdict> {
        let seq = self.length + 1;
        if seal.seq != seq {
            return Err(Fault::SealRemoved(seq).into());
        }
        self.known(&seal.link_key)?;
        let Some(key) = self.keys.get(&seal.link_key) else {
            return Ok(());
        };
        let row = match row {
            None => return Err(Fault::Removed(seq, seal.audit_id).into()),
            Some(Err(_)) => return Err(Fault::Altered(seal.audit_id).into()),
            Some(Ok(row)) => row,
        };
        let content = Content::of(row.mac.as_deref(), row.mac_key.as_deref());
        let hash = key.link(&Link {
            tenant: self.tenant,
            before: &self.hash,
            seq,
            row: seal.audit_id,
            content: &content,
            sealed_at: seal.sealed_at,
        });
        self.row(row)?;
        if !mac::same(hash, &seal.hash) {
            return Err(Fault::Displaced(seq, seal.audit_id).into());
        }
        self.length = seq;
        self.hash = hash.to_vec();
        Ok(())
    }

    /// A row that has no seal at `now`.
    pub(super) fn unsealed(
        &self,
        place: Place,
        row: Option<&Result<audit_event::Model, DbErr>>,
        now: DateTime<Utc>,
        grace: TimeDelta,
    ) -> Result<(), Verdict> {
        match row {
            // It was there a moment ago.
            None => return Err(Fault::RemovedEarly(place.id).into()),
            Some(Err(_)) => return Err(Fault::Altered(place.id).into()),
            Some(Ok(row)) => self.row(row)?,
        }
        if place.created_at + grace >= now {
            return Ok(());
        }
        if !place.waits {
            return Err(Fault::Kept(place.id).into());
        }
        Err(Verdict::Unchecked(format!(
            "row {} has waited for its seal since {}: no worker seals, or none can",
            place.id, place.created_at
        )))
    }

    fn row(&self, row: &audit_event::Model) -> Result<(), Verdict> {
        let id = row.id.0;
        // Ours have one, whatever else was cleared away.
        let Some(there) = &row.mac else {
            return Err(Fault::Inserted(id).into());
        };
        // Keys stay for as long as the trail: one that is none of ours is somebody's who has none.
        let Some(key) = row.mac_key.as_deref().and_then(|key| self.keys.get(key)) else {
            return Err(Fault::Inserted(id).into());
        };
        if !mac::same(key.row(row), there) {
            return Err(Fault::Altered(id).into());
        }
        Ok(())
    }

    fn known(&self, key: &str) -> Result<(), Verdict> {
        match self.keys.get(key) {
            Some(_) => Ok(()),
            None => Err(Verdict::Unchecked(format!(
                "after {} a key is used that secrets.data_keys does not have: {key:?}",
                self.length
            ))),
        }
    }
}
