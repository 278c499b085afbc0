//! A mail on its way.

use sea_orm::entity::prelude::*;

use super::MailState;
use crate::id::{MailId, TenantId, UserId};

/// A mail on its way.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "mails")]
pub struct Model {
    /// Its id.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: MailId,
    /// Whose it is.
    pub tenant_id: TenantId,
    /// The user it is for, where there is one.
    pub user_id: Option<UserId>,
    /// What it is.
    pub kind: String,
    /// See `mail::Message`.
    pub sealed: Vec<u8>,
    /// Of the token that it carries, without which it is of no use.
    pub token_hash: Option<Vec<u8>>,
    /// Its state.
    pub state: MailState,
    /// How many were made.
    pub attempts: i32,
    /// What went wrong last.
    pub last_error: Option<String>,
    /// When it is due; null when it is finished.
    pub next_attempt_at: Option<DateTimeUtc>,
    /// Not before then does the sweep look at it.
    pub sweep_at: DateTimeUtc,
    /// Until then a worker holds it.
    pub lease_until: Option<DateTimeUtc>,
    /// Counts the leases.
    pub generation: i32,
    /// When it was made.
    pub created_at: DateTimeUtc,
    /// When it reached its end.
    pub finished_at: Option<DateTimeUtc>,
}

impl ActiveModelBehavior for ActiveModel {}
