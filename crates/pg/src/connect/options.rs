//! The parts of a connection string.

use std::{net::IpAddr, time::Duration};

use socket2::TcpKeepalive;
pub(super) use tokio_postgres::config::Host as Address;

/// The reason why a connection string is refused, as a predicate: "has the unknown parameter foo". Repeats no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct UrlFault(String);

/// One server of a connection string.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Host {
    /// The name for messages, and for the server's certificate.
    pub(super) name: String,
    pub(super) address: Address,
    pub(super) port: u16,
}

/// Limits of the operating system for a silent peer.
#[derive(Clone)]
pub(super) struct Tcp {
    /// None leaves the system's default.
    pub(super) user_timeout: Option<Duration>,
    /// None sends no probes.
    pub(super) keepalive: Option<TcpKeepalive>,
}

/// The kind of server that is wanted among several.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TargetSession {
    Any,
    ReadWrite,
    ReadOnly,
    Primary,
    Standby,
    PreferStandby,
    /// Has no name in a connection string.
    PreferReadWrite,
}

/// Encryption as the connection string asks for it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct TlsOptions {
    pub(super) mode: Option<SslMode>,
    pub(super) root: Option<String>,
    pub(super) certificate: Option<String>,
    pub(super) key: Option<String>,
    pub(super) direct: bool,
    pub(super) without_sni: bool,
    pub(super) at_least_13: bool,
    pub(super) at_most_12: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SslMode {
    Disable,
    Prefer,
    Require,
    VerifyCa,
    VerifyFull,
}

impl UrlFault {
    pub(super) fn new(predicate: impl Into<String>) -> Self {
        Self(predicate.into())
    }
}

impl Host {
    pub(super) fn is_local(&self) -> bool {
        match &self.address {
            Address::Unix(_) => true,
            Address::Tcp(name) => {
                name == "localhost"
                    || name.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
            }
        }
    }
}

impl std::fmt::Display for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.name.contains(':') {
            write!(f, "[{}]:{}", self.name, self.port)
        } else {
            write!(f, "{}:{}", self.name, self.port)
        }
    }
}
