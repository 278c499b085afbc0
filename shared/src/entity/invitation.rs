//! Someone is asked to join a tenant.

use sea_orm::entity::prelude::*;

use crate::id::{ApiKeyId, InvitationId, TenantId, UserId};

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
    /// Who asked; none for the platform, and for a key that is nobody's.
    pub invited_by: Option<UserId>,
    /// The key that it was made with; that may be gone.
    pub api_key_id: Option<ApiKeyId>,
    /// When it was made.
    pub created_at: DateTimeUtc,
    /// Until when it can be accepted.
    pub expires_at: DateTimeUtc,
    /// When it was accepted.
    pub accepted_at: Option<DateTimeUtc>,
    /// When it was taken back, or another took its place.
    pub revoked_at: Option<DateTimeUtc>,
}

impl ActiveModelBehavior for ActiveModel {}
