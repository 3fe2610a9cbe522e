//! Test whether a request comes from this machine, as far as a server can know.

use std::net::IpAddr;

use actix_web::{
    dev::RequestHead,
    http::header::{self, HeaderName},
};
use url::{Host, Url};

/// Headers that only a proxy adds: what it hands on may come from anywhere.
const FORWARDED: [&str; 6] =
    ["forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip"];

/// Returns true if the peer is a loopback address, no proxy says that it forwards, and the client named this machine by a loopback
/// address or `localhost`.
///
/// The name matters because the peer of a browser on this machine is loopback too: a page of a foreign domain whose address
/// is changed to 127.0.0.1 may then call, but with its own domain as `Host` (DNS rebinding).
pub fn is_on_this_machine(head: &RequestHead) -> bool {
    let is_loopback_peer = head.peer_addr.is_some_and(|peer| peer.ip().to_canonical().is_loopback());
    let is_forwarded = FORWARDED.iter().any(|name| head.headers.contains_key(HeaderName::from_static(name)));
    let mut hosts = head.headers.get_all(header::HOST).peekable();
    let names_loopback = hosts.peek().is_some()
        && hosts.all(|host| host.to_str().is_ok_and(is_loopback_authority))
        && head.uri.authority().is_none_or(|authority| is_loopback_authority(authority.as_str()));
    is_loopback_peer && !is_forwarded && names_loopback
}

fn is_loopback_authority(authority: &str) -> bool {
    let Ok(url) = Url::parse(&format!("http://{authority}/")) else {
        return false;
    };
    // What is no authority alone, such as `localhost/@evil`, does not come back as it was written.
    let is_whole = url.path() == "/" && url.username().is_empty() && url.query().is_none();
    is_whole
        && match url.host() {
            Some(Host::Domain(name)) => name == "localhost",
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => IpAddr::V6(address).to_canonical().is_loopback(),
            None => false,
        }
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn from(peer: &str, headers: &[(&str, &str)]) -> bool {
        let mut request = TestRequest::default().peer_addr(peer.parse().unwrap());
        for header in headers {
            request = request.append_header(*header);
        }
        is_on_this_machine(request.to_http_request().head())
    }

    #[test]
    fn a_loopback_peer_that_names_a_loopback_host_is_on_this_machine() {
        for (peer, host) in [
            ("127.0.0.1:5000", "localhost:8100"),
            ("127.0.0.9:5000", "127.0.0.1"),
            ("[::1]:5000", "[::1]:8100"),
            ("[::ffff:127.0.0.1]:5000", "LOCALHOST"),
        ] {
            assert!(from(peer, &[("host", host)]), "{peer} {host}");
        }
    }

    #[test]
    fn other_peers_names_and_proxies_are_not() {
        assert!(!from("10.0.0.1:5000", &[("host", "localhost")]));
        assert!(!from("[2001:db8::1]:5000", &[("host", "localhost")]));
        assert!(!from("127.0.0.1:5000", &[]), "no name at all");
        for host in [
            "evil.example.com",
            "localhost.example.com",
            "127.0.0.1.example.com:8100",
            "0.0.0.0:8100",
            "10.0.0.1",
            "evil.example.com@localhost",
            "localhost/evil",
            "",
        ] {
            assert!(!from("127.0.0.1:5000", &[("host", host)]), "{host:?}");
        }
        let two = [("host", "localhost"), ("host", "evil.example.com")];
        assert!(!from("127.0.0.1:5000", &two));
        for name in FORWARDED {
            let headers = [("host", "localhost"), (name, "127.0.0.1")];
            assert!(!from("127.0.0.1:5000", &headers), "{name}");
        }
    }
}
