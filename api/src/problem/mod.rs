//! Problems: every error that leaves this server is `application/problem+json` (RFC 9457).
//!
//! A handler returns an [`ApiError`] whose type lists the statuses it can have, so that the document lists them
//! too. What the framework refuses by itself is turned into a problem in [`framework`].
//!
//! What must never happen: a Rust type's name, a source error or a secret in a response.

mod code;
pub mod framework;
mod status;

use std::{marker::PhantomData, time::Duration};

use latchkey_shared::{config::Rate, error::Internal, limit::Exceeded};
use poem::{
    IntoResponse, Response,
    error::ResponseError,
    http::{HeaderMap, HeaderValue, StatusCode, header},
};
use poem_openapi::{
    ApiResponse, Object,
    registry::{MetaHeader, MetaMediaType, MetaResponse, MetaResponses, Registry},
    types::{ToJSON, Type},
};

pub use self::{
    code::ProblemCode,
    status::{
        Busy, Conflict, Input, Limited, Matched, NotFound, Parameters, Permitted, SignedIn, Statuses, Tenancy,
    },
};

const CONTENT_TYPE: &str = "application/problem+json";
/// A pointer can hold names that the caller has made up; more of one helps nobody.
const MAX_POINTER: usize = 200;
/// What waits now is done by then.
const SOON: Duration = Duration::from_secs(1);

/// What went wrong (RFC 9457).
#[derive(Clone, Debug, Object)]
pub struct Problem {
    /// A URI for the kind of problem.
    #[oai(rename = "type")]
    pub problem_type: String,
    /// The kind of problem in words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What went wrong this time, in words.
    pub detail: String,
    /// The kind of problem as a stable word.
    pub code: ProblemCode,
    /// The id of the request, also in `X-Request-Id`.
    pub request_id: String,
    /// The fields concerned; empty when it is not about fields.
    pub errors: Vec<FieldError>,
}

/// What is wrong with one field.
#[derive(Clone, Debug, PartialEq, Eq, Object)]
pub struct FieldError {
    /// A JSON pointer into the body (RFC 6901), or `/query/name`, `/header/name`.
    pub pointer: String,
    /// A stable word: what is wrong with the field, as `required`, `too_long`, `unknown_field` or `not_nullable`.
    pub code: String,
    /// In words, without the value.
    pub detail: String,
}

impl FieldError {
    /// A fault of the field at `pointer`.
    pub fn new(pointer: impl Into<String>, code: &str, detail: impl Into<String>) -> Self {
        Self {
            pointer: pointer.into().chars().take(MAX_POINTER).collect(),
            code: code.to_owned(),
            detail: detail.into(),
        }
    }
}

/// A problem on its way to the client; the request's id is added when it leaves.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{code:?}: {detail}")]
pub struct Failure {
    code: ProblemCode,
    detail: String,
    errors: Vec<FieldError>,
    max_age: Option<Duration>,
    retry_after: Option<Duration>,
    limit: Option<Box<(&'static str, Rate)>>,
}

impl Failure {
    /// A problem in its own words.
    pub fn new(code: ProblemCode, detail: impl Into<String>) -> Self {
        Self {
            code,
            detail: detail.into(),
            errors: Vec::new(),
            max_age: None,
            retry_after: None,
            limit: None,
        }
    }

    /// The caller asks too often, and may ask again after so long.
    #[must_use]
    pub fn too_often(wait: Duration) -> Self {
        Self {
            retry_after: Some(wait),
            ..Self::new(ProblemCode::RateLimited, "Come back after Retry-After seconds.")
        }
    }

    /// As [`Self::too_often`], by a limit that is not the client's own, which is told only now that it is used up.
    #[must_use]
    pub fn over(limit: Exceeded) -> Self {
        let Exceeded { class, rate, wait } = limit;
        Self {
            limit: Some(Box::new((class.as_str(), rate))),
            ..Self::too_often(wait)
        }
    }

    /// The caller proved a credential longer ago than the operation takes.
    #[must_use]
    pub fn stale_authentication(max_age: Duration) -> Self {
        let detail =
            "Prove your password, and your second factor if you have one, at /v1/auth/reauthenticate.";
        Self {
            max_age: Some(max_age),
            ..Self::new(ProblemCode::ReauthenticationRequired, detail)
        }
    }

    /// Fields that break rules.
    #[must_use]
    pub fn fields(code: ProblemCode, errors: Vec<FieldError>) -> Self {
        let detail = match errors.as_slice() {
            [only] => only.detail.clone(),
            several => format!("{} fields are not valid", several.len()),
        };
        Self {
            errors,
            ..Self::new(code, detail)
        }
    }

    /// The fields at fault; of a problem that is about none, one that says it of the whole.
    #[must_use]
    pub fn into_errors(self) -> Vec<FieldError> {
        if self.errors.is_empty() {
            vec![FieldError::new("", &word(self.code), self.detail)]
        } else {
            self.errors
        }
    }

    /// The kind of problem.
    #[must_use]
    pub fn code(&self) -> ProblemCode {
        self.code
    }

