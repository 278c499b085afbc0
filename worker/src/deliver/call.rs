//! One call: signed, sent, and what there was to see of the answer.

use std::{error::Error, fmt::Display, io, time::Instant};

use chrono::{DateTime, Utc};
use latchkey_shared::{
    config::KeyRing,
    entity::ErrorClass,
    trace::TraceContext,
    webhook::{retry, signature, work::Claimed, work::Observed},
};
use reqwest::{
    RequestBuilder, Response, StatusCode,
    header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER},
};
use serde_json::{Map, Value};
use url::Url;

use super::{
    caller::{Caller, Callers},
    guard::NoAddress,
    kept::Keeping,
};

/// As much of a response as is read and kept: an endless one costs no more.
const KEPT_BODY: usize = 16 * 1024;
const KEPT_HEADERS: usize = 50;
const KEPT_VALUE: usize = 1024;
const KEPT_DETAIL: usize = 500;

/// A call that has ended.
pub(super) struct Called {
    pub(super) observed: Observed,
    /// How long the receiver asks us to wait.
    pub(super) retry_after: Option<std::time::Duration>,
}

impl Called {
    /// Whether the endpoint took the event: any 2xx, as Standard Webhooks has it.
    pub(super) fn succeeded(&self) -> bool {
        self.observed.error_class.is_none()
    }

    /// Whether the endpoint wants no more of this (RFC 9110 section 15.5.11).
    pub(super) fn is_gone(&self) -> bool {
        self.observed.status == Some(StatusCode::GONE.as_u16())
    }
}

/// Why there is no answer.
struct Failure {
    class: ErrorClass,
    detail: String,
}

/// Calls the endpoint, in that place of a trace. The client's own timeout bounds it.
pub(super) async fn call(
    callers: &Callers,
    ring: &KeyRing,
    claimed: &Claimed,
    trace: Option<TraceContext>,
    now: DateTime<Utc>,
) -> Called {
    let traceparent = trace.map(|trace| trace.to_string());
    let began = Instant::now();
    let mut observed = Observed {
        started_at: now,
        duration: began.elapsed(),
        status: None,
        error_class: None,
        error_detail: None,
        address: None,
        traceparent: traceparent.clone(),
        response_headers: Value::Object(Map::new()),
        response_body: None,
    };
    let mut retry_after = None;
    match send(callers, ring, claimed, traceparent, now).await {
        Ok((response, _keeping)) => {
            let status = response.status();
            observed.status = Some(status.as_u16());
            observed.error_class = class_of(status);
            observed.address = response.remote_addr().map(|address| address.to_string());
            observed.response_headers = kept_headers(response.headers());
            retry_after = wish(status, response.headers(), now);
            observed.response_body = Some(kept_body(response).await);
        }
        Err(Failure { class, detail }) => {
            observed.error_class = Some(class);
            observed.error_detail = Some(cut(&detail, KEPT_DETAIL));
        }
    }
    observed.duration = began.elapsed();
    Called {
        observed,
        retry_after,
    }
}

async fn send(
    callers: &Callers,
    ring: &KeyRing,
    claimed: &Claimed,
    traceparent: Option<String>,
    now: DateTime<Utc>,
) -> Result<(Response, Option<Keeping>), Failure> {
    let caller = callers
        .of(&claimed.allowed_cidrs)
        .map_err(|error| unusable(&error))?;
    let (request, keeping) = request(&caller, ring, claimed, traceparent, now)?;
    Ok((request.send().await.map_err(failure)?, keeping))
}

/// Why a call was not made, for a reason on our side.
fn unusable(error: &impl Display) -> Failure {
    Failure {
        class: ErrorClass::Other,
        detail: error.to_string(),
    }
}

fn request(
    caller: &Caller,
    ring: &KeyRing,
    claimed: &Claimed,
    traceparent: Option<String>,
    now: DateTime<Utc>,
) -> Result<(RequestBuilder, Option<Keeping>), Failure> {
    // A data key that is missing is the operator's to bring back; until then it is a failed attempt like others.
    let (secrets, own) = claimed.open(ring).map_err(|error| unusable(&error))?;
    let url = Url::parse(&claimed.url).map_err(|error| unusable(&error))?;
    caller
        .guard
        .check_literal(&url)
        .map_err(|error| no_address(&error))?;

    let mut headers = HeaderMap::new();
    for (name, value) in own {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            headers.insert(name, value);
        }
    }
    let (id, timestamp) = (claimed.event_id.to_string(), now.timestamp());
    let signature = signature::sign(&secrets, claimed.asymmetric, &id, timestamp, claimed.body());
    let mut ours = vec![
        ("webhook-id", id),
        ("webhook-timestamp", timestamp.to_string()),
        ("webhook-signature", signature),
    ];
    ours.extend(traceparent.map(|value| ("traceparent", value)));
    for (name, value) in ours {
        let value = HeaderValue::try_from(value).map_err(|error| unusable(&error))?;
        headers.insert(HeaderName::from_static(name), value);
    }
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let (client, keeping) = caller.client(&url);
    let request = client.post(url).headers(headers).body(claimed.body().clone());
    Ok((request, keeping))
}

