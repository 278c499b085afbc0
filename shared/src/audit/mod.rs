//! The audit trail: each security-relevant change writes its row in its own transaction.
//!
//! Rows are only ever added. The application's role cannot change or remove one, and `detail` holds nothing
//! that is secret. Each carries a keyed hash of what it says, so that a row by anybody else is told from ours. A
//! worker then seals it ([`seal()`]): appends it to its tenant's chain, in which every link holds the one before. What
//! was changed, taken out, put in or moved since then shows in a [`Verification`], to whoever has the keys; the database
//! alone, all of it, is not enough to hide it.
//!
//! A row is *written* with its change, *waiting* until a worker has seen it, and *sealed* for good. What cannot be told
//! from the database alone is that all of it was set back to how it once stood: for that, the length and the last hash
//! of a chain are printed, to be kept elsewhere and compared. What cannot be told at all is that a row was removed within
//! the moment before its seal, together with its place in the queue.
//!
//! What must never happen: a change without its row; a chain with two ends; a seal over what nobody read.

mod list;
mod mac;
mod seal;
mod store;
mod verify;
mod walk;

use sea_orm::{ActiveModelTrait, DbErr, EntityTrait, IntoActiveModel};
use serde_json::Value;
use uuid::Uuid;

pub use self::{
    list::{AuditFilter, begin_export, export_page, list},
    seal::{Ends, Sealed, SignedEnds, Waiting, ends, seal, sign_ends_anew, waiting},
    verify::{Report, Verification},
    walk::{Fault, Verdict},
};
pub use crate::entity::audit_event::Model as AuditEvent;
use crate::{context::Change, entity::audit_event, id::AuditId, principal::Actor};

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// As asked.
    Success,
    /// Refused.
    Failure,
}

/// What is written down, besides who, when and from where, which the [`Change`] knows.
#[derive(Clone, Debug)]
pub struct Record {
    /// What was done, as `webhook_endpoint.create`.
    pub action: &'static str,
    /// The kind and id of what it was done to.
    pub target: Option<(&'static str, Uuid)>,
    /// How it ended.
    pub outcome: Outcome,
    /// Non-secret fields, as an object.
    pub detail: Value,
}

impl Record {
    /// Something succeeded.
    #[must_use]
    pub fn success(action: &'static str, kind: &'static str, id: Uuid, detail: Value) -> Self {
        Self {
            action,
            target: Some((kind, id)),
            outcome: Outcome::Success,
            detail,
        }
    }
}

/// Writes the row, to be committed with the change or not at all.
///
/// # Errors
/// When the row cannot be written; the change must not be committed then.
pub async fn record(change: &Change<'_>, record: Record) -> Result<(), DbErr> {
    audit_event::Entity::insert(row(change, &signing_key(change), record))
        .exec_without_returning(&change.tx)
        .await?;
    Ok(())
}

/// As [`record`], for many targets of one kind in one statement: each with a detail of its own.
///
/// # Errors
/// When the rows cannot be written; the change must not be committed then.
pub async fn record_each(
    change: &Change<'_>,
    action: &'static str,
    kind: &'static str,
    targets: impl IntoIterator<Item = (Uuid, Value)>,
) -> Result<(), DbErr> {
    let key = signing_key(change);
    let records = targets
        .into_iter()
        .map(|(id, detail)| row(change, &key, Record::success(action, kind, id, detail)));
    let rows: Vec<_> = records.collect();
    // A statement takes 65,535 values.
    for rows in rows.chunks(1_000) {
        audit_event::Entity::insert_many(rows.to_vec())
            .exec_without_returning(&change.tx)
            .await?;
    }
    Ok(())
}

fn signing_key(change: &Change<'_>) -> mac::Key {
    mac::Key::of(change.context.config.secrets.data_keys.current())
}

fn row(change: &Change<'_>, key: &mac::Key, record: Record) -> audit_event::ActiveModel {
    let Record {
        action,
        target,
        outcome,
        detail,
    } = record;
    let (actor_kind, actor_id) = match change.actor {
        Actor::User(user) => ("user", Some(user.0)),
        Actor::ApiKey(key) => ("api_key", Some(key.0)),
        Actor::Anonymous => ("anonymous", None),
        Actor::System => ("system", None),
    };
    let outcome = match outcome {
        Outcome::Success => "success",
        Outcome::Failure => "failure",
    };
    let mut row = audit_event::Model {
        id: AuditId(change.context.uuid(change.now)),
        tenant_id: change.tenant,
        created_at: change.now,
        actor_kind: actor_kind.to_owned(),
        actor_id,
        action: action.to_owned(),
        target_kind: target.map(|(kind, _)| kind.to_owned()),
        target_id: target.map(|(_, id)| id),
        outcome: outcome.to_owned(),
        request_id: Some(change.origin.request_id.clone()).filter(|id| !id.is_empty()),
        address: change.origin.address.map(|address| address.to_string()),
        detail,
        mac: None,
        mac_key: Some(key.id.clone()),
    };
    row.mac = Some(key.row(&row).to_vec());
    row.into_active_model().reset_all()
}
