//! Users: people in one tenant.
//!
//! A user is `active` or `disabled`, and has an address that is verified or not: proven by a mail to it, or on the word
//! of an administrator, which opens the way in and proves nothing of whoever knows the password. The address has one
//! canonical form, which is unique in the tenant; a pending one takes its place once it is proven. What a password must be, one-time
//! tokens and invitations, the ways for a mail to come back as a proof, live here too.
//!
//! Whoever changes a user and what belongs to the user writes or holds the user's row first. Two changes then take
//! turns and never wait for each other.
//!
//! What must never happen: two spellings of one address as two accounts; a token that works twice, for another
//! address, or after a newer one was sent; a password that was replaced and still opens something.

mod common;
pub mod email;
pub mod invitation;
pub mod one_time;
pub mod password;
pub(crate) mod store;

pub use self::{
    email::{Email, InvalidEmail},
    password::{NewPassword, Rules, WeakPassword},
};
pub use crate::entity::UserStatus;

use chrono::{DateTime, Utc};

use crate::{context::Change, entity::user, id::UserId};

/// A user as others may see it: without the hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The user's id.
    pub id: UserId,
    /// As it was written.
    pub email: String,
    /// What the user goes by.
    pub name: Option<String>,
    /// Whether the user may sign in.
    pub status: UserStatus,
    /// When the address was proven, or an administrator said that it is the user's.
    pub email_verified_at: Option<DateTime<Utc>>,
    /// The address that is to take its place, once it is proven.
    pub pending_email: Option<String>,
    /// When the account was made.
    pub created_at: DateTime<Utc>,
    /// When it last changed.
    pub updated_at: DateTime<Utc>,
}

impl From<user::Model> for User {
    fn from(row: user::Model) -> Self {
        let user::Model {
            id,
            tenant_id: _,
            email,
            email_canonical: _,
            name,
            password_hash: _,
            decoy_hash: _,
            status,
            email_verified_at,
            email_proven: _,
            pending_email,
            pending_email_by: _,
            pending_email_key: _,
            password_changed_at: _,
            password_ended: _,
            external_id: _,
            import_mac: _,
            created_at,
            updated_at,
        } = row;
        Self {
            id,
            email,
            name,
            status,
            email_verified_at,
            pending_email,
            created_at,
            updated_at,
        }
    }
}

/// The row of a new account in the change's tenant; no mail has proven its address yet.
pub(crate) fn new_row(
    change: &Change<'_>,
    email: &Email,
    name: Option<String>,
    password_hash: String,
    email_verified_at: Option<DateTime<Utc>>,
) -> user::Model {
    user::Model {
        id: UserId::new(change.now, &*change.context.random),
        tenant_id: change.tenant,
        email: email.written().to_owned(),
        email_canonical: email.canonical().to_owned(),
        name,
        password_hash,
        decoy_hash: None,
        status: UserStatus::Active,
        email_verified_at,
        email_proven: false,
        pending_email: None,
        pending_email_by: None,
        pending_email_key: None,
        password_changed_at: None,
        password_ended: false,
        external_id: None,
        import_mac: None,
        created_at: change.now,
        updated_at: change.now,
    }
}
