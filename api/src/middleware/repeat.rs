//! `Idempotency-Key`: a request that makes something may be sent again, and makes it once
//! (draft-ietf-httpapi-idempotency-key-header).

use std::{sync::Arc, time::Instant};

use latchkey_shared::{
    auth::Auth,
    context::Context,
    error::Internal,
    idempotency::{self, Begun, Reply},
    principal::Claim,
};
use poem::{
    Endpoint, IntoResponse, Request, Response, Result,
    http::{HeaderName, HeaderValue, Method, StatusCode, header},
};
use serde_json::Value;
use tracing::Instrument;

use super::template::Template;
use crate::{
    extract::{self, CarriedOut, ClientOrigin, PROMPTLY},
    problem::{Failure, FieldError, ProblemCode},
    spec::IDEMPOTENCY_KEY,
};

const REPLAYED: &str = "idempotent-replayed";
const MAX_KEY: usize = 255;
/// What belongs to the answer itself.
const KEPT: [HeaderName; 3] = [header::CONTENT_TYPE, header::LOCATION, header::ETAG];
/// Fields of answers that are shown once, and what stands in their place afterwards.
const SHOWN_ONCE: [&str; 2] = ["key", "secret"];
const REDACTED: &str = "redacted";

/// The operations that take the header, read from the published document.
#[derive(Clone)]
pub struct Repeatable(Arc<Vec<Template>>);

impl Repeatable {
    /// Reads the document's paths.
    #[must_use]
    pub fn of(document: &Value) -> Self {
        let takes_key = |operations: &Value| {
            let parameters = operations["post"]["parameters"].as_array();
            let mut parameters = parameters.into_iter().flatten();
            parameters.any(|parameter| parameter["name"] == IDEMPOTENCY_KEY)
        };
        let paths = document["paths"].as_object().into_iter().flatten();
        let taking = paths.filter(|(_, operations)| takes_key(operations));
        Self(Arc::new(taking.map(|(path, _)| Template::of(path)).collect()))
    }

    fn takes(&self, request: &Request) -> bool {
        request.method() == Method::POST
            && request.headers().contains_key(IDEMPOTENCY_KEY)
            && self
                .0
                .iter()
                .any(|template| template.fits(request.original_uri().path()))
    }
}

/// Wraps the call of an endpoint.
///
/// # Errors
/// The endpoint's own, and those of a key that cannot be used.
pub async fn repeat<E: Endpoint + 'static>(endpoint: Arc<E>, mut request: Request) -> Result<Response> {
    let takes = request
        .data::<Repeatable>()
        .is_some_and(|operations| operations.takes(&request));
    let Some(auth) = request.data::<Auth>().filter(|_| takes).cloned() else {
        return call(&*endpoint, request).await;
    };
    // Whoever is not let in is told so by the operation, before their body is waited for.
    let Some(mut principal) = extract::identify(&mut request).await else {
        return call(&*endpoint, request).await;
    };
    let asked_at = Instant::now();
    let body = extract::in_time(request.take_body(), &auth.context.config.server).await?;
    request.set_body(body.clone());
    // Who asks is to be who may ask when it has come.
    if asked_at.elapsed() >= PROMPTLY {
        principal = extract::identify_again(&mut request).await?;
    }
    let key = key(&request)?;
    let target = request.original_uri().path().to_owned();
    let begun = idempotency::begin(&auth.context, &principal, &key, &[target.as_bytes(), &body])
        .await
        .map_err(Failure::from)?;
    let claim = match begun {
        Begun::New(claim) => claim,
        Begun::Again(reply) => {
            // It is told to who may still do this: by the operation's own measure, which ends there.
            request.set_data(CarriedOut);
            return match call(&*endpoint, request).await {
                Err(ended) if ended.is::<CarriedOut>() => Ok(replay(reply)),
                refused => refused,
            };
        }
        Begun::Running => return Err(refused(ProblemCode::IdempotencyInProgress)),
        Begun::Different => return Err(refused(ProblemCode::IdempotencyMismatch)),
        Begun::Lost => return Err(refused(ProblemCode::IdempotencyLost)),
    };
    if let Some(mut origin) = request.data::<ClientOrigin>().cloned() {
        origin.0.claim = Some(claim);
        request.set_data(origin);
    }
    // By itself: a client that hangs up now asks again, and is to be told what became of this, not that it is under way.
    let carried_out = async move {
        let answer = call(&*endpoint, request).await;
        settle(&auth.context, &claim, answer).await
    };
    match tokio::spawn(carried_out.in_current_span()).await {
        Ok(answer) => answer,
        Err(ended) => match ended.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The process is ending.
            Err(ended) => Err(Failure::from(Internal::unavailable(ended)).into()),
        },
    }
}

