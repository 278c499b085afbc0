//! The one wrapper of all routes: an id for the request, an end for every error, a line and a figure for each.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Instant};

use futures::FutureExt;
use latchkey_shared::auth::Auth;
use poem::{
    Endpoint, IntoResponse, PathPattern, Request, Response, Result,
    http::{StatusCode, header},
};
use tracing::Instrument;

use super::{AllowedMethods, Cors, figures, headers};
use crate::{
    extract::{ClientOrigin, LimitNote},
    problem::{Failure, ProblemCode, framework},
    routes::health::Draining,
};

/// Longer ids are not taken over from a client.
const MAX_REQUEST_ID: usize = 64;
/// What the log and the figures have as the route of preflights: their paths are not looked at.
const PREFLIGHT: &str = "preflight";

/// Wraps the call of an endpoint; errors and panics become problems here.
///
/// # Errors
/// None: the type is the framework's.
pub async fn around<E: Endpoint>(endpoint: Arc<E>, mut request: Request) -> Result<Response> {
    let started = Instant::now();
    let request_id = request_id(&request);
    let method = method_of(&request);
    let target = request.original_uri().clone();
    let allowed = request.data::<AllowedMethods>().cloned();
    let draining = request.data::<Draining>().cloned().unwrap_or_default();
    let cors = request.data::<Cors>().cloned();
    let page = cors.as_ref().and_then(|cors| cors.page(&request));
    let preflight = cors.as_ref().and_then(|cors| cors.preflight(&request));
    let mut trace = None;
    if let Some(auth) = request.data::<Auth>() {
        let origin = ClientOrigin::of(
            &request,
            request_id.clone(),
            &auth.context.config.server.trusted_proxies,
        );
        trace = origin.trace;
        request.set_data(origin);
    }
    let note = LimitNote::default();
    request.set_data(note.clone());
    let trace_id = trace.map(|trace| trace.trace_id());
    let span = tracing::info_span!("request", %request_id, method, trace_id);
    let called = async {
        if let Some(response) = preflight {
            return (response, Some(Arc::<str>::from(PREFLIGHT)));
        }
        if has_nul(&request) {
            let failure = Failure::new(
                ProblemCode::InvalidParameter,
                "The request's target contains NUL.",
            );
            return (failure.respond(&request_id), None);
        }
        answer(&*endpoint, request, &request_id).await
    };
    let (mut response, route) = called.instrument(span.clone()).await;
    headers::complete(&mut response, &request_id);
    headers::limits(&mut response, &note);
    if let Some(cors) = &cors {
        cors.complete(&mut response, page);
    }
    if draining.has_begun() {
        headers::last_of_connection(&mut response);
    }
    if response.status() == StatusCode::METHOD_NOT_ALLOWED
        && let Some(methods) = allowed.as_ref().and_then(|allowed| allowed.get(target.path()))
    {
        response.headers_mut().insert(header::ALLOW, methods.clone());
    }

    let route = route.as_deref().unwrap_or("unmatched");
    let status = response.status().as_u16();
    let elapsed = started.elapsed();
    span.in_scope(|| tracing::info!(route, status, seconds = elapsed.as_secs_f64(), "answered"));
    figures::count(method, route, status, elapsed);
    Ok(response)
}

/// The response and the template of the route it came from.
async fn answer<E: Endpoint>(
    endpoint: &E,
    request: Request,
    request_id: &str,
) -> (Response, Option<Arc<str>>) {
    let called = AssertUnwindSafe(endpoint.call(request)).catch_unwind().await;
    match called {
        Ok(Ok(output)) => {
            let response = output.into_response();
            let route = response
                .data::<PathPattern>()
                .map(|pattern| Arc::clone(&pattern.0));
            (response, route)
        }
        Ok(Err(error)) => {
            let route = error.data::<PathPattern>().map(|pattern| Arc::clone(&pattern.0));
            (framework::failure(&error).respond(request_id), route)
        }
        Err(_) => {
            tracing::error!("a handler panicked");
            let failure = Failure::new(
                ProblemCode::InternalError,
                "The request id finds the cause in the server's log.",
            );
            (failure.respond(request_id), None)
        }
    }
}

/// A client may make up methods; as labels they would be kept for ever.
fn method_of(request: &Request) -> &'static str {
    const KNOWN: [&str; 7] = ["GET", "POST", "PATCH", "DELETE", "PUT", "HEAD", "OPTIONS"];
    KNOWN
        .into_iter()
        .find(|known| *known == request.method().as_str())
        .unwrap_or("other")
}

/// The gateway's id, if it is a plain one; else a new one.
fn request_id(request: &Request) -> String {
    let plain = |id: &&str| {
        (1..=MAX_REQUEST_ID).contains(&id.len())
            && id
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    let given = request
        .headers()
        .get("x-request-id")
        .and_then(|value| value.to_str().ok())
        .filter(plain);
    match (given, request.data::<Auth>()) {
        (Some(id), _) => id.to_owned(),
        (None, Some(auth)) => auth.context.uuid(auth.context.clock.now()).to_string(),
        (None, None) => String::new(),
    }
}

/// PostgreSQL keeps no NUL in text; no parameter of ours means one.
fn has_nul(request: &Request) -> bool {
    let target = request.original_uri();
    let parts = [target.path(), target.query().unwrap_or_default()];
    parts.iter().any(|part| part.contains("%00"))
}
