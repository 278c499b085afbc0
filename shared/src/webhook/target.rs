//! What may stand in an endpoint's `url`.
//!
//! Checked when it is written, so that a slip is told to whoever made it. The worker checks what a name resolves to
//! at each call again: names change.

use std::net::IpAddr;

use ipnet::IpNet;
use url::{Host, Url};

use super::address;
use crate::config::Environment;

const MAX_LENGTH: usize = 2048;

/// Why a URL cannot be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlFault {
    /// Not an absolute URL, or without a host.
    #[error("must be an absolute URL with a host")]
    Malformed,
    /// Over 2,048 characters.
    #[error("must have 2048 characters at most")]
    TooLong,
    /// Neither `https` nor, where that is allowed, `http`.
    #[error("must begin with https://")]
    Scheme,
    /// A user name or password in it would be sent and shown in clear.
    #[error("must hold no user name or password; use a header")]
    Credentials,
    /// A fragment is never sent.
    #[error("must hold no fragment")]
    Fragment,
    /// The address is inside somebody's network.
    #[error("must lead to a public address")]
    NotPublic,
}

/// Reads the URL and writes it as it will be called.
///
/// # Errors
/// With the first fault.
pub fn check(text: &str, environment: Environment, allowed: &[IpNet]) -> Result<Url, UrlFault> {
    if text.len() > MAX_LENGTH {
        return Err(UrlFault::TooLong);
    }
    // The parser reads addresses as browsers do: decimal, octal and hexadecimal spellings become plain ones.
    let url = Url::parse(text).map_err(|_| UrlFault::Malformed)?;
    let literal = literal(&url).ok_or(UrlFault::Malformed)?;
    let named = literal.is_some_and(|address| address::is_in(address, allowed));
    match url.scheme() {
        "https" => {}
        "http" if environment == Environment::Development || named => {}
        _ => return Err(UrlFault::Scheme),
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(UrlFault::Credentials);
    }
    if url.fragment().is_some() {
        return Err(UrlFault::Fragment);
    }
    if literal.is_some_and(|address| !address::is_allowed(address, allowed)) {
        return Err(UrlFault::NotPublic);
    }
    Ok(url)
}

/// What all tenants may, and what one of them may beside it.
#[must_use]
pub fn allowed(everywhere: &[IpNet], own: &[String]) -> Vec<IpNet> {
    // What was written was checked.
    let own = own.iter().filter_map(|range| range.parse().ok());
    everywhere.iter().copied().chain(own).collect()
}

/// The address a URL names without a resolver; `None` when it has no host at all.
#[must_use]
pub fn literal(url: &Url) -> Option<Option<IpAddr>> {
    Some(match url.host()? {
        Host::Ipv4(address) => Some(address.into()),
        Host::Ipv6(address) => Some(address.into()),
        // RFC 6761: these names are loopback, whatever a resolver says.
        Host::Domain(name) if is_localhost(name) => Some(std::net::Ipv4Addr::LOCALHOST.into()),
        Host::Domain(_) => None,
    })
}

fn is_localhost(name: &str) -> bool {
    let name = name.trim_end_matches('.');
    name == "localhost" || name.ends_with(".localhost")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn production(text: &str) -> Result<Url, UrlFault> {
        check(text, Environment::Production, &[])
    }

    #[test]
    fn s32_an_address_inside_is_refused_in_every_spelling() {
        for text in [
            "https://127.0.0.1/",
            "https://2130706433/",
            "https://0x7f000001/",
            "https://0x7f.0.0.1/",
            "https://0177.0.0.1/",
            "https://017700000001/",
            "https://127.1/",
            "https://127.0.0.1./",
            "https://%31%32%37.0.0.1/",
            "https://１２７.0.0.1/",
            "https://①②⑦.0.0.1/",
            "https://[::1]/",
            "https://[::ffff:127.0.0.1]/",
            "https://[::ffff:7f00:1]/",
            "https://[64:ff9b::169.254.169.254]/",
            "https://[2002:a9fe:a9fe::]/",
            "https://169.254.169.254/latest/meta-data",
            "https://0xa9fea9fe/",
            "https://100.64.0.1/",
            "https://224.0.0.1/",
            "https://localhost/",
            "https://LOCALHOST./",
            "https://api.localhost/",
        ] {
            assert_eq!(production(text), Err(UrlFault::NotPublic), "{text}");
        }
    }

    #[test]
    fn a_public_https_url_is_taken() {
        for text in [
            "https://example.com/hook?x=1",
            "https://8.8.8.8:8443/",
            "https://[2606:4700:4700::1111]/",
        ] {
            assert_eq!(production(text).unwrap().as_str(), text);
        }
    }

    #[test]
    fn what_would_leak_or_never_arrive_is_refused() {
        for (text, fault) in [
            ("", UrlFault::Malformed),
            ("example.com", UrlFault::Malformed),
            ("https://", UrlFault::Malformed),
            ("https://1.2.3.4.5/", UrlFault::Malformed),
            ("http://example.com/", UrlFault::Scheme),
            ("ftp://example.com/", UrlFault::Scheme),
            ("https://user@example.com/", UrlFault::Credentials),
            ("https://:pass@example.com/", UrlFault::Credentials),
            ("https://example.com/#top", UrlFault::Fragment),
        ] {
            assert_eq!(production(text), Err(fault), "{text}");
        }
        assert_eq!(
            production(&format!("https://example.com/{}", "a".repeat(2048))),
            Err(UrlFault::TooLong)
        );
    }

    #[test]
    fn http_is_for_development_and_for_addresses_that_the_operator_named() {
        let allowed: Vec<IpNet> = vec!["10.0.0.0/8".parse().unwrap()];
        assert!(check("http://10.0.0.5/", Environment::Production, &allowed).is_ok());
        assert_eq!(
            check("http://8.8.8.8/", Environment::Production, &allowed),
            Err(UrlFault::Scheme)
        );
        assert!(check("http://example.com/", Environment::Development, &[]).is_ok());
        assert_eq!(
            check("http://127.0.0.1/", Environment::Development, &[]),
            Err(UrlFault::NotPublic)
        );
    }
}
