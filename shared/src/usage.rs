//! What tenants do, counted by the day.
//!
//! A change adds to these counts in memory once it has committed, and each process writes its own down together now and
//! then: counting costs a request no statement. A process that is killed takes along what it had not written, half a
//! minute's worth at most; who bills by these figures bills a moment too little.
//!
//! What must never happen: a request that waits for its counting; memory that grows with requests.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use chrono::NaiveDate;
use sea_orm::{ConnectionTrait, DbErr, raw_sql};
use uuid::Uuid;

use crate::{
    id::TenantId,
    postgres::{CrossTenant, Postgres},
};

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counter {
    /// Sessions that were begun.
    SignIns,
    /// Accounts that were made.
    Registrations,
    /// Sessions that went on.
    Refreshes,
    /// Mails that were queued.
    Mails,
    /// Events that happened, ours and the tenant's own.
    Events,
}

/// So much of each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Sessions that were begun.
    pub sign_ins: i64,
    /// Accounts that were made.
    pub registrations: i64,
    /// Sessions that went on.
    pub refreshes: i64,
    /// Mails that were queued.
    pub mails: i64,
    /// Events that happened.
    pub events: i64,
}

impl Counts {
    /// Counts something.
    pub fn add(&mut self, counter: Counter, times: usize) {
        let count = match counter {
            Counter::SignIns => &mut self.sign_ins,
            Counter::Registrations => &mut self.registrations,
            Counter::Refreshes => &mut self.refreshes,
            Counter::Mails => &mut self.mails,
            Counter::Events => &mut self.events,
        };
        *count = count.saturating_add(i64::try_from(times).unwrap_or(i64::MAX));
    }

    fn add_all(&mut self, other: &Self) {
        let Self {
            sign_ins,
            registrations,
            refreshes,
            mails,
            events,
        } = other;
        self.sign_ins = self.sign_ins.saturating_add(*sign_ins);
        self.registrations = self.registrations.saturating_add(*registrations);
        self.refreshes = self.refreshes.saturating_add(*refreshes);
        self.mails = self.mails.saturating_add(*mails);
        self.events = self.events.saturating_add(*events);
    }
}

/// What this process has counted and not written down yet: one entry for each tenant that did something, and day.
#[derive(Debug, Default)]
pub struct Usage(Mutex<HashMap<(TenantId, NaiveDate), Counts>>);

impl Usage {
    /// Adds what a tenant did on a day.
    pub fn add(&self, tenant: TenantId, day: NaiveDate, counts: &Counts) {
        if *counts == Counts::default() {
            return;
        }
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.entry((tenant, day)).or_default().add_all(counts);
    }

    /// Writes down what was counted, in one statement.
    ///
    /// # Errors
    /// When the database does not answer; then it is all written the next time.
    pub async fn flush(&self, postgres: &Postgres) -> Result<(), DbErr> {
        let waiting = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        if waiting.is_empty() {
            return Ok(());
        }
        let written = write(postgres, &waiting).await;
        if written.is_err() {
            for ((tenant, day), counts) in &waiting {
                self.add(*tenant, *day, counts);
            }
        }
        written
    }
}

async fn write(postgres: &Postgres, counted: &HashMap<(TenantId, NaiveDate), Counts>) -> Result<(), DbErr> {
    let tenants: Vec<Uuid> = counted.keys().map(|(tenant, _)| tenant.0).collect();
    let days: Vec<NaiveDate> = counted.keys().map(|(_, day)| *day).collect();
    let column = |of: fn(&Counts) -> i64| counted.values().map(of).collect::<Vec<i64>>();
    let sign_ins = column(|counts| counts.sign_ins);
    let registrations = column(|counts| counts.registrations);
    let refreshes = column(|counts| counts.refreshes);
    let mails = column(|counts| counts.mails);
    let events = column(|counts| counts.events);
    let tx = postgres.cross_tenant(CrossTenant::Usage).await?;
    // In one order, so that no two processes wait for each other. A tenant that is gone counts no more.
    tx.execute_raw(raw_sql!(
        Postgres,
        "INSERT INTO tenant_usage AS u (tenant_id, day, sign_ins, registrations, refreshes, mails, events)
         SELECT n.tenant_id, n.day, n.sign_ins, n.registrations, n.refreshes, n.mails, n.events
         FROM unnest({tenants}::uuid[], {days}::date[], {sign_ins}::bigint[], {registrations}::bigint[],
                     {refreshes}::bigint[], {mails}::bigint[], {events}::bigint[])
              AS n (tenant_id, day, sign_ins, registrations, refreshes, mails, events)
         JOIN tenants t ON t.id = n.tenant_id
         ORDER BY n.tenant_id, n.day
         ON CONFLICT (tenant_id, day) DO UPDATE SET
             sign_ins = u.sign_ins + excluded.sign_ins,
             registrations = u.registrations + excluded.registrations,
             refreshes = u.refreshes + excluded.refreshes,
             mails = u.mails + excluded.mails,
             events = u.events + excluded.events"
    ))
    .await?;
    tx.commit().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_and_a_day_are_one_entry_however_much_is_counted() {
        let usage = Usage::default();
        let (acme, globex) = (TenantId(Uuid::from_u128(1)), TenantId(Uuid::from_u128(2)));
        let day = NaiveDate::from_ymd_opt(2026, 11, 25).unwrap();
        for tenant in [acme, acme, globex] {
            let mut counts = Counts::default();
            counts.add(Counter::SignIns, 1);
            counts.add(Counter::Events, 2);
            usage.add(tenant, day, &counts);
        }
        usage.add(acme, day.succ_opt().unwrap(), &Counts::default());
        let waiting = usage.0.lock().unwrap();
        assert_eq!(waiting.len(), 2);
        let acme = waiting[&(acme, day)];
        assert_eq!((acme.sign_ins, acme.events, acme.mails), (2, 4, 0));
    }
}
