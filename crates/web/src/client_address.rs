//! The address of the client of a request, also behind proxies (HTTP contract 1.12).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use actix_web::{HttpRequest, http::header::HeaderName};
use ipnet::IpNet;

pub(super) const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The address of the client: that of the peer, or what [trusted proxies](crate::Settings::trusted_proxies) report.
///
/// Each proxy adds the address of its own peer at the right end of `X-Forwarded-For`, so the list is read from there: the first
/// address that is not a trusted proxy is the client, whatever it wrote to its left. An entry that is no address ends the search at
/// the last good one. An IPv4 address in IPv6 form is given as IPv4.
#[must_use]
pub fn client_address(request: &HttpRequest, trusted_proxies: &[IpNet]) -> IpAddr {
    let peer = request.peer_addr().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.ip().to_canonical());
    let is_trusted = |address: &IpAddr| is_among(trusted_proxies, address);
    if !is_trusted(&peer) {
        return peer;
    }
    // Several lines of a header are one list in their order (RFC 9110, 5.3).
    let lines: Vec<_> = request.headers().get_all(X_FORWARDED_FOR).collect();
    let mut client = peer;
    for line in lines.into_iter().rev() {
        for entry in line.as_bytes().rsplit(|byte| *byte == b',') {
            let Some(address) = address_of(entry) else {
                return client;
            };
            client = address;
            if !is_trusted(&client) {
                return client;
            }
        }
    }
    client
}

/// The address that limits are counted by: an IPv6 network of 64 bits is one client.
pub(super) fn counted(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
    }
}

/// Returns true if one of the networks contains the address.
pub(super) fn is_among(networks: &[IpNet], address: &IpAddr) -> bool {
    networks.iter().any(|network| network.contains(address))
}

/// The address of an entry; some proxies add a port, or brackets around IPv6.
fn address_of(entry: &[u8]) -> Option<IpAddr> {
    let text = str::from_utf8(entry).ok()?.trim();
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let address = bare.parse().ok().or_else(|| text.parse().ok().map(|address: SocketAddr| address.ip()));
    address.map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    /// The client of a request from this peer with these lines of `X-Forwarded-For`.
    fn client(peer: &str, lines: &[&str]) -> String {
        let proxies = ["127.0.0.0/8", "10.0.0.0/8", "2001:db8:1::/48"].map(|net| net.parse().unwrap());
        let peer = SocketAddr::new(peer.parse().unwrap(), 5_000);
        let mut request = TestRequest::default().peer_addr(peer);
        for line in lines {
            request = request.append_header((X_FORWARDED_FOR, *line));
        }
        client_address(&request.to_http_request(), &proxies).to_string()
    }

    #[test]
    fn a_peer_that_is_no_proxy_says_nothing_about_others() {
        assert_eq!(client("192.0.2.1", &[]), "192.0.2.1");
        assert_eq!(client("192.0.2.1", &["198.51.100.7"]), "192.0.2.1");
        assert_eq!(client("::ffff:192.0.2.1", &["198.51.100.7"]), "192.0.2.1");
        assert_eq!(client("2001:db8:2::1", &["198.51.100.7"]), "2001:db8:2::1");
    }

    #[test]
    fn the_first_address_from_the_right_that_is_no_proxy_is_the_client() {
        for (lines, expected) in [
            (&["198.51.100.7"][..], "198.51.100.7"),
            (&["203.0.113.9, 198.51.100.7"], "198.51.100.7"),
            (&["203.0.113.9,198.51.100.7 , 10.1.2.3,10.1.2.4"], "198.51.100.7"),
            (&["203.0.113.9", "198.51.100.7", "10.1.2.3"], "198.51.100.7"),
            (&["10.9.9.9, 203.0.113.9, 2001:db8:1::5"], "203.0.113.9"),
            (&["::ffff:198.51.100.7"], "198.51.100.7"),
            (&["198.51.100.7:4711"], "198.51.100.7"),
            (&["[2001:db8:2::7]:4711"], "2001:db8:2::7"),
            (&["[2001:db8:2::7]"], "2001:db8:2::7"),
        ] {
            assert_eq!(client("127.0.0.1", lines), expected, "{lines:?}");
            assert_eq!(client("::ffff:127.0.0.1", lines), expected, "{lines:?}");
        }
    }

    #[test]
    fn a_malformed_entry_ends_the_search_at_the_last_good_address() {
        for (lines, expected) in [
            (&[][..], "127.0.0.1"),
            (&[""], "127.0.0.1"),
            (&["198.51.100.7, unknown"], "127.0.0.1"),
            (&["198.51.100.7,, 10.0.0.5"], "10.0.0.5"),
            (&["198.51.100.7", "_hidden, 10.0.0.5"], "10.0.0.5"),
            (&["198.51.100.7, 10.0.0.300"], "127.0.0.1"),
            (&["198.51.100.7 10.0.0.5"], "127.0.0.1"),
            (&["10.0.0.7, 10.0.0.6"], "10.0.0.7"),
        ] {
            assert_eq!(client("127.0.0.1", lines), expected, "{lines:?}");
        }
    }

    #[test]
    fn ipv6_is_counted_by_its_network() {
        for (address, expected) in [
            ("2001:db8::1:2:3:4", "2001:db8::"),
            ("2001:db8:0:1::9", "2001:db8:0:1::"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("192.0.2.1", "192.0.2.1"),
        ] {
            assert_eq!(counted(address.parse().unwrap()).to_string(), expected);
        }
    }
}
