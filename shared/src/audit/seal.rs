//! Sealing: what waits is appended to its tenant's chain.
//!
//! A chain belongs to one worker for one transaction: its row is locked, and a worker that finds it locked goes on with
//! another tenant's. A worker that dies has appended nothing. What waits stands in a table of its own, from the very
//! transaction that wrote the row: one that commits late is found when it does.
//!
//! Before a chain is continued, its head must prove to be ours: to seal on after a chain that was cut off would hide
//! the cut.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use sea_orm::DbErr;
use uuid::Uuid;

use super::{
    mac::{self, Content, Key, Keys, Link},
    store,
};
use crate::{context::Context, id::TenantId, postgres::CrossTenant};

/// A tenant with rows to seal.
#[derive(Clone, Copy, Debug)]
pub struct Waiting {
    /// Whose they are.
    pub tenant: TenantId,
    /// When the first of them was made.
    pub since: DateTime<Utc>,
}

/// What was sealed.
#[derive(Clone, Debug, Default)]
pub struct Sealed {
    /// So many rows.
    pub rows: u64,
    /// Whether some tenant may have more.
    pub more: bool,
    /// Chains whose head is not ours: they were left as they are.
    pub broken: Vec<TenantId>,
}

/// Up to `limit` tenants that have rows to seal, of those that come after the given one by their id.
///
/// # Errors
/// When the database does not answer.
pub async fn waiting(context: &Context, after: TenantId, limit: u32) -> Result<Vec<Waiting>, DbErr> {
    let tx = context.postgres.cross_tenant(CrossTenant::Seal).await?;
    store::waiting(&tx, after, limit).await
}

/// Seals rows of those tenants in one transaction, some `rows` in all, which the tenants share alike. Chains that
/// another worker has in hand are left to it.
///
/// # Errors
/// When the database does not answer, or refuses; nothing is sealed then.
pub async fn seal(context: &Context, tenants: &[TenantId], rows: usize) -> Result<Sealed, DbErr> {
    let ring = &context.config.secrets.data_keys;
    let (keys, key) = (Keys::of(ring), Key::of(ring.current()));
    let share = rows.div_ceil(tenants.len().max(1));
    let tx = context.postgres.cross_tenant(CrossTenant::Seal).await?;
    let beginnings: Vec<store::Head> = tenants
        .iter()
        .map(|tenant| head(&key, *tenant, 0, mac::START.to_vec()))
        .collect();
    store::begin_chains(&tx, &beginnings).await?;
    let mut sealed = Sealed::default();
    let mut ends = Open::new();
    for end in store::lock_chains(&tx, tenants).await? {
        if is_ours(&keys, &end) {
            ends.insert(end.tenant_id.0, end);
        } else {
            sealed.broken.push(end.tenant_id);
        }
    }
    if ends.is_empty() {
        return Ok(sealed);
    }
    let held: Vec<Uuid> = ends.keys().copied().collect();
    let queued = store::queued(&tx, &held, share).await?;
    let contents = contents(&queued);
    let append = extend(&key, &mut ends, context.clock.now(), &queued, &contents);
    sealed.rows = append.links();
    let mut counts: BTreeMap<Uuid, usize> = BTreeMap::new();
    for row in &queued {
        *counts.entry(row.tenant_id.0).or_default() += 1;
    }
    sealed.more = counts.values().any(|count| *count == share);
    store::append(&tx, append).await?;
    let moved = ends.values().filter(|end| counts.contains_key(&end.tenant_id.0));
    store::set_heads(&tx, moved).await?;
    tx.commit().await?;
    Ok(sealed)
}

/// Ends of chains, a page of them by their tenants.
#[derive(Clone, Debug, Default)]
pub struct Ends {
    /// So many the current data key has signed.
    pub already: u64,
    /// Whose another one has.
    pub others: Vec<TenantId>,
    /// The last tenant of the page, if it has any.
    pub last: Option<TenantId>,
}

