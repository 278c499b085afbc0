//! Where a request came from.

use std::{net::IpAddr, ops::Deref};

use ipnet::IpNet;
use latchkey_shared::{principal::Origin, trace::TraceContext};
use poem::{Addr, FromRequest, Request, RequestBody, Result, http::header, web::RemoteAddr};

/// Set by the outermost middleware, once a request.
#[derive(Clone)]
pub(crate) struct ClientOrigin(pub(crate) Origin);

impl Deref for ClientOrigin {
    type Target = Origin;

    fn deref(&self) -> &Origin {
        &self.0
    }
}

impl<'a> FromRequest<'a> for ClientOrigin {
    async fn from_request(request: &'a Request, _: &mut RequestBody) -> Result<Self> {
        Ok(request
            .data::<Self>()
            .cloned()
            .unwrap_or_else(|| Self(Origin::default())))
    }
}

impl ClientOrigin {
    pub(crate) fn of(request: &Request, request_id: String, trusted: &[IpNet]) -> Self {
        let user_agent = request
            .headers()
            .get(header::USER_AGENT)
            .and_then(|value| value.to_str().ok());
        Self(Origin {
            request_id,
            address: peer(request.remote_addr())
                .map(|peer| client_address(peer, &forwarded_for(request), trusted)),
            user_agent: user_agent.map(|text| text.chars().take(256).collect()),
            trace: trace(request),
            claim: None,
        })
    }
}

/// Of two there is no telling which is meant.
fn trace(request: &Request) -> Option<TraceContext> {
    let mut values = request.headers().get_all("traceparent").iter();
    let (only, None) = (values.next()?, values.next()) else {
        return None;
    };
    TraceContext::parse(only.to_str().ok()?.trim())
}

fn peer(address: &RemoteAddr) -> Option<IpAddr> {
    match &address.0 {
        Addr::SocketAddr(address) => Some(address.ip().to_canonical()),
        _ => None,
    }
}

/// Hop by hop: one that cannot be read hides no other.
fn forwarded_for(request: &Request) -> Vec<String> {
    let values = request.headers().get_all("x-forwarded-for").iter();
    let hops = values.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    hops.map(|hop| String::from_utf8_lossy(hop).trim().to_owned())
        .collect()
}

/// The nearest address that is not one of our proxies: from right to left, each hop is believed only if the
/// one after it is ours.
fn client_address(peer: IpAddr, forwarded_for: &[String], trusted: &[IpNet]) -> IpAddr {
    let is_ours = |address: &IpAddr| trusted.iter().any(|net| net.contains(address));
    let mut client = peer;
    for hop in forwarded_for.iter().rev() {
        if !is_ours(&client) {
            break;
        }
        let Ok(address) = hop.parse::<IpAddr>() else { break };
        client = address.to_canonical();
    }
    client
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(peer: &str, forwarded_for: &[&str]) -> String {
        let trusted = ["10.0.0.0/8".parse().unwrap()];
        let hops: Vec<String> = forwarded_for.iter().map(|hop| (*hop).to_owned()).collect();
        client_address(peer.parse().unwrap(), &hops, &trusted).to_string()
    }

    #[test]
    fn s29_only_configured_proxies_are_believed_from_right_to_left() {
        assert_eq!(client("203.0.113.9", &["198.51.100.1"]), "203.0.113.9");
        assert_eq!(client("10.0.0.1", &["198.51.100.1"]), "198.51.100.1");
        assert_eq!(client("10.0.0.1", &["1.2.3.4", "198.51.100.1"]), "198.51.100.1");
        assert_eq!(client("10.0.0.1", &["198.51.100.1", "10.0.0.2"]), "198.51.100.1");
        assert_eq!(client("10.0.0.1", &["1.2.3.4", "nonsense"]), "10.0.0.1");
        assert_eq!(client("10.0.0.1", &[]), "10.0.0.1");
    }
}
