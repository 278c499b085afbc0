//! Attempts: of a delivery, and of an endpoint.

use chrono::{DateTime, Utc};
use latchkey_shared::{
    auth::Auth,
    entity::ErrorClass,
    id::{DeliveryId, EndpointId},
    permission::WebhooksRead,
    webhook::{self, Attempt, AttemptFilter},
};
use poem::web::Data;
use poem_openapi::{
    Enum, Object, OpenApi,
    param::{Path, Query},
    types::Any,
};
use serde_json::Value;
use uuid::Uuid;

use crate::{
    extract::Permit,
    problem::{ApiResult, NotFound, Parameters, Permitted},
    reply::{List, Ok as Reply},
    routes::{Tag, in_range, page},
    time::Timestamp,
};

/// The operations.
pub struct AttemptsApi;

#[OpenApi(prefix_path = "/v1/webhooks", tag = "Tag::Webhooks")]
impl AttemptsApi {
    /// List the attempts of a delivery
    ///
    /// Newest first. Takes `webhooks:read`.
    #[oai(
        path = "/deliveries/:id/attempts",
        method = "get",
        operation_id = "listDeliveryAttempts"
    )]
    async fn list_of_delivery(
        &self,
        Data(auth): Data<&Auth>,
        Permit(caller): Permit<WebhooksRead>,
        /// The delivery
        id: Path<Uuid>,
        /// Rows of a page
        #[oai(validator(minimum(value = "1"), maximum(value = "100")))]
        limit: Query<Option<u32>>,
        /// `next_cursor` of the page before
        cursor: Query<Option<String>>,
    ) -> ApiResult<Reply<List<AttemptView>>, (Permitted, Parameters, NotFound)> {
        let page = page(limit.0, cursor.0.as_deref())?;
        let attempts = webhook::list_attempts(&auth.context, &caller, DeliveryId(id.0), page).await?;
        Ok(Reply(List::of(attempts)))
    }

    /// List the attempts at an endpoint
    ///
    /// Of all its deliveries, newest first. Takes `webhooks:read`.
    #[oai(
        path = "/endpoints/:id/attempts",
        method = "get",
        operation_id = "listEndpointAttempts"
    )]
    #[expect(clippy::too_many_arguments, reason = "each is a parameter of the operation")]
    async fn list_of_endpoint(
        &self,
        Data(auth): Data<&Auth>,
        Permit(caller): Permit<WebhooksRead>,
        /// The endpoint
        id: Path<Uuid>,
        /// With one outcome
        outcome: Query<Option<OutcomeView>>,
        /// With one kind of failure
        error_class: Query<Option<ErrorClassView>>,
        /// Begun then or later
        since: Query<Option<DateTime<Utc>>>,
        /// Begun earlier than that
        until: Query<Option<DateTime<Utc>>>,
        /// Rows of a page
        #[oai(validator(minimum(value = "1"), maximum(value = "100")))]
        limit: Query<Option<u32>>,
        /// `next_cursor` of the page before
        cursor: Query<Option<String>>,
    ) -> ApiResult<Reply<List<AttemptView>>, (Permitted, Parameters, NotFound)> {
        let filter = AttemptFilter {
            succeeded: outcome.0.map(|outcome| matches!(outcome, OutcomeView::Succeeded)),
            error_class: error_class.0.map(Into::into),
            since: in_range("since", since.0)?,
            until: in_range("until", until.0)?,
        };
        let page = page(limit.0, cursor.0.as_deref())?;
        let id = EndpointId(id.0);
        let attempts = webhook::list_endpoint_attempts(&auth.context, &caller, id, &filter, page).await?;
        Ok(Reply(List::of(attempts)))
    }
}

/// How an attempt ended.
#[derive(Enum)]
#[oai(rename = "AttemptOutcome", rename_all = "snake_case")]
enum OutcomeView {
    Succeeded,
    Failed,
}

/// What kept a call from being a success.
#[derive(Enum)]
#[oai(rename = "ErrorClass", rename_all = "snake_case", remote = "ErrorClass")]
pub(super) enum ErrorClassView {
    /// The host's name has no address.
    Dns,
    /// The host, or one of its addresses, is not public.
    RefusedAddress,
    /// Nobody took the connection.
    Connect,
    /// The connection could not be made safe: the certificate is not to be trusted, or there is no TLS.
    Tls,
    /// There was no answer in time.
    Timeout,
    /// The connection ended before the answer was there.
    ConnectionClosed,
    /// What came back is no HTTP.
    InvalidResponse,
    /// The answer leads elsewhere; redirects are not followed.
    Redirect,
    /// The answer's status is no success.
    HttpStatus,
    /// The call could not be made, for a reason on our side.
    Other,
}

/// One call of an endpoint.
#[derive(Object)]
#[oai(rename = "Attempt")]
pub(super) struct AttemptView {
    id: Uuid,
    delivery_id: Uuid,
    /// Counts from 1.
    number: i32,
    started_at: Timestamp,
    /// Milliseconds.
    duration_ms: i32,
    outcome: OutcomeView,
    /// The HTTP status, if there was a response.
    status: Option<i16>,
    /// What kept it from being a success.
    error_class: Option<ErrorClassView>,
    /// What the failure said.
    error_detail: Option<String>,
    /// The address that was called, with its port.
    address: Option<String>,
    /// The `traceparent` (W3C Trace Context) that the call bore: in the trace of the request that caused the event, if
    /// that bore one, and with an id of its own.
    traceparent: Option<String>,
    /// Of the response.
    response_headers: Any<Value>,
    /// The first 16 KiB of the response.
    response_body: Option<String>,
}

impl From<Attempt> for AttemptView {
    fn from(attempt: Attempt) -> Self {
        let Attempt {
            id,
            delivery_id,
            number,
            started_at,
            duration_ms,
            succeeded,
            status,
            error_class,
            error_detail,
            address,
            traceparent,
            response_headers,
            response_body,
        } = attempt;
        Self {
            id: id.0,
            delivery_id: delivery_id.0,
            number,
            started_at: started_at.into(),
            duration_ms,
            outcome: if succeeded {
                OutcomeView::Succeeded
            } else {
                OutcomeView::Failed
            },
            status,
            error_class: error_class.map(Into::into),
            error_detail,
            address,
            traceparent,
            response_headers: Any(response_headers),
            response_body,
        }
    }
}
