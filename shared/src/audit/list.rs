//! Reading the trail of one's own tenant.

use chrono::{DateTime, Utc};
use serde_json::json;
use uuid::Uuid;

use super::{Outcome, Record, record, store};
use crate::{
    context::Context,
    entity::audit_event::Model as AuditEvent,
    error::Internal,
    id::AuditId,
    page::{Page, PageRequest},
    permission::{AuditRead, Authorized},
    principal::Origin,
};

/// So many rows of an export are in memory at a time.
const PAGE: u32 = 500;

/// Which rows of the trail.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// Of one actor.
    pub actor_id: Option<Uuid>,
    /// Of one kind.
    pub action: Option<String>,
    /// On one thing.
    pub target_id: Option<Uuid>,
    /// Made then or later.
    pub since: Option<DateTime<Utc>>,
    /// Made earlier than that.
    pub until: Option<DateTime<Utc>>,
}

/// A page of the rows that pass the filter, newest first.
///
/// # Errors
/// Only failures inside.
pub async fn list(
    context: &Context,
    caller: &Authorized<AuditRead>,
    filter: &AuditFilter,
    page: PageRequest,
) -> Result<Page<AuditEvent>, Internal> {
    let tenant = caller.principal().tenant;
    let tx = context.postgres.tenant(tenant).await?;
    let rows = store::page(&tx, tenant, filter, page).await?;
    Ok(Page::cut(rows, page, |row| row.id.0))
}

/// Writes down that the trail is taken. Whoever calls goes on with [`export_page`].
///
/// # Errors
/// Only failures inside.
pub async fn begin_export(
    context: &Context,
    caller: &Authorized<AuditRead>,
    origin: &Origin,
) -> Result<(), Internal> {
    let tenant = caller.principal().tenant;
    let change = context.change(tenant, caller.actor(), origin).await?;
    let written = Record {
        action: "audit.export",
        target: None,
        outcome: Outcome::Success,
        detail: json!({}),
    };
    record(&change, written).await?;
    change.commit().await?;
    Ok(())
}

/// The rows older than that one that pass the filter, newest first; none are left when it is empty.
///
/// # Errors
/// Only failures inside.
pub async fn export_page(
    context: &Context,
    caller: &Authorized<AuditRead>,
    filter: &AuditFilter,
    before: Option<AuditId>,
) -> Result<Vec<AuditEvent>, Internal> {
    let tenant = caller.principal().tenant;
    let tx = context.postgres.tenant(tenant).await?;
    let page = PageRequest {
        limit: PAGE,
        before: before.map(|id| id.0),
    };
    Ok(store::page(&tx, tenant, filter, page).await?)
}
