//! How a request names its tenant. Pure.

use uuid::Uuid;

use crate::id::TenantId;

/// One way of naming a tenant.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Name {
    Id(TenantId),
    Slug(String),
    /// A whole host name; it names a tenant only if one has proven it.
    Domain(String),
}

/// What a request says of its tenant.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Named {
    /// By the `X-Tenant-ID` header.
    pub(super) header: Option<Name>,
    /// By the host.
    pub(super) host: Option<Name>,
}

pub(super) fn read(header: Option<&str>, host: Option<&str>, base_domain: Option<&str>) -> Named {
    Named {
        header: header
            .map(str::trim)
            .filter(|text| !text.is_empty())
            .map(id_or_slug),
        host: host.and_then(|host| by_host(host, base_domain)),
    }
}

fn id_or_slug(text: &str) -> Name {
    match Uuid::parse_str(text) {
        Ok(id) => Name::Id(TenantId(id)),
        Err(_) => Name::Slug(text.to_lowercase()),
    }
}

/// An address or the base domain itself names nobody.
fn by_host(host: &str, base_domain: Option<&str>) -> Option<Name> {
    let domain = without_port(host).trim_end_matches('.').to_lowercase();
    let is_address = domain.starts_with('[') || domain.parse::<std::net::IpAddr>().is_ok();
    if domain.is_empty() || domain.len() > 253 || is_address {
        return None;
    }
    let Some(base) = base_domain else {
        return Some(Name::Domain(domain));
    };
    if domain == base {
        return None;
    }
    match domain.strip_suffix(base).and_then(|rest| rest.strip_suffix('.')) {
        Some(label) if !label.contains('.') => Some(Name::Slug(label.to_owned())),
        _ => Some(Name::Domain(domain)),
    }
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.chars().all(|c| c.is_ascii_digit()) && !name.ends_with(':') => name,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(host: &str) -> Option<Name> {
        read(None, Some(host), Some("example.test")).host
    }

    #[test]
    fn a_host_names_a_tenant_by_its_label_below_the_base_domain() {
        assert_eq!(
            host("acme.example.test:8443"),
            Some(Name::Slug("acme".to_owned()))
        );
        assert_eq!(host("ACME.Example.Test."), Some(Name::Slug("acme".to_owned())));
        assert_eq!(host("example.test"), None);
    }

    #[test]
    fn any_other_host_may_be_a_custom_domain() {
        for name in ["id.acme.com", "a.b.example.test", "evilexample.test"] {
            assert_eq!(host(name), Some(Name::Domain(name.to_owned())));
        }
    }

    #[test]
    fn an_address_names_nobody() {
        for name in ["127.0.0.1:8080", "[::1]:8080", "::1", ""] {
            assert_eq!(host(name), None, "{name}");
        }
    }

    #[test]
    fn the_header_takes_an_id_or_a_slug() {
        let id = Uuid::from_u128(1);
        assert_eq!(
            read(Some(&id.to_string()), None, None).header,
            Some(Name::Id(TenantId(id)))
        );
        assert_eq!(
            read(Some(" Acme "), None, None).header,
            Some(Name::Slug("acme".to_owned()))
        );
        assert_eq!(read(Some(""), None, None).header, None);
    }
}
