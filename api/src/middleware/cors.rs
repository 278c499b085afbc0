//! What a browser has to be told before it lets pages of another origin call the API (Fetch Standard, HTTP CORS protocol).
//!
//! The framework's own middleware answers whoever names an origin that is not allowed with 403: a client that is no browser
//! would be shut out, where the standard wants an answer without these headers, which the browser then keeps from the page.
//! It also says `Vary` on few answers, and overwrites what is there.
//!
//! What must never happen: `Access-Control-Allow-Credentials`. A page shows its token in `Authorization`, and nothing that a
//! browser adds by itself lets anybody in.

use std::{collections::BTreeSet, sync::Arc};

use latchkey_shared::config::WebOrigin;
use poem::{
    Request, Response,
    http::{HeaderValue, Method, StatusCode, header},
};
use serde_json::Value;

/// What a page may send. `X-API-Key` is not needed: keys are for machines, and whoever has one in a page all the same sends it
/// as `Authorization`.
const SENT: &str =
    "authorization, content-type, idempotency-key, if-match, traceparent, x-request-id, x-tenant-id";
/// What it may read, beside what browsers always show.
const READ: &str = "etag, idempotent-replayed, location, ratelimit, ratelimit-policy, retry-after, www-authenticate, \
    x-request-id";
/// So many seconds a browser asks for the same no second time.
const MAX_AGE: &str = "600";

/// Whose pages may call the API, and how.
#[derive(Clone)]
pub struct Cors(Arc<Allowed>);

struct Allowed {
    origins: Vec<WebOrigin>,
    methods: String,
}

impl Cors {
    /// The document's methods, for pages of these origins. Without any, no answer says anything of origins.
    #[must_use]
    pub fn of(document: &Value, origins: Vec<WebOrigin>) -> Self {
        let paths = document["paths"].as_object().into_iter().flatten();
        let operations = paths.filter_map(|(_, operations)| operations.as_object());
        let methods: BTreeSet<String> = operations
            .flat_map(|operations| operations.keys().map(|method| method.to_uppercase()))
            .collect();
        let methods: Vec<String> = methods.into_iter().collect();
        Self(Arc::new(Allowed {
            origins,
            methods: methods.join(", "),
        }))
    }

    /// The origin of the page that the request comes from, if the page may read the answer.
    pub(super) fn page(&self, request: &Request) -> Option<HeaderValue> {
        let origin = request.headers().get(header::ORIGIN)?;
        let mut origins = self.0.origins.iter();
        let known = origins.any(|known| known.as_str().as_bytes() == origin.as_bytes());
        (known && !is_of_docs(request)).then(|| origin.clone())
    }

    /// The answer to a browser that asks whether such a page may call. It costs nothing, and needs no credential.
    pub(super) fn preflight(&self, request: &Request) -> Option<Response> {
        let asks = request.method() == Method::OPTIONS
            && request
                .headers()
                .contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
        if !asks || self.page(request).is_none() {
            return None;
        }
        let response = Response::builder()
            .status(StatusCode::NO_CONTENT)
            .header(header::ACCESS_CONTROL_ALLOW_METHODS, self.0.methods.as_str())
            .header(header::ACCESS_CONTROL_ALLOW_HEADERS, SENT)
            .header(header::ACCESS_CONTROL_MAX_AGE, MAX_AGE)
            .finish();
        Some(response)
    }

    /// Says whose page may read the response, and what of its headers.
    pub(super) fn complete(&self, response: &mut Response, page: Option<HeaderValue>) {
        if self.0.origins.is_empty() {
            return;
        }
        let headers = response.headers_mut();
        // Also where nobody's may: no cache is to give that answer to a page that may read it, nor the other way round.
        headers.append(header::VARY, HeaderValue::from_static("Origin"));
        let Some(origin) = page else { return };
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(
            header::ACCESS_CONTROL_EXPOSE_HEADERS,
            HeaderValue::from_static(READ),
        );
    }
}

/// Swagger UI is a page of this server's own, for no other page.
fn is_of_docs(request: &Request) -> bool {
    let rest = request.original_uri().path().strip_prefix("/docs");
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}
