//! Mail: written by a change, sent by the worker.
//!
//! What is to be told is a [`Letter`] of one [`Kind`]. A kind is one short file of words in `templates/`, put into the
//! layout that all share, or a template of the tenant's own (see [`custom`]).
//!
//! A mail is rendered here, sealed under its row's id and committed with the change that caused it. It is then
//! `pending` until the mail server has taken it (`succeeded`), or until the schedule of attempts has ended or the token
//! that it carries is of no use any more (`failed`); either end wipes the sealed text.
//!
//! What must never happen: a request that waits for a mail server; a link that begins with anything but the
//! configured public URL; a link that a tenant's template sends anywhere but to who gets the mail; a token or an address that can be read in a dump of the database; a line break from a
//! name or an address that becomes a header.

mod brand;
pub mod custom;
mod kind;
mod letter;
mod link;
mod message;
mod render;
mod values;
mod words;
pub mod work;

use sea_orm::{ActiveModelTrait, ActiveValue::Set};

use self::values::{Occasion, Values};
pub use self::{
    brand::{Brand, Branding},
    kind::{Kind, Variable},
    letter::Letter,
    message::Message,
    render::{Part, Rendered, TemplateFault, What},
};
use crate::{
    context::Change,
    crypto::seal::seal,
    entity::{MailState, mail, user},
    error::Internal,
    id::{MailId, UserId},
    queue::Lane,
    usage::Counter,
};

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
    let message = write(change, brand, to.address, &letter).await?;
    let plain = serde_json::to_vec(&message)?;
    let sealed = seal(&context.config.secrets.data_keys, id.0, &plain, &*context.random)?;
    let row = mail::ActiveModel {
        id: Set(id),
        tenant_id: Set(change.tenant),
        user_id: Set(to.user),
        kind: Set(letter.kind().as_str().to_owned()),
        sealed: Set(sealed),
        token_hash: Set(letter.token_hash()),
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
    change.count(Counter::Mails, 1);
    Ok(id)
}

/// The mail in the tenant's own words, or in ours.
async fn write(
    change: &Change<'_>,
    brand: Brand<'_>,
    to: &str,
    letter: &Letter,
) -> Result<Message, Internal> {
    let kind = letter.kind();
    let occasion = Occasion {
        public_url: &change.context.config.server.public_url,
        brand,
        to,
        origin: change.origin,
        now: change.now,
    };
    let values = Values::of(occasion, letter);
    let kept = custom::store::find(&change.tx, change.tenant, kind).await?;
    let own = kept.and_then(|kept| {
        render::custom(kind, &kept.template, &values)
            .inspect_err(|fault| {
                let (tenant, kind) = (change.tenant, kind.as_str());
                tracing::warn!(%tenant, kind, %fault, "a tenant's mail template failed; ours is sent");
            })
            .ok()
    });
    let Rendered { subject, text, html } = match own {
        Some(own) => own,
        None => render::ours(kind, &values)?,
    };
    Ok(Message {
        to: to.to_owned(),
        reply_to: brand.support_email().map(str::to_owned),
        subject,
        text,
        html,
    })
}