/// Up to `limit` ends, of tenants that come after the given one by their id.
///
/// # Errors
/// When the database does not answer.
pub async fn ends(context: &Context, after: TenantId, limit: u32) -> Result<Ends, DbErr> {
    let current = &context.config.secrets.data_keys.current().id;
    let tx = context.postgres.cross_tenant(CrossTenant::Reseal).await?;
    let mut page = Ends::default();
    for (tenant, key) in store::ends(&tx, after, limit).await? {
        page.last = Some(tenant);
        if key == *current {
            page.already += 1;
        } else {
            page.others.push(tenant);
        }
    }
    Ok(page)
}

/// Ends that were looked at.
#[derive(Clone, Debug)]
pub struct SignedEnds {
    /// So many were signed anew.
    pub ends: u64,
    /// Whose are not ours, or of a key that is missing: they were left as they are.
    pub broken: Vec<TenantId>,
}

/// Has the current data key sign the ends of these chains, where they prove to be ours. Those that a worker has in hand are
/// left to it.
///
/// # Errors
/// When the database does not answer; nothing was signed then.
pub async fn sign_ends_anew(context: &Context, tenants: &[TenantId]) -> Result<SignedEnds, DbErr> {
    let ring = &context.config.secrets.data_keys;
    let (keys, key) = (Keys::of(ring), Key::of(ring.current()));
    let tx = context.postgres.cross_tenant(CrossTenant::Reseal).await?;
    let locked = store::lock_chains(&tx, tenants).await?;
    let (ours, others): (Vec<_>, Vec<_>) = locked.into_iter().partition(|end| is_ours(&keys, end));
    let anew: Vec<store::Head> = ours
        .into_iter()
        .map(|end| head(&key, end.tenant_id, end.length, end.hash))
        .collect();
    store::set_heads(&tx, anew.iter()).await?;
    tx.commit().await?;
    Ok(SignedEnds {
        ends: anew.len() as u64,
        broken: others.into_iter().map(|end| end.tenant_id).collect(),
    })
}

/// Where the chains of tenants have got to.
type Open = BTreeMap<Uuid, store::Head>;

/// The links for what is queued, each on the end that it makes anew.
fn extend(
    key: &Key,
    ends: &mut Open,
    now: DateTime<Utc>,
    queued: &[store::Queued],
    contents: &[Option<Content>],
) -> store::Append {
    let mut append = store::Append::at(now, &key.id);
    for (row, said) in queued.iter().zip(contents) {
        let Some(end) = ends.get_mut(&row.tenant_id.0) else {
            continue;
        };
        append.done(row);
        // Without content: sealed before, and queued again by somebody.
        let Some(said) = said else { continue };
        let seq = end.length + 1;
        let link = Link {
            tenant: row.tenant_id,
            before: &end.hash,
            seq,
            row: row.audit_id,
            content: said,
            sealed_at: now,
        };
        let hash = key.link(&link).to_vec();
        append.link(row, seq, hash.clone());
        *end = head(key, row.tenant_id, seq, hash);
    }
    append
}

fn head(key: &Key, tenant: TenantId, length: i64, hash: Vec<u8>) -> store::Head {
    store::Head {
        tenant_id: tenant,
        length,
        mac: key.head(tenant, length, &hash).to_vec(),
        hash,
        key_id: key.id.clone(),
    }
}

/// Whether a worker of ours has left the head there.
pub(super) fn is_ours(keys: &Keys, head: &store::Head) -> bool {
    keys.get(&head.key_id)
        .is_some_and(|key| mac::same(key.head(head.tenant_id, head.length, &head.hash), &head.mac))
}

/// What the links of these rows hold; none of those that have one already. A row without a keyed hash, or that nobody can
/// read, is not ours, and counts as none.
fn contents(queued: &[store::Queued]) -> Vec<Option<Content>> {
    let content = |row: &store::Queued| Content::of(row.mac.as_deref(), row.mac_key.as_deref());
    queued
        .iter()
        .map(|row| (!row.sealed).then(|| content(row)))
        .collect()
}
