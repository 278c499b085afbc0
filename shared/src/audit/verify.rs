//! Verification of the trail, tenant by tenant and page by page: however long it is, little of it is in memory.
//!
//! It reads beside workers that go on sealing. A chain only grows, so that what was read stays true: its end is read
//! first, every link from the first one on, and last the rows that have none.

use std::time::Duration;

use chrono::TimeDelta;
use sea_orm::DbErr;
use uuid::Uuid;

use super::{
    mac::Keys,
    store,
    walk::{Fault, Verdict, Walk},
};
use crate::{context::Context, id::TenantId, postgres::CrossTenant};

/// Links, or rows, that are read at a time.
const PAGE: i64 = 1000;

/// What there is of a tenant's trail.
#[derive(Clone, Debug)]
pub struct Report {
    /// Whose it is.
    pub tenant: TenantId,
    /// How many rows are sealed, as far as everything fits.
    pub length: i64,
    /// The keyed hash of the last of them. Kept elsewhere, it tells later whether the whole database was set back.
    pub hash: Vec<u8>,
    /// Rows that wait for their seal.
    pub waiting: u64,
    /// Whether all is as it was written.
    pub verdict: Verdict,
}

/// A verification that is under way.
pub struct Verification<'a> {
    context: &'a Context,
    keys: Keys,
    grace: TimeDelta,
}

impl<'a> Verification<'a> {
    /// One in which a row may be without a seal for as long as `grace`.
    #[must_use]
    pub fn new(context: &'a Context, grace: Duration) -> Self {
        Self {
            context,
            keys: Keys::of(&context.config.secrets.data_keys),
            grace: TimeDelta::from_std(grace).unwrap_or(TimeDelta::MAX),
        }
    }

    /// The next tenant by its id that has a trail, deleted ones among them.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn next(&self, after: TenantId) -> Result<Option<TenantId>, DbErr> {
        let tx = self.context.postgres.cross_tenant(CrossTenant::Verify).await?;
        store::next_tenant(&tx, after).await
    }

    /// What there is of the tenant's trail; `at` is told of each link that fits, with its hash.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn tenant(
        &self,
        tenant: TenantId,
        mut at: impl FnMut(i64, &[u8]) -> Result<(), Fault>,
    ) -> Result<Report, DbErr> {
        let mut walk = Walk::new(&self.keys, tenant);
        let mut waiting = 0;
        let fault = match self.chain(&mut walk, tenant, &mut at).await? {
            Ok(()) => self.unsealed(&mut walk, tenant, &mut waiting).await?.err(),
            Err(fault) => Some(fault),
        };
        let verdict = fault.map_or_else(|| walk.verdict(), Verdict::Tampered);
        Ok(Report {
            tenant,
            length: walk.length,
            hash: walk.hash,
            waiting,
            verdict,
        })
    }

    async fn chain(
        &self,
        walk: &mut Walk<'_>,
        tenant: TenantId,
        at: &mut impl FnMut(i64, &[u8]) -> Result<(), Fault>,
    ) -> Result<Result<(), Fault>, DbErr> {
        let tx = self.context.postgres.tenant(tenant).await?;
        let (head, last) = store::head(&tx, tenant).await?;
        drop(tx);
        if let Err(fault) = walk.head(head.as_ref(), last) {
            return Ok(Err(fault));
        }
        loop {
            let tx = self.context.postgres.tenant(tenant).await?;
            let page = store::seals(&tx, tenant, walk.length, PAGE).await?;
            drop(tx);
            for (seal, row) in &page {
                let fits = walk
                    .step(seal, row.as_ref())
                    .and_then(|()| walk.at_head(head.as_ref()))
                    .and_then(|()| at(walk.length, &walk.hash));
                if fits.is_err() {
                    return Ok(fits);
                }
            }
            if page.len() < usize::try_from(PAGE).unwrap_or_default() {
                break;
            }
        }
        let length = head.map_or(0, |head| head.length);
        if walk.length < length {
            return Ok(Err(Fault::CutOff(walk.length, length)));
        }
        Ok(Ok(()))
    }

    async fn unsealed(
        &self,
        walk: &mut Walk<'_>,
        tenant: TenantId,
        waiting: &mut u64,
    ) -> Result<Result<(), Fault>, DbErr> {
        let mut after = Uuid::nil();
        loop {
            let tx = self.context.postgres.tenant(tenant).await?;
            let page = store::places(&tx, tenant, after, PAGE).await?;
            let now = self.context.clock.now();
            for place in page.iter().filter(|place| !place.sealed) {
                let row = store::row(&tx, tenant, place.id).await?;
                let fits = walk.unsealed(*place, row.as_ref(), now, self.grace);
                if fits.is_err() {
                    return Ok(fits);
                }
                *waiting += 1;
            }
            drop(tx);
            match page.last() {
                Some(last) if page.len() == usize::try_from(PAGE).unwrap_or_default() => after = last.id,
                _ => break,
            }
        }
        let tx = self.context.postgres.tenant(tenant).await?;
        Ok(match store::missing(&tx, tenant).await? {
            Some(row) => Err(Fault::RemovedEarly(row)),
            None => Ok(()),
        })
    }
}
