//! When sessions were last seen, kept in memory and written down together.
//!
//! The check of a request notes its session here, which costs a look-up. Each session is noted once a minute at
//! most; all that were noted are written in one statement.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use moka::sync::Cache;
use sea_orm::DbErr;

use super::store;
use crate::{
    id::{SessionId, TenantId},
    postgres::{CrossTenant, Postgres},
};

const CAPACITY: u64 = 200_000;
/// To know it more finely helps nobody.
const RESOLUTION: TimeDelta = TimeDelta::minutes(1);
/// Longer than the resolution: what is forgotten sooner would be noted again.
const MEMORY: Duration = Duration::from_mins(2);

/// What waits to be written.
pub struct LastSeen {
    noted: Cache<SessionId, DateTime<Utc>>,
    waiting: Mutex<HashMap<SessionId, (TenantId, DateTime<Utc>)>>,
}

impl Default for LastSeen {
    fn default() -> Self {
        Self {
            noted: Cache::builder()
                .max_capacity(CAPACITY)
                .time_to_live(MEMORY)
                .build(),
            waiting: Mutex::default(),
        }
    }
}

impl LastSeen {
    /// Notes that the session was used.
    pub fn note(&self, tenant: TenantId, session: SessionId, now: DateTime<Utc>) {
        if self.noted.get(&session).is_some_and(|at| now - at < RESOLUTION) {
            return;
        }
        self.noted.insert(session, now);
        self.waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(session, (tenant, now));
    }

    /// Writes down what was noted. What cannot be written is dropped: its sessions will be seen again.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn flush(&self, postgres: &Postgres) -> Result<(), DbErr> {
        let waiting = std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        if waiting.is_empty() {
            return Ok(());
        }
        let (mut tenants, mut sessions, mut times) = (Vec::new(), Vec::new(), Vec::new());
        for (session, (tenant, at)) in waiting {
            tenants.push(tenant.0);
            sessions.push(session.0);
            times.push(at);
        }
        let tx = postgres.cross_tenant(CrossTenant::LastSeen).await?;
        store::seen(&tx, tenants, sessions, times).await?;
        tx.commit().await
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_session_is_noted_once_a_minute() {
        let seen = LastSeen::default();
        let (tenant, session) = (TenantId(Uuid::nil()), SessionId(Uuid::from_u128(1)));
        let noted = |seconds: i64| {
            let at = DateTime::UNIX_EPOCH + TimeDelta::seconds(seconds);
            seen.note(tenant, session, at);
            seen.waiting.lock().unwrap().remove(&session).is_some()
        };
        let noted: Vec<bool> = [0, 1, 59, 60, 61, 121].map(noted).to_vec();
        assert_eq!(noted, [true, false, false, true, false, true]);
    }
}
