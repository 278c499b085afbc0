//! Replacing an endpoint's signing secret.

use std::time::Duration;

use sea_orm::{ActiveModelTrait, ActiveValue::Set, ConnectionTrait, DbErr, IntoActiveModel, raw_sql};
use serde_json::json;

use super::{error::WebhookError, service, signature::SigningSecret, store};
use crate::{
    clock::Timestamp,
    context::Context,
    crypto::seal::seal,
    id::{EndpointId, TenantId},
    permission::{Authorized, WebhooksWrite},
    postgres::Tx,
    principal::Origin,
    secret::Secret,
};

/// The longest that a secret signs beside its successor.
pub const MAX_OVERLAP: Duration = Duration::from_hours(7 * 24);
/// The most secrets that sign at once: one more, and the oldest ends.
pub const MAX_SECRETS: u32 = 5;

/// Gives the endpoint a new secret, and with it another key pair, which is returned here and never again. Earlier ones sign beside it until the
/// overlap has passed at the latest; without an overlap it alone signs from now on.
///
/// # Errors
/// When the tenant has no such endpoint.
pub async fn rotate_secret(
    context: &Context,
    caller: &Authorized<WebhooksWrite>,
    origin: &Origin,
    id: EndpointId,
    overlap: Duration,
) -> Result<Secret<String>, WebhookError> {
    let tenant = caller.principal().tenant;
    let change = context.change(tenant, caller.actor(), origin).await?;
    let before = store::endpoint_for_update(tenant, &change.tx, id)
        .await?
        .ok_or(WebhookError::NotFound)?;
    let (now, ends_at) = (change.now, change.now + overlap.min(MAX_OVERLAP));
    let (former, sealed) = (context.uuid(now), before.sealed_secret.clone());
    change
        .tx
        .execute_raw(raw_sql!(
            Postgres,
            "INSERT INTO webhook_former_secrets (id, tenant_id, endpoint_id, sealed_secret, created_at, ends_at)
             VALUES ({former}, {tenant}, {id}, {sealed}, {now}, {ends_at})"
        ))
        .await?;
    change
        .tx
        .execute_raw(raw_sql!(
            Postgres,
            "UPDATE webhook_former_secrets SET ends_at = {ends_at}
             WHERE tenant_id = {tenant} AND endpoint_id = {id} AND ends_at > {ends_at}"
        ))
        .await?;
    let beside = i64::from(MAX_SECRETS - 1);
    change
        .tx
        .execute_raw(raw_sql!(
            Postgres,
            "DELETE FROM webhook_former_secrets
             WHERE tenant_id = {tenant} AND endpoint_id = {id} AND (ends_at <= {now} OR id NOT IN (
                 SELECT id FROM webhook_former_secrets WHERE tenant_id = {tenant} AND endpoint_id = {id}
                 ORDER BY id DESC LIMIT {beside}))"
        ))
        .await?;

    let secret = SigningSecret::new(&*context.random);
    let keys = &context.config.secrets.data_keys;
    let public_key = before.public_key.as_ref().and_then(|_| secret.public_key());
    let mut row = before.into_active_model();
    row.public_key = Set(public_key);
    row.sealed_secret = Set(seal(keys, id.0, secret.bytes(), &*context.random)?);
    row.updated_at = Set(now);
    row.update(&change.tx).await?;
    let detail = json!({ "earlier_end_at": Timestamp(ends_at) });
    service::record(&change, "webhook_endpoint.rotate_secret", id, detail).await?;
    change.commit().await?;
    Ok(secret.text())
}

/// Wipes what signs beside the endpoint's newest secret.
pub(super) async fn wipe(tenant: TenantId, tx: &Tx, id: EndpointId) -> Result<(), DbErr> {
    tx.execute_raw(raw_sql!(
        Postgres,
        "DELETE FROM webhook_former_secrets WHERE tenant_id = {tenant} AND endpoint_id = {id}"
    ))
    .await?;
    Ok(())
}