async fn call<E: Endpoint>(endpoint: &E, request: Request) -> Result<Response> {
    endpoint.call(request).await.map(IntoResponse::into_response)
}

fn key(request: &Request) -> Result<String, Failure> {
    let key = request
        .headers()
        .get(IDEMPOTENCY_KEY)
        .and_then(|key| key.to_str().ok());
    let plain =
        |key: &&str| (1..=MAX_KEY).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic());
    key.filter(plain).map(str::to_owned).ok_or_else(|| {
        let pointer = format!("/header/{IDEMPOTENCY_KEY}");
        let field = FieldError::new(
            pointer,
            "invalid_format",
            "1 to 255 visible ASCII characters, no spaces.",
        );
        Failure::fields(ProblemCode::InvalidParameter, vec![field])
    })
}

fn refused(code: ProblemCode) -> poem::Error {
    let detail = match code {
        ProblemCode::IdempotencyInProgress => {
            "The first request with this key is under way; ask again in a moment."
        }
        ProblemCode::IdempotencyMismatch => "The first request with this key was another one; use a new key.",
        _ => {
            "The first request with this key was carried out, and its answer was lost; look for what it made."
        }
    };
    Failure::new(code, detail).into()
}

/// Keeps the answer to a request that was carried out, or gives its key up.
async fn settle(context: &Context, claim: &Claim, answer: Result<Response>) -> Result<Response> {
    let status = match &answer {
        Ok(response) => response.status(),
        Err(error) => error.status(),
    };
    let kept = match answer {
        Ok(response) if status.is_success() => {
            let (parts, body) = response.into_parts();
            let body = body.into_string().await?;
            let reply = Reply {
                status: status.as_u16(),
                headers: kept_headers(&parts.headers),
                body: redact(&body),
            };
            let finished = idempotency::finish(context, claim, &reply).await;
            if let Err(error) = finished {
                tracing::warn!(%error, "an answer was not kept; whoever asks again is told that it was lost");
            }
            return Ok(Response::from_parts(parts, body.into()));
        }
        refused => refused,
    };
    if let Err(error) = idempotency::abandon(context, claim, status.is_server_error()).await {
        tracing::warn!(%error, "a key was not given up; it is free when its lease ends");
    }
    kept
}

fn kept_headers(headers: &poem::http::HeaderMap) -> Vec<(String, String)> {
    let text = |name: &HeaderName| Some((name.to_string(), headers.get(name)?.to_str().ok()?.to_owned()));
    KEPT.iter().filter_map(text).collect()
}

fn redact(body: &str) -> String {
    let Ok(Value::Object(mut fields)) = serde_json::from_str(body) else {
        return body.to_owned();
    };
    for name in SHOWN_ONCE {
        if let Some(field) = fields.get_mut(name) {
            *field = REDACTED.into();
        }
    }
    Value::Object(fields).to_string()
}

fn replay(reply: Reply) -> Response {
    let status = StatusCode::from_u16(reply.status).unwrap_or_default();
    let mut response = Response::builder().status(status).body(reply.body);
    for (name, value) in reply.headers {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            response.headers_mut().insert(name, value);
        }
    }
    response
        .headers_mut()
        .insert(REPLAYED, HeaderValue::from_static("true"));
    response
}
