//! Headers that a customer may add to the calls of an endpoint.

use std::collections::BTreeMap;

/// Names and values, as they are sent.
pub type Headers = BTreeMap<String, String>;

const MAX_HEADERS: usize = 20;
const MAX_NAME: usize = 100;
const MAX_VALUE: usize = 4096;

/// Headers that are ours, or that would change how the message is read (RFC 9110 section 7.6.1, RFC 9112).
const RESERVED: &[&str] = &[
    "accept-encoding",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "expect",
    "forwarded",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "traceparent",
    "tracestate",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "via",
];

/// Families of names of which every member is reserved.
const RESERVED_PREFIXES: &[&str] = &["webhook-", "proxy-", "x-forwarded-"];

/// Why a header cannot be sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderFault {
    /// More than 20.
    #[error("there may be {MAX_HEADERS} headers at most")]
    TooMany,
    /// Not a name of RFC 9110, or over 100 characters.
    #[error("a header's name is 1 to {MAX_NAME} letters, digits and -")]
    Name(String),
    /// Latchkey sets it, or the connection depends on it.
    #[error("the header {0} cannot be set")]
    Reserved(String),
    /// Characters beyond visible ASCII, or over 4,096 of them.
    #[error("the value of the header {0} is visible ASCII, {MAX_VALUE} characters at most")]
    Value(String),
}

/// Checks names and values; the names come back in lower case.
///
/// # Errors
/// With the first fault.
pub fn check(headers: Headers) -> Result<Headers, HeaderFault> {
    if headers.len() > MAX_HEADERS {
        return Err(HeaderFault::TooMany);
    }
    headers
        .into_iter()
        .map(|(name, value)| {
            let lower = name.to_ascii_lowercase();
            if !is_name(&lower) {
                return Err(HeaderFault::Name(name));
            }
            if is_reserved(&lower) {
                return Err(HeaderFault::Reserved(name));
            }
            if !is_value(&value) {
                return Err(HeaderFault::Value(name));
            }
            Ok((lower, value))
        })
        .collect()
}

fn is_reserved(name: &str) -> bool {
    RESERVED.contains(&name) || RESERVED_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

fn is_name(name: &str) -> bool {
    let token = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    !name.is_empty() && name.len() <= MAX_NAME && name.chars().all(token)
}

fn is_value(value: &str) -> bool {
    let visible = |c: char| c.is_ascii_graphic() || c == ' ';
    value.len() <= MAX_VALUE && value.chars().all(visible) && value.trim() == value
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(name: &str, value: &str) -> Result<Headers, HeaderFault> {
        check(Headers::from([(name.to_owned(), value.to_owned())]))
    }

    #[test]
    fn a_header_is_kept_in_lower_case() {
        let headers = one("X-Api-Token", "abc def").unwrap();
        assert_eq!(
            headers,
            Headers::from([("x-api-token".to_owned(), "abc def".to_owned())])
        );
        assert!(one("Authorization", "Bearer x").is_ok());
    }

    #[test]
    fn what_is_ours_or_the_connections_cannot_be_set() {
        for name in [
            "Webhook-Id",
            "webhook-signature",
            "HOST",
            "Content-Length",
            "Transfer-Encoding",
            "X-Forwarded-For",
        ] {
            assert_eq!(one(name, "x"), Err(HeaderFault::Reserved(name.to_owned())));
        }
    }

    #[test]
    fn nothing_can_break_out_of_its_line() {
        for name in ["", "a b", "a:b", "a\r\nb", "é"] {
            assert_eq!(one(name, "x"), Err(HeaderFault::Name(name.to_owned())));
        }
        for value in ["a\r\nHost: evil", "a\nb", "é", "\0", " padded "] {
            assert_eq!(one("x-a", value), Err(HeaderFault::Value("x-a".to_owned())));
        }
    }
}