fn class_of(status: StatusCode) -> Option<ErrorClass> {
    match status {
        _ if status.is_success() => None,
        _ if status.is_redirection() => Some(ErrorClass::Redirect),
        _ => Some(ErrorClass::HttpStatus),
    }
}

fn wish(status: StatusCode, headers: &HeaderMap, now: DateTime<Utc>) -> Option<std::time::Duration> {
    let asks = status == StatusCode::TOO_MANY_REQUESTS || status == StatusCode::SERVICE_UNAVAILABLE;
    let value = headers.get(RETRY_AFTER).filter(|_| asks)?;
    retry::retry_after(value.to_str().ok()?, now)
}

fn kept_headers(headers: &HeaderMap) -> Value {
    let mut kept = Map::new();
    for (name, value) in headers.iter().take(KEPT_HEADERS) {
        let value = cut(&String::from_utf8_lossy(value.as_bytes()), KEPT_VALUE);
        match kept.get_mut(name.as_str()) {
            Some(Value::String(values)) => values.extend([", ", &value]),
            _ => drop(kept.insert(name.as_str().to_owned(), Value::String(value))),
        }
    }
    Value::Object(kept)
}

/// Reads what is kept of the body and not a byte more. That the rest fails or never ends changes nothing: the
/// status has said what became of the event.
async fn kept_body(mut response: Response) -> String {
    let mut body = Vec::new();
    while body.len() < KEPT_BODY {
        match response.chunk().await {
            Ok(Some(chunk)) => body.extend_from_slice(&chunk[..chunk.len().min(KEPT_BODY - body.len())]),
            Ok(None) | Err(_) => break,
        }
    }
    // PostgreSQL's text holds no NUL.
    String::from_utf8_lossy(&body).replace('\0', "\u{fffd}")
}

/// Which address that was is for the log alone: a tenant must not learn what names mean inside.
fn no_address(error: &NoAddress) -> Failure {
    let class = match error {
        NoAddress::Refused(address) => {
            tracing::debug!(%address, "an endpoint's address is not public");
            ErrorClass::RefusedAddress
        }
        NoAddress::Unresolved(_) | NoAddress::Empty => ErrorClass::Dns,
    };
    Failure {
        class,
        detail: error.to_string(),
    }
}

/// What kept the request from being answered. The URL is left out of the text: it may hold a token.
fn failure(error: reqwest::Error) -> Failure {
    let error = error.without_url();
    if let Some(no_address) = causes(&error).find_map(|cause| cause.downcast_ref::<NoAddress>()) {
        return self::no_address(no_address);
    }
    let io = causes(&error)
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .last()
        .map(io::Error::kind);
    let class = match io {
        _ if error.is_timeout() => ErrorClass::Timeout,
        Some(io::ErrorKind::TimedOut) => ErrorClass::Timeout,
        // What the TLS library objects to reaches us as invalid data.
        Some(io::ErrorKind::InvalidData) if error.is_connect() => ErrorClass::Tls,
        _ if error.is_connect() => ErrorClass::Connect,
        Some(_) => ErrorClass::ConnectionClosed,
        None => of_exchange(&error),
    };
    let detail = causes(&error)
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ");
    Failure { class, detail }
}

/// What went wrong between the request and the answer; a request that was never made has no such cause.
fn of_exchange(error: &reqwest::Error) -> ErrorClass {
    match causes(error).find_map(|cause| cause.downcast_ref::<hyper::Error>()) {
        Some(cause) if cause.is_parse() => ErrorClass::InvalidResponse,
        Some(cause) if cause.is_incomplete_message() || cause.is_closed() || cause.is_canceled() => {
            ErrorClass::ConnectionClosed
        }
        _ => ErrorClass::Other,
    }
}

/// The error and what lies below it. An `io::Error` passes over the error it wraps when asked for its source, and the
/// TLS library's is wrapped twice.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| {
        match error.downcast_ref::<io::Error>().map(io::Error::get_ref) {
            Some(Some(wrapped)) => Some(wrapped),
            _ => error.source(),
        }
    })
}

fn cut(text: &str, length: usize) -> String {
    text.chars()
        .take(length)
        .map(|c| if c == '\0' { '\u{fffd}' } else { c })
        .collect()
}
