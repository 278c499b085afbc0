//! Reading the trail of one's own tenant.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::{Outcome, Record, record, store};
use crate::{
    context::Context,
    entity::audit_event,
    error::Internal,
    id::AuditId,
    page::{Page, PageRequest},
    permission::{AuditRead, Authorized},
    principal::Origin,
};

/// So many rows of an export are in memory at a time.
const PAGE: u32 = 500;

/// A row of the trail.
#[derive(Clone, Debug, PartialEq)]
pub struct AuditEvent {
    /// Its id.
    pub id: AuditId,
    /// `user`, `api_key`, `anonymous` or `system`.
    pub actor_kind: String,
    /// Who did it.
    pub actor_id: Option<Uuid>,
    /// What was done.
    pub action: String,
    /// To what kind of thing.
    pub target_kind: Option<String>,
    /// To which.
    pub target_id: Option<Uuid>,
    /// `success` or `failure`.
    pub outcome: String,
    /// The request.
    pub request_id: Option<String>,
    /// Where it came from.
    pub address: Option<String>,
    /// What else is worth knowing.
    pub detail: Map<String, Value>,
    /// When it was done.
    pub created_at: DateTime<Utc>,
}

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

impl From<audit_event::Model> for AuditEvent {
    fn from(row: audit_event::Model) -> Self {
        let audit_event::Model {
            id,
            tenant_id: _,
            created_at,
            actor_kind,
            actor_id,
            action,
            target_kind,
            target_id,
            outcome,
            request_id,
            address,
            detail,
            mac: _,
            mac_key: _,
        } = row;
        let detail = match detail {
            Value::Object(fields) => fields,
            other => [("value".to_owned(), other)].into_iter().collect(),
        };
        Self {
            id,
            actor_kind,
            actor_id,
            action,
            target_kind,
            target_id,
            outcome,
            request_id,
            address,
            detail,
            created_at,
        }
    }
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
    Ok(Page::cut(rows, page, |row| row.id.0).map(AuditEvent::from))
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
    let rows = store::page(&tx, tenant, filter, page).await?;
    Ok(rows.into_iter().map(AuditEvent::from).collect())
}
