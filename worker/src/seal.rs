//! The sealer: appends what was written to the audit trail to its tenants' chains, within a second.
//!
//! Every worker seals; chains that another one has in hand are skipped. Tenants take turns in rounds and share each
//! transaction, so that one with very much to seal holds up nobody. Redis has no part in it.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use latchkey_shared::{
    audit::{self, Sealed},
    context::Context,
    id::TenantId,
};
use metrics::{counter, gauge};
use sea_orm::{DbErr, SqlErr};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::WorkerError;

const INTERVAL: Duration = Duration::from_millis(400);
/// Tenants of one transaction.
const TENANTS: u32 = 100;
/// Rows of one transaction.
const ROWS: usize = 2000;
/// A chain that cannot be continued is left alone for so long: it takes a person to look at it.
const PAUSE: Duration = Duration::from_secs(30);

/// Seals until the shutdown. No failure ends it.
pub(crate) async fn run(context: Context, shutdown: CancellationToken) -> Result<(), WorkerError> {
    failed(0);
    let mut sealer = Sealer {
        context,
        paused: HashMap::new(),
    };
    let mut ticks = tokio::time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while shutdown.run_until_cancelled(ticks.tick()).await.is_some() {
        while !shutdown.is_cancelled() {
            match sealer.round(&shutdown).await {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => {
                    failed(1);
                    tracing::warn!(%error, "sealing the audit trail failed");
                    break;
                }
            }
        }
    }
    Ok(())
}

struct Sealer {
    context: Context,
    paused: HashMap<TenantId, Instant>,
}

impl Sealer {
    /// One turn of every tenant that has rows to seal; whether there may be more of them.
    async fn round(&mut self, shutdown: &CancellationToken) -> Result<bool, DbErr> {
        self.paused.retain(|_, since| since.elapsed() < PAUSE);
        let (mut after, mut oldest, mut more) = (TenantId(Uuid::nil()), None, false);
        while !shutdown.is_cancelled() {
            let page = audit::waiting(&self.context, after, TENANTS).await?;
            oldest = oldest
                .into_iter()
                .chain(page.iter().map(|waiting| waiting.since))
                .min();
            let tenants: Vec<TenantId> = page
                .iter()
                .map(|waiting| waiting.tenant)
                .filter(|tenant| !self.paused.contains_key(tenant))
                .collect();
            if !tenants.is_empty() {
                more |= self.seal(&tenants).await?;
            }
            match page.last() {
                Some(last) if page.len() == TENANTS as usize => after = last.tenant,
                _ => break,
            }
        }
        let age = oldest.map(|oldest| self.context.clock.now() - oldest);
        let age = age.and_then(|age| age.to_std().ok()).unwrap_or_default();
        gauge!("latchkey_audit_oldest_unsealed_seconds").set(age.as_secs_f64());
        Ok(more)
    }

    async fn seal(&mut self, tenants: &[TenantId]) -> Result<bool, DbErr> {
        match audit::seal(&self.context, tenants, ROWS).await {
            Ok(sealed) => Ok(self.sealed(sealed)),
            // Somebody else's seal stands in the place of one of ours. Whose chain it is in shows one by one.
            Err(error) if is_conflict(&error) => {
                let mut more = false;
                for tenant in tenants {
                    match audit::seal(&self.context, &[*tenant], ROWS).await {
                        Ok(sealed) => more |= self.sealed(sealed),
                        Err(error) if is_conflict(&error) => self.pause(*tenant),
                        Err(error) => return Err(error),
                    }
                }
                Ok(more)
            }
            Err(error) => Err(error),
        }
    }

    fn sealed(&mut self, sealed: Sealed) -> bool {
        let Sealed { rows, more, broken } = sealed;
        counter!("latchkey_audit_sealed_total").increment(rows);
        for tenant in broken {
            self.pause(tenant);
        }
        more
    }

    fn pause(&mut self, tenant: TenantId) {
        failed(1);
        tracing::error!(%tenant, "the audit trail's chain cannot be continued; `latchkey-api audit verify` says why");
        self.paused.insert(tenant, Instant::now());
    }
}

/// Also never, so that the first time is seen as a rise.
fn failed(times: u64) {
    counter!("latchkey_audit_seal_failures_total").increment(times);
}

fn is_conflict(error: &DbErr) -> bool {
    matches!(error.sql_err(), Some(SqlErr::UniqueConstraintViolation(_)))
}
