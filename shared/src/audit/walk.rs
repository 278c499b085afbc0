//! Along a chain, link by link: what fits and what does not. Pure.

use chrono::{DateTime, TimeDelta, Utc};
use sea_orm::DbErr;
use uuid::Uuid;

use super::{
    mac::{self, Content, Key, Keys, Link},
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

/// How far one has got along a tenant's chain.
pub(super) struct Walk<'a> {
    keys: &'a Keys,
    tenant: TenantId,
    pub(super) length: i64,
    pub(super) hash: Vec<u8>,
    /// Why not everything could be told so far. There may be worse to come: what can be told is.
    unchecked: Option<String>,
    /// Whether the chain names a key that is not among ours.
    keys_missing: bool,
}

impl<'a> Walk<'a> {
    /// At the beginning.
    pub(super) fn new(keys: &'a Keys, tenant: TenantId) -> Self {
        Self {
            keys,
            tenant,
            length: 0,
            hash: mac::START.to_vec(),
            unchecked: None,
            keys_missing: false,
        }
    }

    /// What there is to say at the end, where nothing did not fit.
    pub(super) fn verdict(&self) -> Verdict {
        match &self.unchecked {
            Some(reason) => Verdict::Unchecked(reason.clone()),
            None => Verdict::Intact,
        }
    }

    /// Whether the end that is written down is one of ours, and what links there are reach it. `last` is the number of
    /// the last one.
    pub(super) fn head(&mut self, head: Option<&Head>, last: i64) -> Result<(), Fault> {
        let Some(head) = head else {
            return if last == 0 { Ok(()) } else { Err(Fault::Head) };
        };
        let ours = self.key(&head.key_id).is_none() || is_ours(self.keys, head);
        if !ours || last > head.length {
            return Err(Fault::Head);
        }
        Ok(())
    }

    /// Once more, at the link that the end names.
    pub(super) fn at_head(&self, head: Option<&Head>) -> Result<(), Fault> {
        match head {
            Some(head) if head.length == self.length && head.hash != self.hash => Err(Fault::Head),
            _ => Ok(()),
        }
    }

    /// The next link with its row, which is gone, or there and perhaps in a form that nobody can read.
    pub(super) fn step(
        &mut self,
        seal: &Seal,
        row: Option<&Result<audit_event::Model, DbErr>>,
    ) -> Result<(), Fault> {
        let seq = self.length + 1;
        if seal.seq != seq {
            return Err(Fault::SealRemoved(seq));
        }
        let key = self.key(&seal.link_key);
        let row = match row {
            None => return Err(Fault::Removed(seq, seal.audit_id)),
            Some(Err(_)) => return Err(Fault::Altered(seal.audit_id)),
            Some(Ok(row)) => row,
        };
        self.row(row)?;
        if let Some(key) = key {
            let content = Content::of(row.mac.as_deref(), row.mac_key.as_deref());
            let hash = key.link(&Link {
                tenant: self.tenant,
                before: &self.hash,
                seq,
                row: seal.audit_id,
                content: &content,
                sealed_at: seal.sealed_at,
            });
            if !mac::same(hash, &seal.hash) {
                return Err(Fault::Displaced(seq, seal.audit_id));
            }
        }
        self.length = seq;
        self.hash.clone_from(&seal.hash);
        Ok(())
    }

    /// A row that has no seal at `now`.
    pub(super) fn unsealed(
        &mut self,
        place: Place,
        row: Option<&Result<audit_event::Model, DbErr>>,
        now: DateTime<Utc>,
        grace: TimeDelta,
    ) -> Result<(), Fault> {
        match row {
            // It was there a moment ago.
            None => return Err(Fault::RemovedEarly(place.id)),
            Some(Err(_)) => return Err(Fault::Altered(place.id)),
            Some(Ok(row)) => self.row(row)?,
        }
        if place.created_at + grace >= now {
            return Ok(());
        }
        if !place.waits {
            return Err(Fault::Kept(place.id));
        }
        self.unchecked.get_or_insert_with(|| {
            format!(
                "row {} has waited for its seal since {}: no worker seals, or none can",
                place.id, place.created_at
            )
        });
        Ok(())
    }

    fn row(&self, row: &audit_event::Model) -> Result<(), Fault> {
        let id = row.id.0;
        // Ours have one, whatever else was cleared away.
        let (Some(there), Some(key)) = (&row.mac, &row.mac_key) else {
            return Err(Fault::Inserted(id));
        };
        match self.keys.get(key) {
            Some(key) if mac::same(key.row(row), there) => Ok(()),
            Some(_) => Err(Fault::Altered(id)),
            // Keys stay for as long as the trail: one that is none of ours is somebody's who has none, unless the
            // chain was continued with such a key as well.
            None if self.keys_missing => Ok(()),
            None => Err(Fault::Inserted(id)),
        }
    }

    /// The key of that name. Whether somebody made the name up or a key is missing here cannot be told.
    fn key(&mut self, name: &str) -> Option<&'a Key> {
        let key = self.keys.get(name);
        if key.is_none() {
            self.keys_missing = true;
            self.unchecked.get_or_insert_with(|| {
                format!(
                    "after {} a key is used that secrets.data_keys does not have: {name:?}",
                    self.length
                )
            });
        }
        key
    }
}
