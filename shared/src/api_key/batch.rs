//! Ending many keys at once.

use std::collections::BTreeMap;

use chrono::{DateTime, Datelike, Utc};
use serde_json::json;
use uuid::Uuid;

use super::{ApiKeyError, KeyText, RevokeReason, store};
use crate::{
    audit,
    context::{Change, Context},
    error::Internal,
    id::ApiKeyId,
    outbox::{self, event},
    permission::{ApiKeysWrite, Authorized},
    principal::{Origin, Subject},
    secret::Secret,
    signal::SignalKind,
};

/// Which keys are meant. Each condition narrows the choice; keys that are named by id or by text are one condition.
#[derive(Debug, Default)]
pub struct RevokeBatch {
    /// By id.
    pub ids: Option<Vec<ApiKeyId>>,
    /// By their text.
    pub keys: Option<Vec<Secret<String>>>,
    /// Those of one owner.
    pub owner: Option<Subject>,
    /// Those that were made earlier than that.
    pub created_before: Option<DateTime<Utc>>,
}

/// Revokes the tenant's keys that are meant; how many there were. What is another tenant's, or no key at all, is none
/// of them.
///
/// # Errors
/// [`ApiKeyError::NothingNamed`].
pub async fn revoke_batch(
    context: &Context,
    caller: &Authorized<ApiKeysWrite>,
    origin: &Origin,
    batch: RevokeBatch,
) -> Result<usize, ApiKeyError> {
    let RevokeBatch {
        ids,
        keys,
        owner,
        created_before,
    } = batch;
    if ids.is_none() && keys.is_none() && owner.is_none() && created_before.is_none() {
        return Err(ApiKeyError::NothingNamed);
    }
    // The database's calendar is shorter than the parser's.
    if created_before.is_some_and(|at| !(1..=9999).contains(&at.year())) {
        return Err(ApiKeyError::InvalidCreation);
    }
    let hash = |key: Secret<String>| KeyText::parse(key.expose()).map(|key| key.hash().to_vec());
    let choice = store::Choice {
        ids: ids.map(|ids| ids.into_iter().map(|id| id.0).collect()),
        hashes: keys.map(|keys| keys.into_iter().filter_map(hash).collect()),
        owner,
        created_before,
    };
    let mut change = context
        .change(caller.principal().tenant, caller.actor(), origin)
        .await?;
    if let Some(owner) = owner {
        store::hold_owner_alone(&change.tx, change.tenant, owner).await?;
    }
    let ended = end(&mut change, choice, RevokeReason::Batch).await?;
    change.commit().await?;
    Ok(ended)
}

/// Revokes all keys of the owner, who is held for a change: the owner comes before the keys, and none is being added. How
/// many there were.
pub(crate) async fn revoke_of(
    change: &mut Change<'_>,
    owner: Subject,
    reason: RevokeReason,
) -> Result<usize, Internal> {
    let choice = store::Choice {
        owner: Some(owner),
        ..store::Choice::default()
    };
    end(change, choice, reason).await
}

/// Revokes, and tells the audit trail, the tenant's endpoints and every process; how many there were.
pub(super) async fn end(
    change: &mut Change<'_>,
    choice: store::Choice,
    reason: RevokeReason,
) -> Result<usize, Internal> {
    let ended = store::revoke(&change.tx, change.tenant, choice, reason.as_str(), change.now).await?;
    if ended.is_empty() {
        return Ok(0);
    }
    let revoked = |id: ApiKeyId| event::ApiKeyRevoked { key_id: id, reason };
    let ids: Vec<Uuid> = ended.iter().map(|(id, _)| id.0).collect();
    let targets = ended.iter().map(|(id, _)| (id.0, json!(revoked(*id))));
    audit::record_each(change, "api_key.revoke", "api_key", targets).await?;
    // An event is about one person at most, with whom it is erased.
    let mut by_person = BTreeMap::<_, Vec<_>>::new();
    for (id, user) in &ended {
        by_person.entry(*user).or_default().push(revoked(*id));
    }
    for (user, details) in by_person {
        outbox::emit_each(change, user, &details).await?;
    }
    change.signal_each(SignalKind::ApiKeyChanged, &ids).await?;
    Ok(ended.len())
}
