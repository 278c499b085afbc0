//! Replacing a key by another that may do the same.

use std::time::Duration;

use sea_orm::{ActiveModelTrait, ActiveValue::Set, IntoActiveModel};
use serde_json::json;

use super::{ApiKey, ApiKeyError, CreatedKey, KeyStatus, KeyText, service, store};
use crate::{
    audit,
    clock::Timestamp,
    context::Context,
    entity::api_key,
    id::ApiKeyId,
    outbox::{self, event},
    permission::{ApiKeysWrite, Authorized},
    principal::Origin,
    rbac,
    signal::SignalKind,
};

/// The longest that a key works beside its successor.
pub const MAX_OVERLAP: Duration = Duration::from_hours(7 * 24);

/// Makes a key that takes the place of another: same owner, scopes, limits and expiry. The old one works until the
/// overlap has passed. Whoever replaces a key gets to hold one like it, so that they must be able to make it.
///
/// # Errors
/// [`ApiKeyError::NotFound`]; [`ApiKeyError::NotActive`] for one that has ended or was replaced already, also of all but
/// one who try at once; [`ApiKeyError::Escalation`].
pub async fn rotate(
    context: &Context,
    caller: &Authorized<ApiKeysWrite>,
    origin: &Origin,
    id: ApiKeyId,
    overlap: Duration,
) -> Result<CreatedKey, ApiKeyError> {
    let principal = caller.principal();
    let mut change = context.change(principal.tenant, caller.actor(), origin).await?;
    let found = store::find(&change.tx, change.tenant, id).await?;
    let owner = service::owner_of(&found.ok_or(ApiKeyError::NotFound)?);
    // The owner, permissions, the tenant, the key: everybody who needs several of them takes them in this order.
    service::may_act_for(&change, principal, owner).await?;
    rbac::hold_own(&change.tx, change.tenant).await?;
    service::make_room(&change, owner).await?;
    // A key that replaces itself is asked right below.
    if principal.key != Some(id) {
        service::hold_caller(&change, principal).await?;
    }
    let old = store::hold(&change.tx, change.tenant, id).await?;
    let old = old.ok_or(ApiKeyError::NotFound)?;
    if ApiKey::of(old.clone(), change.now).status != KeyStatus::Active {
        return Err(ApiKeyError::NotActive);
    }
    if !rbac::may_grant(&principal.permissions, old.scopes.iter().map(String::as_str)) {
        return Err(ApiKeyError::Escalation);
    }

    let text = KeyText::new(old.environment, &*context.random);
    let successor = api_key::Model {
        name: old.name.clone(),
        scopes: old.scopes.clone(),
        allowed_cidrs: old.allowed_cidrs.clone(),
        rate_count: old.rate_count,
        rate_seconds: old.rate_seconds,
        metadata: old.metadata.clone(),
        expires_at: old.expires_at,
        expiry_told_at: old.expiry_told_at,
        rotated_from: Some(id),
        ..service::blank(&change, &text, owner)
    };
    let retires_at = change.now + overlap.min(MAX_OVERLAP);
    let successor = successor
        .into_active_model()
        .reset_all()
        .insert(&change.tx)
        .await?;
    let key = ApiKey::of(successor, change.now);
    let mut old = old.into_active_model();
    old.rotated_to = Set(Some(key.id));
    old.retires_at = Set(Some(retires_at));
    old.updated_at = Set(change.now);
    old.update(&change.tx).await?;

    let told = event::ApiKeyRotated {
        key_id: key.id,
        rotated_from: id,
        retires_at: Timestamp(retires_at),
        key: key.told(),
    };
    audit::record(&change, service::record("api_key.rotate", id, json!(told))).await?;
    outbox::emit(&mut change, service::about(owner), &told).await?;
    change.signal(SignalKind::ApiKeyChanged, id.0).await?;
    change.commit().await?;
    let text = text.into_text();
    Ok(CreatedKey { key, text })
}
