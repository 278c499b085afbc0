//! Turning endpoints off, and what becomes of what waits for them.

use std::time::{Duration, Instant};

use sea_orm::DbErr;
use serde_json::json;
use tracing::Instrument;
use uuid::Uuid;

use super::{service::record, store, work::Claimed};
use crate::{
    context::{Change, Context},
    entity::Offence,
    error::Internal,
    id::{DeliveryId, EndpointId, TenantId},
    outbox::{self, event},
};

/// Whoever turns an endpoint on waits so long for what is cancelled.
const LONGEST: Duration = Duration::from_secs(3);

/// Turns an endpoint off because of how it answers; whether it was on.
///
/// # Errors
/// When the database does not answer; then nothing has happened.
pub(crate) async fn disable_failing(
    change: &mut Change<'_>,
    called: &Claimed,
    reason: Offence,
) -> Result<bool, Internal> {
    if !store::disable(&change.tx, called, reason, change.now).await? {
        return Ok(false);
    }
    let id = called.endpoint_id;
    record(change, "webhook_endpoint.disable", id, json!({"reason": reason})).await?;
    turned_off(change, &called.url, id, Some(reason)).await?;
    Ok(true)
}

/// What follows from an endpoint being off: nothing waits for it any more, and the tenant's others hear of it.
pub(super) async fn turned_off(
    change: &mut Change<'_>,
    url: &str,
    id: EndpointId,
    reason: Option<Offence>,
) -> Result<(), Internal> {
    let data = event::WebhookEndpointDisabled {
        endpoint_id: id,
        url: origin_of(url),
        reason,
        cancelled_deliveries: cancel_begun(change, id).await?,
    };
    outbox::emit(change, None, &data).await?;
    Ok(())
}

/// Where the endpoint is, to the tenant's others: a path may be a secret between two.
fn origin_of(url: &str) -> String {
    url::Url::parse(url).map_or_else(|_| String::new(), |url| url.origin().ascii_serialization())
}

/// Begins to cancel what is pending; how much that is. [`cancel_rest`] goes on once the change is committed.
pub(super) async fn cancel_begun(change: &Change<'_>, id: EndpointId) -> Result<u64, DbErr> {
    let (tenant, tx) = (change.tenant, &change.tx);
    let pending = store::count_pending(tenant, tx, id, change.now).await?;
    store::cancel_pending(tenant, tx, id, DeliveryId(Uuid::nil()), change.now).await?;
    Ok(pending)
}

/// Cancels what is pending for an endpoint that is off, in the background: it may be more than one transaction can do in
/// time. Should the process end meanwhile, each of the others is cancelled when its turn comes.
pub(crate) fn cancel_rest(context: &Context, tenant: TenantId, id: EndpointId) {
    let context = context.clone();
    let rest = async move {
        let mut after = DeliveryId(Uuid::nil());
        loop {
            match cancel_more(&context, tenant, id, after).await {
                Ok(Some(last)) => after = last,
                Ok(None) => break,
                Err(error) => {
                    tracing::warn!(endpoint = %id, %error, "deliveries are cancelled when their turn comes");
                    break;
                }
            }
        }
    };
    tokio::spawn(rest.in_current_span());
}

/// Cancels what still waits for an endpoint that is to be turned on again: it was said to be cancelled when it went off. Most
/// is, for some seconds at most, in transactions of its own, so that the last need not do much.
///
/// # Errors
/// When the database does not answer.
pub(super) async fn cancel_before(context: &Context, tenant: TenantId, id: EndpointId) -> Result<(), DbErr> {
    let (began, mut after) = (Instant::now(), DeliveryId(Uuid::nil()));
    while began.elapsed() < LONGEST {
        match cancel_more(context, tenant, id, after).await? {
            Some(last) => after = last,
            None => break,
        }
    }
    Ok(())
}

/// As [`cancel_before`], in the very transaction that turns it on; whether nothing is left.
pub(super) async fn cancel_last(change: &Change<'_>, id: EndpointId) -> Result<bool, DbErr> {
    let (tenant, tx, now) = (change.tenant, &change.tx, change.now);
    let last = store::cancel_pending(tenant, tx, id, DeliveryId(Uuid::nil()), now).await?;
    Ok(last.is_none() || store::count_pending(tenant, tx, id, now).await? == 0)
}

async fn cancel_more(
    context: &Context,
    tenant: TenantId,
    id: EndpointId,
    after: DeliveryId,
) -> Result<Option<DeliveryId>, DbErr> {
    let tx = context.postgres.tenant(tenant).await?;
    // Whoever turns it on again waits, and what is published then is not cancelled.
    if !store::hold_off(tenant, &tx, id).await? {
        return Ok(None);
    }
    let last = store::cancel_pending(tenant, &tx, id, after, context.clock.now()).await?;
    tx.commit().await?;
    Ok(last)
}
