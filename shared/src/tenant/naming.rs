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

/// The operator's names: what is no tenant's, and what tenants' are below.
#[derive(Clone, Copy, Debug)]
pub(super) struct Own<'a> {
    /// Where clients reach the API.
    pub(super) host: Option<&'a str>,
    /// `<slug>.<base_domain>` names a tenant.
    pub(super) base_domain: Option<&'a str>,
}

pub(super) fn read(header: Option<&str>, host: Option<&str>, own: Own<'_>) -> Named {
    Named {
        header: header
            .map(str::trim)
            .filter(|text| !text.is_empty())
            .map(id_or_slug),
        host: host.and_then(|host| by_host(host, own)),
    }
}

fn id_or_slug(text: &str) -> Name {
    match Uuid::parse_str(text) {
        Ok(id) => Name::Id(TenantId(id)),
        Err(_) => Name::Slug(text.to_lowercase()),
    }
}

/// An address, the base domain itself and the API's own host name nobody, also where that host lies below the base domain.
fn by_host(host: &str, own: Own<'_>) -> Option<Name> {
    let domain = without_port(host).trim_end_matches('.').to_lowercase();
    let is_address = domain.starts_with('[') || domain.parse::<std::net::IpAddr>().is_ok();
    if domain.is_empty() || domain.len() > 253 || is_address || own.host == Some(&domain) {
        return None;
    }
    let Some(base) = own.base_domain else {
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

    const OWN: Own<'_> = Own {
        host: Some("sso.example.test"),
        base_domain: Some("example.test"),
    };

    fn host(host: &str) -> Option<Name> {
        read(None, Some(host), OWN).host
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
    fn an_address_and_the_apis_own_host_name_nobody() {
        for name in [
            "127.0.0.1:8080",
            "[::1]:8080",
            "::1",
            "",
            "sso.example.test",
            "SSO.example.test.:8443",
        ] {
            assert_eq!(host(name), None, "{name}");
        }
    }

    #[test]
    fn the_header_takes_an_id_or_a_slug() {
        let id = Uuid::from_u128(1);
        assert_eq!(
            read(Some(&id.to_string()), None, OWN).header,
            Some(Name::Id(TenantId(id)))
        );
        assert_eq!(
            read(Some(" Acme "), None, OWN).header,
            Some(Name::Slug("acme".to_owned()))
        );
        assert_eq!(read(Some(""), None, OWN).header, None);
    }
}
