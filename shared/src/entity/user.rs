//! A person in one tenant.

use sea_orm::entity::prelude::*;

use super::UserStatus;
use crate::id::{ApiKeyId, TenantId, UserId};

/// A person in one tenant.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "users")]
pub struct Model {
    /// Its id.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: UserId,
    /// Whose it is.
    pub tenant_id: TenantId,
    /// As it was written.
    pub email: String,
    /// The form that is unique in the tenant.
    pub email_canonical: String,
    /// Its name.
    pub name: Option<String>,
    /// A PHC string.
    pub password_hash: String,
    /// The same of a password that somebody registered with though there was this account, with this account's salt and
    /// cost; of one who registered at the same moment, with others. It lets nobody in.
    pub decoy_hash: Option<String>,
    /// Its state.
    pub status: UserStatus,
    /// When the address was proven by a mail to it, or an administrator said that it is the user's.
    pub email_verified_at: Option<DateTimeUtc>,
    /// Whether it was proven by a mail.
    pub email_proven: bool,
    /// The address that is to take the place of the present one, once it is proven.
    pub pending_email: Option<String>,
    /// Who asked for that, where it was another user.
    pub pending_email_by: Option<UserId>,
    /// The API key that it was asked for with.
    pub pending_email_key: Option<ApiKeyId>,
    /// When another password was set last; null if the account was made with it. Another hash of the same password is
    /// none.
    pub password_changed_at: Option<DateTimeUtc>,
    /// Whether the password was ended, and none was chosen since.
    pub password_ended: bool,
    /// What another system calls it.
    pub external_id: Option<String>,
    /// A keyed hash of the line that it was imported from, if it was.
    pub import_mac: Option<Vec<u8>>,
    /// When it was made.
    pub created_at: DateTimeUtc,
    /// When it last changed.
    pub updated_at: DateTimeUtc,
}

impl ActiveModelBehavior for ActiveModel {}
