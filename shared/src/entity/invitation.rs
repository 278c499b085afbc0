//! Someone is asked to join a tenant.

use sea_orm::entity::prelude::*;

use crate::id::{InvitationId, TenantId, UserId};

/// Someone is asked to join a tenant.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "invitations")]
pub struct Model {
    /// Its id.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: InvitationId,
    /// Whose it is.
    pub tenant_id: TenantId,
    /// As it was written.
    pub email: String,
    /// The form that is compared.
    pub email_canonical: String,
    /// Granted on acceptance.
    pub role_ids: Vec<Uuid>,
    /// Who asked.
    pub invited_by: Option<UserId>,
    /// When it was made.
    pub created_at: DateTimeUtc,
    /// When it was accepted.
    pub accepted_at: Option<DateTimeUtc>,
}

impl ActiveModelBehavior for ActiveModel {}
