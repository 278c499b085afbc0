//! The verbs of webhooks. Each takes the proof that its caller may.

use ipnet::IpNet;
use sea_orm::{ActiveModelTrait, ActiveValue::Set, IntoActiveModel};
use serde_json::{Value, json};

use super::{
    error::{GivenType, WebhookError},
    field::{checked_description, checked_event_types, checked_metadata, columns},
    header::{self, Headers},
    model::{
        Attempt, AttemptFilter, CreatedEndpoint, Delivery, DeliveryFilter, Endpoint, EndpointPatch, Event,
        EventFilter, NewEndpoint,
    },
    rotate,
    signature::SigningSecret,
    store,
    target::{self, UrlFault},
    turn_off::{cancel_before, cancel_begun, cancel_last, cancel_rest, turned_off},
};
use crate::{
    audit,
    context::{Change, Context},
    crypto::seal::{SealBroken, open, seal},
    entity::webhook_endpoint,
    id::{DeliveryId, EndpointId, EventId, TenantId},
    outbox,
    page::{Page, PageRequest},
    permission::{Authorized, WebhooksRead, WebhooksWrite},
    principal::Origin,
};

type Result<T> = std::result::Result<T, WebhookError>;

/// Makes an endpoint. Its secret is returned here and never again.
///
/// # Errors
/// When a field is not valid, or the tenant has as many as the settings allow.
pub async fn create_endpoint(
    context: &Context,
    caller: &Authorized<WebhooksWrite>,
    origin: &Origin,
    new: NewEndpoint,
) -> Result<CreatedEndpoint> {
    let NewEndpoint {
        url,
        description,
        event_types,
        headers,
        enabled,
        metadata,
        rate_limit,
        asymmetric,
    } = new;
    let tenant = caller.principal().tenant;
    let url = checked_url(context, tenant, &url).await?;
    let description = checked_description(description)?;
    let event_types = checked_event_types(event_types)?;
    let headers = header::check(headers)?;
    let metadata = serde_json::to_value(checked_metadata(metadata)?)?;
    let (rate_limit, rate_window_seconds) = columns(rate_limit);

    let change = context.change(tenant, caller.actor(), origin).await?;
    let most = context.config.webhooks.max_endpoints;
    if store::count_for_insert(tenant, &change.tx).await? >= u64::from(most) {
        return Err(WebhookError::LimitReached(most));
    }
    let id = EndpointId(context.uuid(change.now));
    let secret = SigningSecret::new(&*context.random);
    let keys = &context.config.secrets.data_keys;
    let row = webhook_endpoint::ActiveModel {
        id: Set(id),
        tenant_id: Set(tenant),
        url: Set(url),
        description: Set(description),
        event_types: Set(event_types),
        header_names: Set(headers.keys().cloned().collect()),
        sealed_headers: Set(sealed_headers(context, id, &headers)?),
        enabled: Set(enabled),
        disabled_reason: Set(None),
        failing_since: Set(None),
        sealed_secret: Set(seal(keys, id.0, secret.bytes(), &*context.random)?),
        public_key: Set(secret.public_key().filter(|_| asymmetric)),
        metadata: Set(metadata),
        rate_limit: Set(rate_limit),
        rate_window_seconds: Set(rate_window_seconds),
        created_at: Set(change.now),
        updated_at: Set(change.now),
        deleted_at: Set(None),
    };
    let endpoint = Endpoint::from(row.insert(&change.tx).await?);
    record(&change, "webhook_endpoint.create", id, audited(&endpoint)).await?;
    change.commit().await?;
    Ok(CreatedEndpoint {
        endpoint,
        secret: secret.text(),
    })
}

/// The tenant's endpoints, newest first.
///
/// # Errors
/// When the database does not answer.
pub async fn list_endpoints(
    context: &Context,
    caller: &Authorized<WebhooksRead>,
    page: PageRequest,
) -> Result<Page<Endpoint>> {
    let tenant = caller.principal().tenant;
    let tx = context.postgres.tenant(tenant).await?;
    let rows = store::endpoints(tenant, &tx, page).await?;
    Ok(Page::cut(rows, page, |row| row.id.0).map(Endpoint::from))
}

