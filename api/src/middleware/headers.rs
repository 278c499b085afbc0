//! Headers that every response bears.

use poem::{
    Response,
    http::{HeaderName, HeaderValue, header},
};

use crate::{
    extract::{LimitNote, Note},
    problem::limit_headers,
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

/// Where the client stands with the limits. Only those of its own address, or of its key, are told: how busy the other
/// users of a tenant are is nobody's business. Who is refused for their sake learns from `Retry-After` when to come back,
/// and here that its own limit would have let it pass.
pub(super) fn limits(response: &mut Response, note: &LimitNote) {
    let Some(Note { name, verdict, scope }) = note.get() else {
        return;
    };
    let headers = response.headers_mut();
    if let Some(standing) = verdict.of(*scope)
        && !headers.contains_key("ratelimit")
    {
        // To who has to wait it says the same as Retry-After.
        let (left, until) = match verdict.refused_for() {
            Some(wait) if !standing.wait.is_zero() => (0, wait),
            _ => (standing.remaining, standing.whole_in),
        };
        limit_headers(headers, name, standing.rate, left, until);
    }
}
