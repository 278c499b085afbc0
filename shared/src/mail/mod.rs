//! Mail: written by a change, sent by the worker.
//!
//! A mail is rendered here, sealed under its row's id and committed with the change that caused it. It is then
//! `pending` until the mail server has taken it (`succeeded`) or the schedule of attempts has ended (`failed`);
//! either end wipes the sealed text.
//!
//! What must never happen: a request that waits for a mail server; a link that begins with anything but the
//! configured public URL; a token or an address that can be read in a dump of the database; a line break from a
//! name or an address that becomes a header.

mod letter;
mod message;
pub mod work;

use sea_orm::{ActiveModelTrait, ActiveValue::Set};
use serde::{Deserialize, Serialize};

pub use self::{letter::Letter, message::Message};
use crate::{
    context::Change,
    crypto::seal::seal,
    entity::{MailState, mail, user},
    error::Internal,
    id::{MailId, UserId},
    queue::Lane,
};

/// In whose name a mail goes out.
#[derive(Clone, Copy, Debug)]
pub struct Brand<'a> {
    /// The tenant's name.
    pub name: &'a str,
    /// How its mails look.
    pub branding: Option<&'a Branding>,
}

impl<'a> Brand<'a> {
    /// A name alone.
    #[must_use]
    pub const fn named(name: &'a str) -> Self {
        Self { name, branding: None }
    }
}

/// How a tenant's mails look. What is not chosen looks like ours.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Branding {
    /// Stands in the place of the tenant's name.
    pub product_name: Option<String>,
    /// `#rrggbb`, of buttons and links.
    pub accent_color: Option<String>,
    /// An https URL.
    pub logo_url: Option<String>,
    /// Where replies go.
    pub support_email: Option<String>,
}

/// Who gets a mail.
#[derive(Clone, Copy, Debug)]
pub struct To<'a> {
    /// The account it concerns, if the address has one: the mail is part of what is known of it.
    pub user: Option<UserId>,
    /// The address.
    pub address: &'a str,
}

impl<'a> To<'a> {
    /// An address without an account.
    #[must_use]
    pub const fn address(address: &'a str) -> Self {
        Self { user: None, address }
    }

    /// A user, at the account's address.
    #[must_use]
    pub fn user(user: &'a user::Model) -> Self {
        Self {
            user: Some(user.id),
            address: &user.email,
        }
    }
}

/// Writes a mail to `to`, to be committed with the change or not at all; the worker sends it after the commit.
///
/// # Errors
/// When the mail cannot be rendered or sealed, or the database refuses; the change must not be committed then.
pub async fn queue(
    change: &mut Change<'_>,
    brand: Brand<'_>,
    to: To<'_>,
    letter: Letter,
) -> Result<MailId, Internal> {
    let context = change.context;
    let id = MailId(context.uuid(change.now));
    let message = letter::render(&context.config.server.public_url, brand.name, to.address, &letter)?;
    let plain = serde_json::to_vec(&message)?;
    let sealed = seal(&context.config.secrets.data_keys, id.0, &plain, &*context.random)?;
    let row = mail::ActiveModel {
        id: Set(id),
        tenant_id: Set(change.tenant),
        user_id: Set(to.user),
        kind: Set(letter.kind().to_owned()),
        sealed: Set(sealed),
        state: Set(MailState::Pending),
        attempts: Set(0),
        last_error: Set(None),
        next_attempt_at: Set(Some(change.now)),
        sweep_at: Set(change.now + context.config.worker.queue_grace),
        lease_until: Set(None),
        generation: Set(0),
        created_at: Set(change.now),
        finished_at: Set(None),
    };
    row.insert(&change.tx).await?;
    change.enqueue(Lane::Mail, id.0);
    Ok(id)
}
