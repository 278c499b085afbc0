//! Whom a limit is about. Pure.

use std::net::{IpAddr, Ipv6Addr};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

use crate::{
    config::{Key, Rate},
    crypto::mac,
    id::TenantId,
};

/// Whoever has one IPv6 address has the network it stands in: 2^64 of them (RFC 6177).
const IPV6_NETWORK: u128 = !0 << 64;
/// Bytes of a MAC that keep two subjects apart.
const NAME_BYTES: usize = 16;

/// Whom a limit is about.
#[derive(Clone, Copy, Debug)]
pub enum Subject<'a> {
    /// The client, as the configured proxies report it.
    Address(IpAddr),
    /// All clients of a tenant, which may have a limit of its own.
    Tenant(TenantId, Option<Rate>),
    /// What is done by mail with the canonical e-mail address in a tenant, whether or not it has an account. Each purpose
    /// by itself: who uses one up takes nothing from another.
    Account(TenantId, &'static str, &'a str),
}

/// The kind of a subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Of one client address.
    Address,
    /// Of one tenant.
    Tenant,
    /// Of one e-mail address.
    Account,
    /// Of one API key.
    Key,
    /// Of one webhook endpoint.
    Endpoint,
}

impl Scope {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Address => "address",
            Self::Tenant => "tenant",
            Self::Account => "account",
            Self::Key => "key",
            Self::Endpoint => "endpoint",
        }
    }
}

impl Subject<'_> {
    pub(super) const fn scope(&self) -> Scope {
        match self {
            Self::Address(_) => Scope::Address,
            Self::Tenant(..) => Scope::Tenant,
            Self::Account(..) => Scope::Account,
        }
    }

    /// What stands for the subject in a key: of one length, and nobody's name.
    pub(super) fn name(&self, key: &Key) -> String {
        let tag = |parts: &[&[u8]]| mac(key.bytes.expose(), &[&[b"rate limit".as_slice()], parts].concat());
        let tag = match self {
            Self::Address(address) => tag(&[b"address", network(*address).to_string().as_bytes()]),
            Self::Tenant(tenant, _) => tag(&[b"tenant", tenant.0.as_bytes()]),
            Self::Account(tenant, purpose, email) => tag(&[
                b"account",
                tenant.0.as_bytes(),
                purpose.as_bytes(),
                email.as_bytes(),
            ]),
        };
        URL_SAFE_NO_PAD.encode(&tag[..NAME_BYTES])
    }
}

/// What counts as one client.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & IPV6_NETWORK).into(),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::network;

    #[test]
    fn an_ipv6_network_is_one_client() {
        let network = |text: &str| network(text.parse().unwrap()).to_string();
        assert_eq!(network("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!(network("2001:db8:1:2::9"), "2001:db8:1:2::");
        assert_ne!(network("2001:db8:1:3::9"), "2001:db8:1:2::");
        assert_eq!(network("::ffff:203.0.113.9"), "203.0.113.9");
        assert_eq!(network("203.0.113.9"), "203.0.113.9");
    }
}
