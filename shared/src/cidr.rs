//! Address ranges in CIDR notation (RFC 4632), as people write them. Pure.

use std::net::{IpAddr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net};

/// The ranges as they are kept: in order, each once, a single address as a range of one, without bits beyond the prefix,
/// and an IPv4 range in IPv6's clothes as an IPv4 range, because addresses are compared like that too.
///
/// # Errors
/// With the place of the first that is none.
pub fn read_all(texts: &[String]) -> Result<Vec<IpNet>, usize> {
    let ranges = texts.iter().enumerate();
    let mut ranges = ranges
        .map(|(at, text)| read(text).ok_or(at))
        .collect::<Result<Vec<_>, _>>()?;
    ranges.sort_unstable();
    ranges.dedup();
    Ok(ranges)
}

/// One of them.
#[must_use]
pub fn read(text: &str) -> Option<IpNet> {
    let text = text.trim();
    let range: IpNet = match text.parse::<IpAddr>() {
        Ok(address) => address.into(),
        Err(_) => text.parse().ok()?,
    };
    Some(match range.trunc() {
        IpNet::V6(range) if range.prefix_len() >= 96 => match range.addr().to_ipv4_mapped() {
            Some(address) => Ipv4Net::new(address, range.prefix_len() - 96).ok()?.into(),
            None => range.into(),
        },
        // Wider than all of IPv4's, and matching none of it.
        IpNet::V6(range)
            if range.contains(&Ipv6Addr::from_bits(0xffff_0000_0000)) && range.prefix_len() > 0 =>
        {
            return None;
        }
        range => range,
    })
}
