//! How often keys are used and when they were last, kept in memory and written down together.
//!
//! A use costs a look-up in a map. All of a while are written in one statement; the first use of a key ever is written
//! at once, because somebody waits to see whether the key they have just put somewhere works.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use chrono::{DateTime, DurationRound, TimeDelta, Utc};
use sea_orm::DbErr;
use tokio::sync::Notify;

use super::{Known, store};
use crate::{
    id::{ApiKeyId, TenantId},
    postgres::{CrossTenant, Postgres},
};

/// Keys and hours that wait to be written. Beyond that what is new is not counted: the database has been away for long.
const CAPACITY: usize = 200_000;

/// What came of a use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The key was good.
    Verified,
    /// It was refused.
    Denied,
}

/// What a key was used within an hour.
#[derive(Clone, Copy, Debug)]
pub(super) struct Uses {
    pub(super) tenant: TenantId,
    pub(super) verified: i64,
    pub(super) denied: i64,
    pub(super) last_at: DateTime<Utc>,
}

/// What waits to be written.
#[derive(Default)]
pub struct KeyUsage {
    waiting: Mutex<HashMap<(ApiKeyId, DateTime<Utc>), Uses>>,
    first: Notify,
}

impl KeyUsage {
    /// Counts a use.
    pub fn note(&self, known: &Known, outcome: Outcome, now: DateTime<Utc>) {
        let uses = Uses {
            tenant: known.tenant,
            verified: i64::from(outcome == Outcome::Verified),
            denied: i64::from(outcome == Outcome::Denied),
            last_at: now,
        };
        self.add(known.id, hour(now), uses);
        if outcome == Outcome::Verified && known.is_first_use() {
            self.first.notify_one();
        }
    }

    fn add(&self, key: ApiKeyId, hour: DateTime<Utc>, more: Uses) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() >= CAPACITY && !waiting.contains_key(&(key, hour)) {
            return;
        }
        let uses = waiting.entry((key, hour)).or_insert(Uses {
            verified: 0,
            denied: 0,
            ..more
        });
        uses.verified += more.verified;
        uses.denied += more.denied;
        uses.last_at = uses.last_at.max(more.last_at);
    }

    /// Waits for a key that was never used before.
    pub async fn first_use(&self) {
        self.first.notified().await;
    }

    /// Writes down what was counted. What cannot be written waits for the next time.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn flush(&self, postgres: &Postgres) -> Result<(), DbErr> {
        let waiting = std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        if waiting.is_empty() {
            return Ok(());
        }
        let written = write(postgres, &waiting).await;
        if written.is_err() {
            for ((key, hour), uses) in waiting {
                self.add(key, hour, uses);
            }
        }
        written
    }
}

async fn write(postgres: &Postgres, waiting: &HashMap<(ApiKeyId, DateTime<Utc>), Uses>) -> Result<(), DbErr> {
    let tx = postgres.cross_tenant(CrossTenant::LastSeen).await?;
    store::used(&tx, waiting).await?;
    tx.commit().await
}

fn hour(now: DateTime<Utc>) -> DateTime<Utc> {
    now.duration_trunc(TimeDelta::hours(1)).unwrap_or(now)
}
