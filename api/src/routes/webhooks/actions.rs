//! What is done with endpoints and deliveries, beyond changing them.

use std::time::Duration;

use chrono::{DateTime, Datelike, Utc};
use latchkey_shared::{
    auth::Auth,
    id::{DeliveryId, EndpointId},
    permission::{WebhooksRead, WebhooksWrite},
    webhook::{self, Health, MAX_OVERLAP},
};
use poem::web::Data;
use poem_openapi::{Object, OpenApi, param::Path, types::Example};
use uuid::Uuid;

use super::{attempts::ErrorClassView, model::DeliveryView};
use crate::{
    extract::{ClientOrigin, Json, OptionalJson, Permit},
    problem::{ApiResult, Conflict, Failure, FieldError, Input, NotFound, Permitted, ProblemCode},
    reply::{Accepted, Ok as Reply},
    routes::Tag,
    time::Timestamp,
};

/// A secret signs beside its successor for so long, if nothing else is asked.
const OVERLAP: Duration = Duration::from_hours(24);

/// The operations.
pub struct WebhookActionsApi;

#[OpenApi(prefix_path = "/v1/webhooks", tag = "Tag::Webhooks")]
impl WebhookActionsApi {
    /// Rotate an endpoint's secret
    ///
    /// Shows the new secret this once. Earlier ones sign beside it for `overlap_seconds` more at most: a day if absent, a
    /// week at most, and not at all with 0. Meanwhile `webhook-signature` holds a signature of each, the newest first.
    /// Five secrets sign at most; one more, and the oldest ends. Takes `webhooks:write`.
    #[oai(
        path = "/endpoints/:id/secret/rotate",
        method = "post",
        operation_id = "rotateWebhookSecret"
    )]
    async fn rotate(
        &self,
        Data(auth): Data<&Auth>,
        Permit(caller): Permit<WebhooksWrite>,
        origin: ClientOrigin,
        /// The endpoint
        id: Path<Uuid>,
        body: OptionalJson<RotateSecretRequest>,
    ) -> ApiResult<Reply<SecretView>, (Permitted, Input, NotFound, Conflict)> {
        let (id, overlap) = (EndpointId(id.0), body.0.overlap());
        let secret = webhook::rotate_secret(&auth.context, &caller, &origin, id, overlap).await?;
        Ok(Reply(SecretView {
            secret: secret.expose().clone(),
        }))
    }

    /// Send a test event
    ///
    /// A `webhook.test`, to this endpoint whatever it asks for, and to no other. Takes `webhooks:write`.
    #[oai(
        path = "/endpoints/:id/test",
        method = "post",
        operation_id = "testWebhookEndpoint"
    )]
    async fn test(
        &self,
        Data(auth): Data<&Auth>,
        Permit(caller): Permit<WebhooksWrite>,
        origin: ClientOrigin,
        /// The endpoint
        id: Path<Uuid>,
    ) -> ApiResult<Accepted<SentTestView>, (Permitted, Input, NotFound, Conflict)> {
        let delivery = webhook::send_test(&auth.context, &caller, &origin, EndpointId(id.0)).await?;
        Ok(Accepted(SentTestView {
            delivery_id: delivery.0,
        }))
    }

    /// Bring back what an endpoint has lost
    ///
    /// Deliveries made in the span that failed or were cancelled are sent anew, through the whole schedule, as there is
    /// room; those that are under way already are not counted again. Takes `webhooks:write`.
    #[oai(
        path = "/endpoints/:id/recover",
        method = "post",
        operation_id = "recoverWebhookEndpoint"
    )]
    async fn recover(
        &self,
        Data(auth): Data<&Auth>,
        Permit(caller): Permit<WebhooksWrite>,
        origin: ClientOrigin,
        /// The endpoint
        id: Path<Uuid>,
        body: Json<RecoverRequest>,
    ) -> ApiResult<Accepted<RecoveredView>, (Permitted, Input, NotFound, Conflict)> {
        let since = body_time("/since", body.0.since)?;
        let until = body.0.until.map(|at| body_time("/until", at)).transpose()?;
        let id = EndpointId(id.0);
        let count = webhook::recover(&auth.context, &caller, &origin, id, since, until).await?;
        Ok(Accepted(RecoveredView { count }))
    }

    /// How an endpoint has answered
    ///
    /// The calls of the last 24 hours, for the endpoint's newest 1,000 deliveries. Takes `webhooks:read`.
    #[oai(
        path = "/endpoints/:id/health",
        method = "get",
        operation_id = "getWebhookEndpointHealth"
    )]
    async fn health(
        &self,
        Data(auth): Data<&Auth>,
        Permit(caller): Permit<WebhooksRead>,
        /// The endpoint
        id: Path<Uuid>,
    ) -> ApiResult<Reply<HealthView>, (Permitted, NotFound)> {
        let health = webhook::get_health(&auth.context, &caller, EndpointId(id.0)).await?;
        Ok(Reply(health.into()))
    }

    /// Send a delivery once more
    ///
    /// One that has come to its end goes through the whole schedule again; one that waits is due now; one that is being
    /// sent stays as it is. Takes `webhooks:write`.
    #[oai(
        path = "/deliveries/:id/retry",
        method = "post",
        operation_id = "retryDelivery"
    )]
    async fn retry(
        &self,
        Data(auth): Data<&Auth>,
        Permit(caller): Permit<WebhooksWrite>,
        origin: ClientOrigin,
        /// The delivery
        id: Path<Uuid>,
    ) -> ApiResult<Accepted<DeliveryView>, (Permitted, NotFound, Conflict)> {
        let delivery = webhook::redeliver(&auth.context, &caller, &origin, DeliveryId(id.0)).await?;
        Ok(Accepted(delivery.into()))
    }
}

