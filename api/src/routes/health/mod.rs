//! Whether the server works: for orchestrators and load balancers.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use latchkey_shared::{
    auth::Auth,
    health::{self, Part, Parts},
};
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
#[derive(Enum)]
#[oai(rename_all = "snake_case")]
enum PartStatus {
    Ok,
    Unavailable,
    /// The database's schema is older than the one this version was built for.
    WrongVersion,
}

impl From<Part> for PartStatus {
    fn from(part: Part) -> Self {
        match part {
            Part::Ok => Self::Ok,
            Part::Unavailable => Self::Unavailable,
            Part::WrongVersion => Self::WrongVersion,
        }
    }
}

/// Whether the process hears what has been revoked and changed.
#[derive(Clone, Copy, PartialEq, Eq, Enum)]
#[oai(rename_all = "snake_case")]
enum SignalsStatus {
    Ok,
    /// It has heard nothing for two seconds, and lets nobody in by what it knew before.
    Stale,
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
    signals: SignalsStatus,
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
    /// PostgreSQL answers, its schema is the expected one, the process hears what has been revoked, and it is not about
    /// to end. Without Redis the server is degraded and still ready.
    #[oai(path = "/ready", method = "get", operation_id = "getReadiness")]
    async fn ready(&self, Data(auth): Data<&Auth>, Data(draining): Data<&Draining>) -> Readiness {
        let context = &auth.context;
        let Parts { postgres, redis } = health::look(context, &latchkey_migration::expected_version()).await;
        let signals = if context.signals.is_fresh() {
            SignalsStatus::Ok
        } else {
            SignalsStatus::Stale
        };
        let draining = draining.has_begun();
        let status = match (postgres, redis) {
            _ if draining || signals == SignalsStatus::Stale => ReadyStatus::NotReady,
            (Part::Ok, Part::Ok) => ReadyStatus::Ready,
            (Part::Ok, _) => ReadyStatus::Degraded,
            _ => ReadyStatus::NotReady,
        };
        Readiness(ReadyView {
            status,
            postgres: postgres.into(),
            redis: redis.into(),
            signals,
            draining,
        })
    }
}