/// One endpoint.
///
/// # Errors
/// When the tenant has no such endpoint.
pub async fn get_endpoint(
    context: &Context,
    caller: &Authorized<WebhooksRead>,
    id: EndpointId,
) -> Result<Endpoint> {
    let tenant = caller.principal().tenant;
    let tx = context.postgres.tenant(tenant).await?;
    let row = store::endpoint(tenant, &tx, id).await?;
    row.map(Endpoint::from).ok_or(WebhookError::NotFound)
}

/// Changes an endpoint. Deliveries that are pending go to where the endpoint then is; turned off, they are
/// cancelled.
///
/// # Errors
/// When a field is not valid, or the tenant has no such endpoint; [`WebhookError::StillCancelling`].
pub async fn update_endpoint(
    context: &Context,
    caller: &Authorized<WebhooksWrite>,
    origin: &Origin,
    id: EndpointId,
    patch: EndpointPatch,
) -> Result<Endpoint> {
    let EndpointPatch {
        url,
        description,
        event_types,
        headers,
        enabled,
        metadata,
        rate_limit,
        asymmetric,
    } = patch;
    let description = description.map(checked_description).transpose()?;
    let event_types = event_types.map(checked_event_types).transpose()?;
    let headers = headers.map(header::check).transpose()?;
    let metadata = metadata.map(checked_metadata).transpose()?;

    let tenant = caller.principal().tenant;
    let url = match url {
        Some(url) => Some(checked_url(context, tenant, &url).await?),
        None => None,
    };
    if enabled == Some(true) {
        cancel_before(context, tenant, id).await?;
    }
    let mut change = context.change(tenant, caller.actor(), origin).await?;
    let before = store::endpoint_for_update(tenant, &change.tx, id)
        .await?
        .ok_or(WebhookError::NotFound)?;
    if enabled == Some(true) && !before.enabled && !cancel_last(&change, id).await? {
        return Err(WebhookError::StillCancelling);
    }
    let mut row = before.clone().into_active_model();
    row.url
        .set_if_not_equals(url.unwrap_or_else(|| before.url.clone()));
    row.description
        .set_if_not_equals(description.unwrap_or_else(|| before.description.clone()));
    row.event_types
        .set_if_not_equals(event_types.unwrap_or_else(|| before.event_types.clone()));
    row.enabled.set_if_not_equals(enabled.unwrap_or(before.enabled));
    if let Some(metadata) = metadata {
        row.metadata.set_if_not_equals(serde_json::to_value(metadata)?);
    }
    if let Some(rate) = rate_limit {
        let (count, seconds) = columns(rate);
        row.rate_limit.set_if_not_equals(count);
        row.rate_window_seconds.set_if_not_equals(seconds);
    }
    if let Some(headers) = headers {
        row.header_names = Set(headers.keys().cloned().collect());
        row.sealed_headers = Set(sealed_headers(context, id, &headers)?);
    }
    match asymmetric {
        Some(true) if before.public_key.is_none() => {
            let keys = &context.config.secrets.data_keys;
            let secret = SigningSecret::from_bytes(open(keys, id.0, &before.sealed_secret)?);
            let secret = secret.with_key_pair(&*context.random);
            row.sealed_secret = Set(seal(keys, id.0, secret.bytes(), &*context.random)?);
            row.public_key = Set(secret.public_key());
        }
        Some(false) => row.public_key.set_if_not_equals(None),
        _ => {}
    }
    if !row.is_changed() {
        return Ok(before.into());
    }
    if enabled == Some(true) {
        row.disabled_reason = Set(None);
    }
    // What failed before says nothing of what it is now.
    if enabled == Some(true) || row.url.is_set() {
        row.failing_since = Set(None);
    }
    row.updated_at = Set(change.now);
    let endpoint = Endpoint::from(row.update(&change.tx).await?);
    let detail = json!({"before": audited(&before.clone().into()), "after": audited(&endpoint)});
    record(&change, "webhook_endpoint.update", id, detail).await?;
    let goes_off = before.enabled && !endpoint.enabled;
    if goes_off {
        turned_off(&mut change, &endpoint.url, id, None).await?;
    }
    change.commit().await?;
    if goes_off {
        cancel_rest(context, tenant, id);
    }
    Ok(endpoint)
}

