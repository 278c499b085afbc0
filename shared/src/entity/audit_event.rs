//! One row of the audit trail.

use sea_orm::entity::prelude::*;

use crate::id::{AuditId, TenantId};

/// One row of the audit trail.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "audit_events")]
pub struct Model {
    /// Its id.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: AuditId,
    /// Whose it is.
    pub tenant_id: TenantId,
    /// When it was made.
    pub created_at: DateTimeUtc,
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
    /// The client's address.
    pub address: Option<String>,
    /// Non-secret fields only.
    pub detail: Json,
    /// Of all the other columns; none of rows from before there were any.
    pub mac: Option<Vec<u8>>,
    /// The id of the key it was made with.
    pub mac_key: Option<String>,
}

impl ActiveModelBehavior for ActiveModel {}
