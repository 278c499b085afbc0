//! Which addresses are the public Internet's, and which are somebody's inside.
//!
//! An endpoint's URL comes from a customer, and the worker stands inside the operator's network: a call to
//! `169.254.169.254` would hand the cloud's credentials to whoever asked (server-side request forgery). So only
//! public addresses are called, and an address that carries another one in it (mapped, NAT64, 6to4, Teredo) is
//! not public, whatever it carries: nobody needs those forms to be reached.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// IPv4 ranges that are not public: the IANA special-purpose registry, and multicast.
const REFUSED_V4: &[([u8; 4], u8)] = &[
    ([0, 0, 0, 0], 8),       // this network (RFC 791)
    ([10, 0, 0, 0], 8),      // private (RFC 1918)
    ([100, 64, 0, 0], 10),   // carrier-grade NAT (RFC 6598); clouds keep metadata there as well
    ([127, 0, 0, 0], 8),     // loopback (RFC 1122)
    ([169, 254, 0, 0], 16),  // link-local (RFC 3927), with the clouds' metadata service
    ([172, 16, 0, 0], 12),   // private (RFC 1918)
    ([192, 0, 0, 0], 24),    // protocol assignments (RFC 6890), another place for metadata
    ([192, 0, 2, 0], 24),    // documentation (RFC 5737)
    ([192, 31, 196, 0], 24), // AS112 (RFC 7535)
    ([192, 52, 193, 0], 24), // AMT (RFC 7450)
    ([192, 88, 99, 0], 24),  // 6to4 relay anycast (RFC 7526)
    ([192, 168, 0, 0], 16),  // private (RFC 1918)
    ([192, 175, 48, 0], 24), // AS112 (RFC 7534)
    ([198, 18, 0, 0], 15),   // benchmarking (RFC 2544)
    ([198, 51, 100, 0], 24), // documentation (RFC 5737)
    ([203, 0, 113, 0], 24),  // documentation (RFC 5737)
    ([224, 0, 0, 0], 4),     // multicast (RFC 5771)
    ([240, 0, 0, 0], 4),     // reserved (RFC 1112), broadcast among it
];

/// IPv6's public addresses all lie here (RFC 4291); loopback, unspecified, mapped, NAT64, unique-local, link-local,
/// site-local, discard-only and multicast addresses lie outside.
const GLOBAL_V6: (Ipv6Addr, u8) = (Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3);

/// What is not public even there.
const REFUSED_V6: &[(Ipv6Addr, u8)] = &[
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23), // protocol assignments, Teredo and ORCHID among them
    (Ipv6Addr::new(0x2001, 0x0db8, 0, 0, 0, 0, 0, 0), 32), // documentation (RFC 3849)
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16), // 6to4 (RFC 3056)
    (Ipv6Addr::new(0x2620, 0x004f, 0x8000, 0, 0, 0, 0, 0), 48), // AS112 (RFC 7534)
    (Ipv6Addr::new(0x3ffe, 0, 0, 0, 0, 0, 0, 0), 16), // the former 6bone (RFC 3701)
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20), // documentation (RFC 9637)
];

/// Whether the address is one that anybody on the Internet could call.
#[must_use]
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => !REFUSED_V4
            .iter()
            .any(|&(net, length)| shares_v4(address, Ipv4Addr::from(net), length)),
        IpAddr::V6(address) => {
            shares_v6(address, GLOBAL_V6.0, GLOBAL_V6.1)
                && !REFUSED_V6
                    .iter()
                    .any(|&(net, length)| shares_v6(address, net, length))
        }
    }
}

/// Whether a call to the address may be made: it is public, or the operator has allowed its range by name.
///
/// A mapped address is judged as what it is mapped from, when it comes to the allowed ranges.
#[must_use]
pub fn is_allowed(address: IpAddr, allowed: &[IpNet]) -> bool {
    is_public(address) || is_in(address, allowed)
}

/// Whether the operator has allowed the address's range by name.
#[must_use]
pub fn is_in(address: IpAddr, allowed: &[IpNet]) -> bool {
    let address = address.to_canonical();
    allowed.iter().any(|net| net.contains(&address))
}

/// Whether the first `length` bits are the same; `length` is never 0 here.
fn shares_v4(address: Ipv4Addr, net: Ipv4Addr, length: u8) -> bool {
    (address.to_bits() ^ net.to_bits()) >> (32 - length) == 0
}

fn shares_v6(address: Ipv6Addr, net: Ipv6Addr, length: u8) -> bool {
    (address.to_bits() ^ net.to_bits()) >> (128 - length) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s32_no_address_inside_is_public() {
        let inside = "0.0.0.0 0.1.2.3 10.0.0.1 10.255.255.255 100.64.0.1 100.100.100.200 100.127.255.255 127.0.0.1
            127.255.255.254 169.254.169.254 169.254.170.2 172.16.0.1 172.31.255.255 192.0.0.192 192.0.2.1 192.88.99.1
            192.168.1.1 198.18.0.1 198.19.255.255 198.51.100.7 203.0.113.9 224.0.0.1 239.255.255.255 240.0.0.1
            255.255.255.255
            :: ::1 ::127.0.0.1 ::ffff:127.0.0.1 ::ffff:169.254.169.254 ::ffff:8.8.8.8 64:ff9b::7f00:1
            64:ff9b::808:808 64:ff9b:1::a00:1 100::1 2001::1 2001:0:53aa:64c:1::1 2001:2::1 2001:10::1 2001:20::1
            2001:db8::1 2002:7f00:1:: 2002:808:808:: 3fff::1 5f00::1 fc00::1 fd00:ec2::254 fd12:3456::1 fe80::1
            fec0::1 febf::1 ff02::1 ff0e::1";
        for address in inside.split_whitespace() {
            assert!(!is_public(address.parse().unwrap()), "{address}");
        }
    }

    #[test]
    fn the_internet_is_public() {
        let outside = "1.1.1.1 8.8.8.8 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 126.255.255.255 128.0.0.1
            169.253.255.255 172.15.255.255 172.32.0.0 192.0.1.1 192.167.255.255 198.17.255.255 198.20.0.0
            223.255.255.255 2001:4860:4860::8888 2606:4700:4700::1111 2a00:1450:4001::1 2400:cb00::1 2620:fe::fe";
        for address in outside.split_whitespace() {
            assert!(is_public(address.parse().unwrap()), "{address}");
        }
    }

    #[test]
    fn an_operator_can_allow_a_range_and_nothing_beside_it() {
        let allowed: Vec<IpNet> = vec!["10.1.0.0/16".parse().unwrap(), "::1/128".parse().unwrap()];
        for address in ["10.1.2.3", "::ffff:10.1.2.3", "::1", "8.8.8.8"] {
            assert!(is_allowed(address.parse().unwrap(), &allowed), "{address}");
        }
        for address in ["10.2.0.1", "127.0.0.1", "::2", "64:ff9b::a01:203"] {
            assert!(!is_allowed(address.parse().unwrap(), &allowed), "{address}");
        }
    }
}