/// How to replace a secret.
#[derive(Object)]
#[oai(rename = "RotateWebhookSecretRequest", deny_unknown_fields)]
struct RotateSecretRequest {
    /// For so long earlier secrets sign beside the new one.
    #[oai(validator(minimum(value = "0"), maximum(value = "604800")))]
    overlap_seconds: Option<u32>,
}

impl RotateSecretRequest {
    fn overlap(&self) -> Duration {
        let seconds = self
            .overlap_seconds
            .map(|seconds| Duration::from_secs(seconds.into()));
        seconds.unwrap_or(OVERLAP).min(MAX_OVERLAP)
    }
}

/// A new secret.
#[derive(Object)]
#[oai(rename = "WebhookSecret")]
struct SecretView {
    /// Verifies signatures (Standard Webhooks); shown this once.
    secret: String,
}

/// A test that was sent.
#[derive(Object)]
#[oai(rename = "SentWebhookTest")]
struct SentTestView {
    /// Says what comes of it.
    delivery_id: Uuid,
}

/// What to bring back.
#[derive(Object)]
#[oai(rename = "RecoverWebhookEndpointRequest", deny_unknown_fields, example)]
struct RecoverRequest {
    /// What was made then or later.
    since: DateTime<Utc>,
    /// What was made earlier than that; than now, if absent.
    until: Option<DateTime<Utc>>,
}

impl Example for RecoverRequest {
    fn example() -> Self {
        Self {
            since: DateTime::from_timestamp_nanos(1_767_225_600_000_000_000),
            until: None,
        }
    }
}

/// What is brought back.
#[derive(Object)]
#[oai(rename = "RecoveredWebhookEndpoint")]
struct RecoveredView {
    /// How many deliveries; 100,000 where there are more.
    count: u64,
}

/// How an endpoint has answered.
#[derive(Object)]
#[oai(rename = "WebhookEndpointHealth")]
struct HealthView {
    /// Calls.
    attempts: i64,
    /// Calls that the endpoint took.
    succeeded: i64,
    /// Their share, from 0 to 1; null without a call.
    success_rate: Option<f64>,
    /// Half of the calls took no longer, in milliseconds.
    p50_ms: Option<i32>,
    /// All but one in a hundred took no longer, in milliseconds.
    p99_ms: Option<i32>,
    /// The call that failed last.
    last_error: Option<LastErrorView>,
}

/// A call that failed.
#[derive(Object)]
#[oai(rename = "WebhookEndpointError")]
struct LastErrorView {
    /// When it began.
    at: Timestamp,
    /// As in `Attempt`.
    error_class: Option<ErrorClassView>,
    /// What it said.
    error_detail: Option<String>,
    /// The HTTP status, if there was an answer.
    status: Option<i16>,
}

impl From<Health> for HealthView {
    fn from(health: Health) -> Self {
        let Health {
            attempts,
            succeeded,
            p50_ms,
            p99_ms,
            last_error_at,
            last_error_class,
            last_error_detail,
            last_error_status,
        } = health;
        #[expect(clippy::cast_precision_loss, reason = "a few thousand calls at most")]
        let success_rate = (attempts > 0).then(|| succeeded as f64 / attempts as f64);
        Self {
            attempts,
            succeeded,
            success_rate,
            p50_ms,
            p99_ms,
            last_error: last_error_at.map(|at| LastErrorView {
                at: at.into(),
                error_class: last_error_class.map(Into::into),
                error_detail: last_error_detail,
                status: last_error_status,
            }),
        }
    }
}

/// PostgreSQL's calendar is shorter than the parser's.
fn body_time(pointer: &'static str, at: DateTime<Utc>) -> Result<DateTime<Utc>, Failure> {
    if (1..=9999).contains(&at.year()) {
        return Ok(at);
    }
    let field = FieldError::new(pointer, "invalid", "The year is out of range.");
    Err(Failure::fields(ProblemCode::ValidationFailed, vec![field]))
}
