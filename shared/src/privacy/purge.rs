//! Forgetting a tenant whose grace period is over.
//!
//! The classification names every table, in the order in which rows can go; each is emptied of the tenant's rows in
//! small batches, each batch in a transaction of its own that sees this tenant and no other. Last goes the tenant
//! itself, and its slug is free again. What stays is the audit trail with its seals, in which nobody but the platform
//! can read any more: nothing refers from it to the tenant, so that no cascade reaches it. Signals end by themselves
//! within an hour.
//!
//! To purge twice, or by several workers at once, does no harm: one worker holds the tenant's row for a batch, and the
//! others leave that tenant to it.

use sea_orm::DbErr;
use serde_json::json;

use super::{classification::TABLES, store};
use crate::{
    audit::{self, Record},
    context::Context,
    id::TenantId,
    postgres::CrossTenant,
    principal::{Actor, Origin},
    signal::SignalKind,
};

/// Tables of which a tenant's rows stay, or go last.
const KEPT: [&str; 7] = [
    "audit_events",
    "audit_seals",
    "audit_chains",
    "audit_unsealed",
    "signals",
    "tenants",
    "seaql_migrations",
];

/// So many tenants are looked at in one go.
const TENANTS: u32 = 10;

/// What became of a tenant that is being removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Nothing of it is left.
    Gone,
    /// The time was up, or another worker has it.
    Left,
}

/// Removes the tenants whose grace period is over, until none is left or `stop` says so; how many are gone. Each
/// statement removes at most `limit` rows of a table, and what hangs on them.
///
/// # Errors
/// When the database does not say which tenants those are.
pub async fn purge_tenants(context: &Context, limit: u32, stop: impl Fn() -> bool) -> Result<u64, DbErr> {
    let mut gone = 0;
    loop {
        let tx = context.postgres.cross_tenant(CrossTenant::Sweep).await?;
        let due = store::due_tenants(&tx, context.clock.now(), TENANTS).await?;
        drop(tx);
        let before = gone;
        for tenant in due {
            match purge(context, tenant, limit, &stop).await {
                Ok(Step::Gone) => gone += 1,
                Ok(Step::Left) => {}
                // One that cannot be removed does not keep the others.
                Err(error) => {
                    tracing::warn!(%tenant, %error, "a deleted tenant is removed with the next run");
                }
            }
        }
        if gone == before {
            return Ok(gone);
        }
    }
}

async fn purge(
    context: &Context,
    tenant: TenantId,
    limit: u32,
    stop: &impl Fn() -> bool,
) -> Result<Step, DbErr> {
    if !begin(context, tenant).await? {
        return Ok(Step::Left);
    }
    for table in TABLES.iter().filter(|table| !KEPT.contains(&table.name)) {
        loop {
            if stop() {
                return Ok(Step::Left);
            }
            let tx = context.postgres.tenant(tenant).await?;
            if !store::hold_purging(&tx, tenant).await? {
                return Ok(Step::Left);
            }
            let removed = store::remove_some(&tx, tenant, table, limit).await?;
            tx.commit().await?;
            if removed < u64::from(limit) {
                break;
            }
        }
    }
    finish(context, tenant).await
}

/// From here on the tenant does not come back. Whether it is due at all, and no other worker's at this moment.
async fn begin(context: &Context, tenant: TenantId) -> Result<bool, DbErr> {
    let origin = Origin::default();
    let mut change = context.change(tenant, Actor::System, &origin).await?;
    if store::begin_purge(&change.tx, tenant, change.now).await? {
        audit::record(
            &change,
            Record::success("tenant.purge", "tenant", tenant.0, json!({})),
        )
        .await?;
        change.signal(SignalKind::TenantChanged, tenant.0).await?;
        change.commit().await?;
        return Ok(true);
    }
    store::hold_purging(&change.tx, tenant).await
}

async fn finish(context: &Context, tenant: TenantId) -> Result<Step, DbErr> {
    let origin = Origin::default();
    let mut change = context.change(tenant, Actor::System, &origin).await?;
    if !store::remove_tenant(&change.tx, tenant).await? {
        return Ok(Step::Left);
    }
    audit::record(
        &change,
        Record::success("tenant.purged", "tenant", tenant.0, json!({})),
    )
    .await?;
    // The slug is free: whoever remembers whose it was must ask again.
    change.signal(SignalKind::TenantChanged, tenant.0).await?;
    change.commit().await?;
    tracing::info!(%tenant, "a deleted tenant is gone");
    Ok(Step::Gone)
}
