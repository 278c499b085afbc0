//! Whether the worker can work, for orchestrators.
//!
//! However often it is asked for, PostgreSQL and Redis are looked at once a second at most.

use std::time::{Duration, Instant};

use latchkey_shared::{
    context::Context,
    health::{self, Part, Parts},
};
use poem::{Response, http::StatusCode};
use serde_json::json;
use tokio::sync::Mutex;

/// So long what was found is told again.
const REMEMBERED: Duration = Duration::from_secs(1);

/// What was found last.
pub(crate) struct Readiness {
    context: Context,
    /// Held by who looks: whoever asks meanwhile is told what is found.
    found: Mutex<Option<(Instant, Parts)>>,
}

impl Readiness {
    pub(crate) fn new(context: Context) -> Self {
        Self {
            context,
            found: Mutex::default(),
        }
    }

    /// 200 where both answer, 503 otherwise, with a body that says which one does not.
    pub(crate) async fn tell(&self) -> Response {
        let Parts { postgres, redis } = self.parts().await;
        let (status, word) = match (postgres, redis) {
            (Part::Ok, Part::Ok) => (StatusCode::OK, "ready"),
            _ => (StatusCode::SERVICE_UNAVAILABLE, "not_ready"),
        };
        let body = json!({ "status": word, "postgres": postgres, "redis": redis });
        Response::builder()
            .status(status)
            .content_type("application/json")
            .body(body.to_string())
    }

    async fn parts(&self) -> Parts {
        let mut found = self.found.lock().await;
        if let Some((at, parts)) = *found
            && at.elapsed() < REMEMBERED
        {
            return parts;
        }
        let parts = health::look(&self.context, &latchkey_migration::expected_version()).await;
        *found = Some((Instant::now(), parts));
        parts
    }
}