/// Deletes an endpoint: its secrets are wiped, what is pending is cancelled, and the history of its deliveries
/// stays.
///
/// # Errors
/// When the tenant has no such endpoint.
pub async fn delete_endpoint(
    context: &Context,
    caller: &Authorized<WebhooksWrite>,
    origin: &Origin,
    id: EndpointId,
) -> Result<()> {
    let tenant = caller.principal().tenant;
    let change = context.change(tenant, caller.actor(), origin).await?;
    let before = store::endpoint_for_update(tenant, &change.tx, id)
        .await?
        .ok_or(WebhookError::NotFound)?;
    let mut row = before.clone().into_active_model();
    row.enabled = Set(false);
    row.sealed_secret = Set(Vec::new());
    row.sealed_headers = Set(Vec::new());
    row.deleted_at = Set(Some(change.now));
    row.update(&change.tx).await?;
    rotate::wipe(tenant, &change.tx, id).await?;
    let cancelled = cancel_begun(&change, id).await?;
    let detail = json!({"before": audited(&before.into()), "cancelled_deliveries": cancelled});
    record(&change, "webhook_endpoint.delete", id, detail).await?;
    change.commit().await?;
    cancel_rest(context, tenant, id);
    Ok(())
}

/// The tenant's events that pass the filter, newest first.
///
/// # Errors
/// When the filter names a type that cannot be.
pub async fn list_events(
    context: &Context,
    caller: &Authorized<WebhooksRead>,
    filter: &EventFilter,
    page: PageRequest,
) -> Result<Page<Event>> {
    check_type(filter.event_type.as_deref(), GivenType::OfEvents)?;
    let tenant = caller.principal().tenant;
    let tx = context.postgres.tenant(tenant).await?;
    let rows = store::events(tenant, &tx, filter, page).await?;
    Ok(Page::cut(rows, page, |row| row.id.0).map(Event::from))
}

/// One event.
///
/// # Errors
/// When the tenant has no such event.
pub async fn get_event(context: &Context, caller: &Authorized<WebhooksRead>, id: EventId) -> Result<Event> {
    let tenant = caller.principal().tenant;
    let tx = context.postgres.tenant(tenant).await?;
    let row = store::event(tenant, &tx, id).await?;
    row.map(Event::from).ok_or(WebhookError::NotFound)
}

/// The tenant's deliveries that pass the filter, newest first.
///
/// # Errors
/// When the filter names a type that cannot be.
pub async fn list_deliveries(
    context: &Context,
    caller: &Authorized<WebhooksRead>,
    filter: &DeliveryFilter,
    page: PageRequest,
) -> Result<Page<Delivery>> {
    check_type(filter.event_type.as_deref(), GivenType::OfDeliveries)?;
    let tenant = caller.principal().tenant;
    let tx = context.postgres.tenant(tenant).await?;
    let rows = store::deliveries(tenant, &tx, filter, page).await?;
    Ok(Page::cut(rows, page, |row| row.id.0).map(Delivery::from))
}

/// What a filter may ask for.
fn check_type(name: Option<&str>, given: GivenType) -> Result<()> {
    match name.filter(|name| !outbox::is_subscribable(name)) {
        Some(name) => Err(WebhookError::InvalidEventType {
            name: name.to_owned(),
            given,
        }),
        None => Ok(()),
    }
}