    /// The response to the request of that id.
    #[must_use]
    pub fn respond(&self, request_id: &str) -> Response {
        let status = self.code.status();
        let problem = Problem {
            problem_type: format!("urn:latchkey:problem:{}", word(self.code)),
            title: self.code.title().to_owned(),
            status: status.as_u16(),
            detail: self.detail.clone(),
            code: self.code,
            request_id: request_id.to_owned(),
            errors: self.errors.clone(),
        };
        let mut response = Response::builder()
            .status(status)
            .content_type(CONTENT_TYPE)
            .body(problem.to_json_string());
        let headers = response.headers_mut();
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, challenge(self.code, self.max_age));
        }
        let soon = (status == StatusCode::SERVICE_UNAVAILABLE).then_some(SOON);
        if let Some(wait) = self.retry_after.or(soon) {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(whole_seconds(wait)));
            if let Some((name, rate)) = self.limit.as_deref().copied() {
                limit_headers(headers, name, rate, 0, wait);
            }
        }
        response
    }
}

/// Where the client stands with a limit (draft-ietf-httpapi-ratelimit-headers).
pub(crate) fn limit_headers(headers: &mut HeaderMap, name: &str, rate: Rate, left: u32, until: Duration) {
    let (quota, window, seconds) = (rate.count, rate.window.as_secs(), whole_seconds(until));
    for (header, value) in [
        ("ratelimit-policy", format!("\"{name}\";q={quota};w={window}")),
        ("ratelimit", format!("\"{name}\";r={left};t={seconds}")),
    ] {
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(header, value);
        }
    }
}

/// Rounded up: who comes back then is let in.
pub(crate) fn whole_seconds(wait: Duration) -> u64 {
    wait.as_micros()
        .div_ceil(1_000_000)
        .try_into()
        .unwrap_or(u64::MAX)
}

fn word(code: ProblemCode) -> String {
    code.to_json()
        .and_then(|word| word.as_str().map(str::to_owned))
        .unwrap_or_default()
}

/// RFC 6750 section 3: an error only where a token was sent. RFC 9470 section 3: how recent it must be.
fn challenge(code: ProblemCode, max_age: Option<Duration>) -> HeaderValue {
    const PLAIN: &str = r#"Bearer realm="latchkey""#;
    let challenge = match (code, max_age) {
        (ProblemCode::Unauthenticated, _) => format!(r#"{PLAIN}, error="invalid_token""#),
        (_, Some(max_age)) => format!(
            r#"{PLAIN}, error="insufficient_user_authentication", max_age="{}""#,
            max_age.as_secs()
        ),
        _ => PLAIN.to_owned(),
    };
    HeaderValue::from_str(&challenge).unwrap_or(HeaderValue::from_static(PLAIN))
}

impl ResponseError for Failure {
    fn status(&self) -> StatusCode {
        self.code.status()
    }

    fn as_response(&self) -> Response {
        self.respond("")
    }
}

impl From<Internal> for Failure {
    fn from(error: Internal) -> Self {
        match error {
            Internal::Unavailable(source) => {
                tracing::warn!(error = %source, "a dependency does not answer");
                Self::new(ProblemCode::Unavailable, "The service cannot answer now.")
            }
            Internal::Fault(source) => {
                tracing::error!(error = %source, "internal error");
                Self::new(
                    ProblemCode::InternalError,
                    "The request id finds the cause in the server's log.",
                )
            }
        }
    }
}

/// The error side of a handler. `S` lists the statuses it can have, on top of 500 and 503.
pub struct ApiError<S> {
    failure: Failure,
    statuses: PhantomData<fn() -> S>,
}

/// What a handler returns.
pub type ApiResult<T, S> = Result<T, ApiError<S>>;

impl<S, F: Into<Failure>> From<F> for ApiError<S> {
    fn from(failure: F) -> Self {
        Self {
            failure: failure.into(),
            statuses: PhantomData,
        }
    }
}

impl<S> From<ApiError<S>> for poem::Error {
    fn from(error: ApiError<S>) -> Self {
        error.failure.into()
    }
}

impl<S> IntoResponse for ApiError<S> {
    fn into_response(self) -> Response {
        self.failure.as_response()
    }
}

impl<S: Statuses> ApiResponse for ApiError<S> {
    fn meta() -> MetaResponses {
        let mut statuses = S::list();
        statuses.extend([500, 503]);
        statuses.sort_unstable();
        statuses.dedup();
        MetaResponses {
            responses: statuses.into_iter().map(describe).collect(),
        }
    }

    fn register(registry: &mut Registry) {
        Problem::register(registry);
    }
}

fn describe(status: u16) -> MetaResponse {
    let known = StatusCode::from_u16(status).unwrap_or_default();
    MetaResponse {
        description: known.canonical_reason().unwrap_or("Problem"),
        status: Some(status),
        status_range: None,
        content: vec![MetaMediaType {
            content_type: CONTENT_TYPE,
            schema: Problem::schema_ref(),
        }],
        headers: headers(status),
    }
}

/// The headers that a refusal with that status always has.
pub(crate) fn headers(status: u16) -> Vec<MetaHeader> {
    let header = |name: &str, description: &str| MetaHeader {
        name: name.to_owned(),
        description: Some(description.to_owned()),
        required: true,
        deprecated: false,
        schema: String::schema_ref(),
    };
    match status {
        401 => vec![header("WWW-Authenticate", "How to authenticate (RFC 6750)")],
        429 => vec![
            header(
                "RateLimit-Policy",
                "The limit on the caller's address or key: `q` requests in `w` seconds",
            ),
            header(
                "RateLimit",
                "What is left of it: `r` requests, and the seconds `t` until there are more",
            ),
            header("Retry-After", "Seconds to wait (RFC 9110 section 10.2.3)"),
        ],
        503 => vec![header("Retry-After", "Seconds to wait (RFC 9110 section 10.2.3)")],
        _ => Vec::new(),
    }
}
