//! A credential for machines.

use sea_orm::entity::prelude::*;

use super::KeyEnvironment;
use crate::id::{ApiKeyId, ServiceAccountId, TenantId, UserId};

/// A credential for machines.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "api_keys")]
pub struct Model {
    /// Its id.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: ApiKeyId,
    /// Whose it is.
    pub tenant_id: TenantId,
    /// SHA-256 of the whole key.
    pub hash: Vec<u8>,
    /// What of it may be shown.
    pub hint: String,
    /// For people.
    pub name: String,
    /// What it is meant for.
    pub environment: KeyEnvironment,
    /// What it may do, as far as its owner may.
    pub scopes: Vec<String>,
    /// The owner, if that is a user.
    pub user_id: Option<UserId>,
    /// The owner, if that is a service account.
    pub service_account_id: Option<ServiceAccountId>,
    /// Where it may be used from; empty for anywhere.
    pub allowed_cidrs: Vec<String>,
    /// So many uses …
    pub rate_count: Option<i32>,
    /// … in so many seconds.
    pub rate_seconds: Option<i32>,
    /// What the tenant keeps with it.
    pub metadata: Json,
    /// When it was made.
    pub created_at: DateTimeUtc,
    /// When it last changed.
    pub updated_at: DateTimeUtc,
    /// It ends then in any case.
    pub expires_at: Option<DateTimeUtc>,
    /// The key whose place it took.
    pub rotated_from: Option<ApiKeyId>,
    /// The key that has taken its place.
    pub rotated_to: Option<ApiKeyId>,
    /// Until when it works beside the one that has taken its place.
    pub retires_at: Option<DateTimeUtc>,
    /// When it was revoked.
    pub revoked_at: Option<DateTimeUtc>,
    /// Why.
    pub revoke_reason: Option<String>,
    /// When it was last used.
    pub last_used_at: Option<DateTimeUtc>,
    /// When it was told that it will expire.
    pub expiry_told_at: Option<DateTimeUtc>,
}

impl ActiveModelBehavior for ActiveModel {}