/// One delivery.
///
/// # Errors
/// When the tenant has no such delivery.
pub async fn get_delivery(
    context: &Context,
    caller: &Authorized<WebhooksRead>,
    id: DeliveryId,
) -> Result<Delivery> {
    let tenant = caller.principal().tenant;
    let tx = context.postgres.tenant(tenant).await?;
    let row = store::delivery(tenant, &tx, id).await?;
    row.map(Delivery::from).ok_or(WebhookError::NotFound)
}

/// A delivery's calls, newest first.
///
/// # Errors
/// When the tenant has no such delivery.
pub async fn list_attempts(
    context: &Context,
    caller: &Authorized<WebhooksRead>,
    delivery: DeliveryId,
    page: PageRequest,
) -> Result<Page<Attempt>> {
    let tenant = caller.principal().tenant;
    let tx = context.postgres.tenant(tenant).await?;
    store::delivery(tenant, &tx, delivery)
        .await?
        .ok_or(WebhookError::NotFound)?;
    let rows = store::attempts(tenant, &tx, delivery, page).await?;
    Ok(Page::cut(rows, page, |row| row.id.0).map(Attempt::from))
}

/// An endpoint's calls that pass the filter, newest first.
///
/// # Errors
/// When the tenant has no such endpoint.
pub async fn list_endpoint_attempts(
    context: &Context,
    caller: &Authorized<WebhooksRead>,
    endpoint: EndpointId,
    filter: &AttemptFilter,
    page: PageRequest,
) -> Result<Page<Attempt>> {
    let tenant = caller.principal().tenant;
    let tx = context.postgres.tenant(tenant).await?;
    store::endpoint(tenant, &tx, endpoint)
        .await?
        .ok_or(WebhookError::NotFound)?;
    let rows = store::attempts_of_endpoint(tenant, &tx, endpoint, filter, page).await?;
    Ok(Page::cut(rows, page, |row| row.id.0).map(Attempt::from))
}

pub(super) async fn record(
    change: &Change<'_>,
    action: &'static str,
    id: EndpointId,
    detail: Value,
) -> std::result::Result<(), sea_orm::DbErr> {
    audit::record(
        change,
        audit::Record::success(action, "webhook_endpoint", id.0, detail),
    )
    .await
}

/// What the audit trail keeps of an endpoint: everything but the values of its headers.
fn audited(endpoint: &Endpoint) -> Value {
    let Endpoint {
        id: _,
        url,
        description,
        event_types,
        header_names,
        enabled,
        metadata,
        rate_limit,
        public_key,
        ..
    } = endpoint;
    json!({
        "url": url,
        "description": description,
        "event_types": event_types,
        "header_names": header_names,
        "enabled": enabled,
        "metadata": metadata,
        "public_key": public_key,
        "rate_limit": rate_limit.map(|rate| json!({
            "limit": rate.count, "window_seconds": rate.window.as_secs(),
        })),
    })
}

fn sealed_headers(context: &Context, id: EndpointId, headers: &Headers) -> Result<Vec<u8>> {
    if headers.is_empty() {
        return Ok(Vec::new());
    }
    let plain = serde_json::to_vec(headers)?;
    let sealed: std::result::Result<_, SealBroken> =
        seal(&context.config.secrets.data_keys, id.0, &plain, &*context.random);
    Ok(sealed?)
}

/// Only for what the settings refuse it is asked what the tenant may.
async fn checked_url(context: &Context, tenant: TenantId, url: &str) -> Result<String> {
    let config = &context.config;
    let check = |allowed: &[IpNet]| target::check(url, config.server.environment, allowed);
    let url = match check(&config.webhooks.allowed_cidrs) {
        Err(UrlFault::Scheme | UrlFault::NotPublic) => {
            let tx = context.postgres.tenant(tenant).await?;
            let own = store::allowed_cidrs(tenant, &tx).await?;
            check(&target::allowed(&config.webhooks.allowed_cidrs, &own))?
        }
        checked => checked?,
    };
    Ok(url.into())
}
