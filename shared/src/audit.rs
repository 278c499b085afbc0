//! The audit trail: each security-relevant change writes its row in its own transaction.
//!
//! Rows are only ever added. The application's role cannot change or remove one, and `detail` holds nothing
//! that is secret.

use sea_orm::{ActiveModelTrait, ActiveValue::Set, DbErr, EntityTrait};
use serde_json::Value;
use uuid::Uuid;

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
    row(change, record).insert(&change.tx).await?;
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
    let records = targets
        .into_iter()
        .map(|(id, detail)| row(change, Record::success(action, kind, id, detail)));
    let rows: Vec<_> = records.collect();
    // A statement takes 65,535 values.
    for rows in rows.chunks(1_000) {
        audit_event::Entity::insert_many(rows.to_vec())
            .exec_without_returning(&change.tx)
            .await?;
    }
    Ok(())
}

fn row(change: &Change<'_>, record: Record) -> audit_event::ActiveModel {
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
    audit_event::ActiveModel {
        id: Set(AuditId(change.context.uuid(change.now))),
        tenant_id: Set(change.tenant),
        created_at: Set(change.now),
        actor_kind: Set(actor_kind.to_owned()),
        actor_id: Set(actor_id),
        action: Set(action.to_owned()),
        target_kind: Set(target.map(|(kind, _)| kind.to_owned())),
        target_id: Set(target.map(|(_, id)| id)),
        outcome: Set(outcome.to_owned()),
        request_id: Set(Some(change.origin.request_id.clone()).filter(|id| !id.is_empty())),
        address: Set(change.origin.address.map(|address| address.to_string())),
        detail: Set(detail),
    }
}
