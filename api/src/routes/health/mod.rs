//! Whether the server works: for orchestrators and load balancers.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use latchkey_shared::auth::Auth;
use poem::{
    IntoResponse, Response,
    http::{HeaderValue, StatusCode, header},
    web::Data,
};
use poem_openapi::{
    ApiResponse, Enum, Object, OpenApi,
    registry::{MetaMediaType, MetaResponse, MetaResponses, Registry},
    types::Type,
};

use super::Tag;
use crate::{
    extract::Json,
    problem::{ApiResult, Parameters, headers},
    reply::Ok as Reply,
};

/// The operations.
pub struct HealthApi;

/// Turned once, when the process was asked to end: from then on it is not ready.
#[derive(Clone, Default)]
pub struct Draining(Arc<AtomicBool>);

impl Draining {
    /// The process is about to end.
    pub fn begin(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Whether it is.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

#[derive(Enum)]
#[oai(rename_all = "snake_case")]
enum LiveStatus {
    Live,
}

/// The process runs.
#[derive(Object)]
#[oai(rename = "Liveness")]
struct LiveView {
    status: LiveStatus,
}

/// Whether a part can be used.
#[derive(Clone, Copy, PartialEq, Eq, Enum)]
#[oai(rename_all = "snake_case")]
enum PartStatus {
    Ok,
    Unavailable,
    /// The database's schema is older than the one this version was built for.
    WrongVersion,
}

#[derive(Clone, Copy, PartialEq, Eq, Enum)]
#[oai(rename_all = "snake_case")]
enum ReadyStatus {
    /// All is well.
    Ready,
    /// Requests are served without Redis.
    Degraded,
    /// Send requests elsewhere.
    NotReady,
}

/// Seconds until it is worth while to ask again.
const RETRY_AFTER: u64 = 1;

/// Whether to send requests here.
#[derive(Object)]
#[oai(rename = "Readiness")]
struct ReadyView {
    status: ReadyStatus,
    postgres: PartStatus,
    redis: PartStatus,
    /// The process is about to end.
    draining: bool,
}

/// 200 and 503 have the same body: it says which part is missing.
struct Readiness(ReadyView);

impl IntoResponse for Readiness {
    fn into_response(self) -> Response {
        let ready = self.0.status != ReadyStatus::NotReady;
        let mut response = Json(self.0).into_response();
        if !ready {
            response.set_status(StatusCode::SERVICE_UNAVAILABLE);
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER));
        }
        response
    }
}

impl ApiResponse for Readiness {
    fn meta() -> MetaResponses {
        let response = |status, description, headers| MetaResponse {
            description,
            status: Some(status),
            status_range: None,
            content: vec![MetaMediaType {
                content_type: "application/json",
                schema: ReadyView::schema_ref(),
            }],
            headers,
        };
        MetaResponses {
            responses: vec![
                response(200, "Ready, perhaps degraded", Vec::new()),
                response(503, "Not ready", headers(503)),
            ],
        }
    }

    fn register(registry: &mut Registry) {
        ReadyView::register(registry);
    }
}

#[OpenApi(prefix_path = "/health", tag = "Tag::Health")]
impl HealthApi {
    /// Is the process alive
    #[expect(clippy::unused_async, reason = "the framework awaits every handler")]
    #[oai(path = "/live", method = "get", operation_id = "getLiveness")]
    async fn live(&self) -> ApiResult<Reply<LiveView>, Parameters> {
        Ok(Reply(LiveView {
            status: LiveStatus::Live,
        }))
    }

    /// Should it get requests
    ///
    /// PostgreSQL answers, its schema is the expected one, and the process is not about to end. Without Redis the
    /// server is degraded and still ready.
    #[oai(path = "/ready", method = "get", operation_id = "getReadiness")]
    async fn ready(&self, Data(auth): Data<&Auth>, Data(draining): Data<&Draining>) -> Readiness {
        let (postgres, redis) = tokio::join!(postgres(auth), redis(auth));
        let draining = draining.has_begun();
        let status = match (postgres, redis) {
            _ if draining => ReadyStatus::NotReady,
            (PartStatus::Ok, PartStatus::Ok) => ReadyStatus::Ready,
            (PartStatus::Ok, _) => ReadyStatus::Degraded,
            _ => ReadyStatus::NotReady,
        };
        Readiness(ReadyView {
            status,
            postgres,
            redis,
            draining,
        })
    }
}

async fn postgres(auth: &Auth) -> PartStatus {
    match auth.context.postgres.schema_version().await {
        Ok(Some(version)) if version >= latchkey_migration::expected_version() => PartStatus::Ok,
        Ok(_) => PartStatus::WrongVersion,
        Err(error) => {
            tracing::warn!(%error, "PostgreSQL does not answer");
            PartStatus::Unavailable
        }
    }
}

async fn redis(auth: &Auth) -> PartStatus {
    match auth.context.redis.ping().await {
        Ok(()) => PartStatus::Ok,
        Err(error) => {
            tracing::warn!(%error, "Redis does not answer");
            PartStatus::Unavailable
        }
    }
}
