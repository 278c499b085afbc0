//! Webhooks: endpoints, events, deliveries and their attempts.

mod actions;
mod attempts;
mod error;
mod event_types;
mod model;

use chrono::{DateTime, Utc};
use latchkey_shared::{
    auth::Auth,
    id::{DeliveryId, EndpointId, EventId},
    permission::{EventsPublish, WebhooksRead, WebhooksWrite},
    webhook::{self, DeliveryFilter, EventFilter, Publisher},
};
use poem::web::Data;
use poem_openapi::{
    OpenApi,
    param::{Path, Query},
};
use uuid::Uuid;

use self::model::{
    CreateWebhookEndpointRequest, CreatedEndpointView, DeliveryStateView, DeliveryView, EndpointView,
    EventView, PublishRequest, PublishedView, UpdateWebhookEndpointRequest,
};
pub use self::{actions::WebhookActionsApi, attempts::AttemptsApi, event_types::EventTypesApi};
use super::{Tag, in_range, page};
use crate::{
    extract::{ClientOrigin, Json, Permit},
    problem::{ApiResult, Conflict, Input, NotFound, Parameters, Permitted},
    reply::{Accepted, Created, List, NoContent, Ok as Reply},
};

/// The operations.
pub struct WebhooksApi;

#[OpenApi(prefix_path = "/v1/webhooks", tag = "Tag::Webhooks")]
impl WebhooksApi {
    /// Create an endpoint
    ///
    /// The answer holds the secret that signatures are verified with; it is shown this once. Takes
    /// `webhooks:write`.
    #[oai(path = "/endpoints", method = "post", operation_id = "createWebhookEndpoint")]
    async fn create_endpoint(
        &self,
        Data(auth): Data<&Auth>,
        Permit(caller): Permit<WebhooksWrite>,
        origin: ClientOrigin,
        body: Json<CreateWebhookEndpointRequest>,
    ) -> ApiResult<Created<CreatedEndpointView>, (Permitted, Input, Conflict)> {
        let created = webhook::create_endpoint(&auth.context, &caller, &origin, body.0.into()).await?;
        let location = format!("/v1/webhooks/endpoints/{}", created.endpoint.id);
        Ok(Created {
            body: created.into(),
            location,
        })
    }

    /// List endpoints
    ///
    /// Newest first. Takes `webhooks:read`.
    #[oai(path = "/endpoints", method = "get", operation_id = "listWebhookEndpoints")]
    async fn list_endpoints(
        &self,
        Data(auth): Data<&Auth>,
        Permit(caller): Permit<WebhooksRead>,
        /// Rows of a page
        #[oai(validator(minimum(value = "1"), maximum(value = "100")))]
        limit: Query<Option<u32>>,
        /// `next_cursor` of the page before
        cursor: Query<Option<String>>,
    ) -> ApiResult<Reply<List<EndpointView>>, (Permitted, Parameters)> {
        let page = page(limit.0, cursor.0.as_deref())?;
        Ok(Reply(List::of(
            webhook::list_endpoints(&auth.context, &caller, page).await?,
        )))
    }

    /// Get an endpoint
    ///
    /// Takes `webhooks:read`.
    #[oai(path = "/endpoints/:id", method = "get", operation_id = "getWebhookEndpoint")]
    async fn get_endpoint(
        &self,
        Data(auth): Data<&Auth>,
        Permit(caller): Permit<WebhooksRead>,
        /// The endpoint
        id: Path<Uuid>,
    ) -> ApiResult<Reply<EndpointView>, (Permitted, NotFound)> {
        Ok(Reply(
            webhook::get_endpoint(&auth.context, &caller, EndpointId(id.0))
                .await?
                .into(),
        ))
    }

