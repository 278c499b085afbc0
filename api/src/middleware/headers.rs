//! Headers that every response bears.

use poem::{
    Response,
    http::{HeaderName, HeaderValue, header},
};

use crate::{
    extract::{LimitNote, Note},
    problem::whole_seconds,
};

/// OWASP's recommendations for an API: nothing is framed, sniffed, referred or cached.
const SECURITY: &[(HeaderName, &str)] = &[
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (
        header::STRICT_TRANSPORT_SECURITY,
        "max-age=63072000; includeSubDomains",
    ),
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; frame-ancestors 'none'",
    ),
    (header::CACHE_CONTROL, "no-store"),
];

/// Adds what the response does not say itself.
pub(super) fn complete(response: &mut Response, request_id: &str) {
    let headers = response.headers_mut();
    for (name, value) in SECURITY {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    if let Ok(id) = HeaderValue::from_str(request_id) {
        headers.insert("x-request-id", id);
    }
}

/// Says that the connection ends with this response (RFC 9112 section 9.6).
pub(super) fn last_of_connection(response: &mut Response) {
    let close = HeaderValue::from_static("close");
    response.headers_mut().insert(header::CONNECTION, close);
}

/// Where the client stands with the limits (draft-ietf-httpapi-ratelimit-headers). Only those of its own address, or of
/// its key, are told: how busy the other users of a tenant are is nobody's business.
pub(super) fn limits(response: &mut Response, note: &LimitNote) {
    let Some(Note { name, verdict, scope }) = note.get() else {
        return;
    };
    let refused_for = verdict.refused_for();
    let mut values = Vec::new();
    if let Some(standing) = verdict.of(*scope) {
        let (quota, window) = (standing.rate.count, standing.rate.window.as_secs());
        // To who has to wait it says the same as Retry-After.
        let (left, seconds) = match refused_for {
            Some(wait) if !standing.wait.is_zero() => (0, whole_seconds(wait)),
            _ => (standing.remaining, whole_seconds(standing.whole_in)),
        };
        values.push(("ratelimit-policy", format!("\"{name}\";q={quota};w={window}")));
        values.push(("ratelimit", format!("\"{name}\";r={left};t={seconds}")));
    }
    for (name, value) in values {
        if let Ok(value) = HeaderValue::try_from(value) {
            response.headers_mut().insert(name, value);
        }
    }
}
