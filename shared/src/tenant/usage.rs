//! What a tenant has and does, for whoever plans or bills.

use chrono::{Days, NaiveDate};
use sea_orm::{DbErr, FromQueryResult, raw_sql};

use super::{TenantError, store};
use crate::{
    context::Context,
    id::TenantId,
    permission::{Authorized, SettingsRead, TenantsRead},
    postgres::{CrossTenant, Tx},
};

/// So many days are shown where nobody says.
pub const DEFAULT_DAYS: u32 = 30;
/// So many days can be asked for. Days are kept a little longer.
pub const MAX_DAYS: u32 = 366;

/// What a tenant did on a day (UTC).
#[derive(Clone, Debug, PartialEq, Eq, FromQueryResult)]
pub struct Day {
    /// The day.
    pub day: NaiveDate,
    /// Sessions that were begun.
    pub sign_ins: i64,
    /// Accounts that were made.
    pub registrations: i64,
    /// Sessions that went on.
    pub refreshes: i64,
    /// Mails that were queued.
    pub mails: i64,
    /// Events that happened, ours and the tenant's own.
    pub events: i64,
}

/// What a tenant has now.
#[derive(Clone, Debug, PartialEq, Eq, FromQueryResult)]
pub struct Totals {
    /// Accounts.
    pub users: i64,
    /// Sessions that go on.
    pub sessions: i64,
    /// Webhook endpoints.
    pub webhook_endpoints: i64,
    /// Domains, proven or not.
    pub domains: i64,
}

/// What a tenant has and does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TenantUsage {
    /// Newest first; a day on which nothing happened is absent.
    pub days: Vec<Day>,
    /// Now.
    pub totals: Totals,
}

/// The usage of the caller's own tenant on the latest `days`, today included.
///
/// # Errors
/// Only failures inside.
pub async fn own(
    context: &Context,
    caller: &Authorized<SettingsRead>,
    days: u32,
) -> Result<TenantUsage, TenantError> {
    let tenant = caller.principal().tenant;
    let tx = context.postgres.tenant(tenant).await?;
    read(context, &tx, tenant, days).await
}

/// The usage of any tenant.
///
/// # Errors
/// [`TenantError::NotFound`].
pub async fn of(
    context: &Context,
    _: &Authorized<TenantsRead>,
    id: TenantId,
    days: u32,
) -> Result<TenantUsage, TenantError> {
    let tx = context.postgres.cross_tenant(CrossTenant::Administration).await?;
    store::find(&tx, id).await?.ok_or(TenantError::NotFound)?;
    drop(tx);
    let tx = context.postgres.tenant(id).await?;
    read(context, &tx, id, days).await
}

async fn read(context: &Context, tx: &Tx, tenant: TenantId, days: u32) -> Result<TenantUsage, TenantError> {
    let today = context.clock.now().date_naive();
    let before = Days::new(u64::from(days.clamp(1, MAX_DAYS)) - 1);
    let since = today.checked_sub_days(before).unwrap_or(NaiveDate::MIN);
    Ok(TenantUsage {
        days: since_day(tx, tenant, since).await?,
        totals: totals(context, tx, tenant).await?,
    })
}

async fn since_day(tx: &Tx, tenant: TenantId, since: NaiveDate) -> Result<Vec<Day>, DbErr> {
    Day::find_by_statement(raw_sql!(
        Postgres,
        "SELECT day, sign_ins, registrations, refreshes, mails, events FROM tenant_usage
         WHERE tenant_id = {tenant} AND day >= {since} ORDER BY day DESC"
    ))
    .all(tx)
    .await
}

/// Each count is of one tenant's part of an index.
async fn totals(context: &Context, tx: &Tx, tenant: TenantId) -> Result<Totals, DbErr> {
    let now = context.clock.now();
    let counted = Totals::find_by_statement(raw_sql!(
        Postgres,
        "SELECT (SELECT count(*) FROM users WHERE tenant_id = {tenant}) AS users,
                (SELECT count(*) FROM sessions
                 WHERE tenant_id = {tenant} AND revoked_at IS NULL AND expires_at > {now}) AS sessions,
                (SELECT count(*) FROM webhook_endpoints
                 WHERE tenant_id = {tenant} AND deleted_at IS NULL) AS webhook_endpoints,
                (SELECT count(*) FROM tenant_domains WHERE tenant_id = {tenant}) AS domains"
    ));
    let none = || DbErr::RecordNotFound("a count has one row".to_owned());
    counted.one(tx).await?.ok_or_else(none)
}