    /// Change an endpoint
    ///
    /// What is absent stays, null clears. Turning it off cancels what is pending; while very much of that is still being
    /// cancelled, it cannot be turned on again. Takes `webhooks:write`.
    #[oai(
        path = "/endpoints/:id",
        method = "patch",
        operation_id = "updateWebhookEndpoint"
    )]
    async fn update_endpoint(
        &self,
        Data(auth): Data<&Auth>,
        Permit(caller): Permit<WebhooksWrite>,
        origin: ClientOrigin,
        /// The endpoint
        id: Path<Uuid>,
        body: Json<UpdateWebhookEndpointRequest>,
    ) -> ApiResult<Reply<EndpointView>, (Permitted, Input, NotFound, Conflict)> {
        let patch = body.0.into();
        Ok(Reply(
            webhook::update_endpoint(&auth.context, &caller, &origin, EndpointId(id.0), patch)
                .await?
                .into(),
        ))
    }

    /// Delete an endpoint
    ///
    /// What is pending is cancelled; the history stays. Takes `webhooks:write`.
    #[oai(
        path = "/endpoints/:id",
        method = "delete",
        operation_id = "deleteWebhookEndpoint"
    )]
    async fn delete_endpoint(
        &self,
        Data(auth): Data<&Auth>,
        Permit(caller): Permit<WebhooksWrite>,
        origin: ClientOrigin,
        /// The endpoint
        id: Path<Uuid>,
    ) -> ApiResult<NoContent, (Permitted, NotFound)> {
        webhook::delete_endpoint(&auth.context, &caller, &origin, EndpointId(id.0)).await?;
        Ok(NoContent)
    }

    /// Publish an event of the tenant's own
    ///
    /// It is delivered to every endpoint that takes its type. Takes `events:publish`.
    #[oai(path = "/events", method = "post", operation_id = "publishEvent")]
    async fn publish(
        &self,
        Data(publisher): Data<&Publisher>,
        Permit(caller): Permit<EventsPublish>,
        origin: ClientOrigin,
        body: Json<PublishRequest>,
    ) -> ApiResult<Accepted<PublishedView>, (Permitted, Input)> {
        let PublishRequest { event_type, payload } = body.0;
        let id = publisher
            .publish(&caller, &origin, &event_type, &payload.0)
            .await?;
        Ok(Accepted(PublishedView { event_id: id.0 }))
    }

    /// List events
    ///
    /// Newest first. Takes `webhooks:read`.
    #[oai(path = "/events", method = "get", operation_id = "listEvents")]
    #[expect(clippy::too_many_arguments, reason = "each is a parameter of the operation")]
    async fn list_events(
        &self,
        Data(auth): Data<&Auth>,
        Permit(caller): Permit<WebhooksRead>,
        /// Of one type
        #[oai(name = "type")]
        event_type: Query<Option<String>>,
        /// Made then or later
        since: Query<Option<DateTime<Utc>>>,
        /// Made earlier than that
        until: Query<Option<DateTime<Utc>>>,
        /// Rows of a page
        #[oai(validator(minimum(value = "1"), maximum(value = "100")))]
        limit: Query<Option<u32>>,
        /// `next_cursor` of the page before
        cursor: Query<Option<String>>,
    ) -> ApiResult<Reply<List<EventView>>, (Permitted, Parameters, Input)> {
        let filter = EventFilter {
            event_type: event_type.0,
            since: in_range("since", since.0)?,
            until: in_range("until", until.0)?,
        };
        let page = page(limit.0, cursor.0.as_deref())?;
        Ok(Reply(List::of(
            webhook::list_events(&auth.context, &caller, &filter, page).await?,
        )))
    }

    /// Get an event
    ///
    /// Takes `webhooks:read`.
    #[oai(path = "/events/:id", method = "get", operation_id = "getEvent")]
    async fn get_event(
        &self,
        Data(auth): Data<&Auth>,
        Permit(caller): Permit<WebhooksRead>,
        /// The event
        id: Path<Uuid>,
    ) -> ApiResult<Reply<EventView>, (Permitted, NotFound)> {
        Ok(Reply(
            webhook::get_event(&auth.context, &caller, EventId(id.0))
                .await?
                .into(),
        ))
    }

    /// List deliveries
    ///
    /// Newest first. Takes `webhooks:read`.
    #[oai(path = "/deliveries", method = "get", operation_id = "listDeliveries")]
    #[expect(clippy::too_many_arguments, reason = "each is a parameter of the operation")]
    async fn list_deliveries(
        &self,
        Data(auth): Data<&Auth>,
        Permit(caller): Permit<WebhooksRead>,
        /// Of one event
        event_id: Query<Option<Uuid>>,
        /// Of one endpoint
        endpoint_id: Query<Option<Uuid>>,
        /// In one state
        state: Query<Option<DeliveryStateView>>,
        /// Of one event type
        event_type: Query<Option<String>>,
        /// Made then or later
        since: Query<Option<DateTime<Utc>>>,
        /// Made earlier than that
        until: Query<Option<DateTime<Utc>>>,
        /// Rows of a page
        #[oai(validator(minimum(value = "1"), maximum(value = "100")))]
        limit: Query<Option<u32>>,
        /// `next_cursor` of the page before
        cursor: Query<Option<String>>,
    ) -> ApiResult<Reply<List<DeliveryView>>, (Permitted, Parameters, Input)> {
        let filter = DeliveryFilter {
            event_id: event_id.0.map(EventId),
            endpoint_id: endpoint_id.0.map(EndpointId),
            state: state.0.map(Into::into),
            event_type: event_type.0,
            since: in_range("since", since.0)?,
            until: in_range("until", until.0)?,
        };
        let page = page(limit.0, cursor.0.as_deref())?;
        Ok(Reply(List::of(
            webhook::list_deliveries(&auth.context, &caller, &filter, page).await?,
        )))
    }

    /// Get a delivery
    ///
    /// Takes `webhooks:read`.
    #[oai(path = "/deliveries/:id", method = "get", operation_id = "getDelivery")]
    async fn get_delivery(
        &self,
        Data(auth): Data<&Auth>,
        Permit(caller): Permit<WebhooksRead>,
        /// The delivery
        id: Path<Uuid>,
    ) -> ApiResult<Reply<DeliveryView>, (Permitted, NotFound)> {
        Ok(Reply(
            webhook::get_delivery(&auth.context, &caller, DeliveryId(id.0))
                .await?
                .into(),
        ))
    }
}
