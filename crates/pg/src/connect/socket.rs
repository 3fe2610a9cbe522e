//! Opening a socket to a server, with the system's limits for a silent peer.

use std::{io, net::SocketAddr, path::PathBuf};

use socket2::SockRef;
use tokio::net::{TcpStream, UnixStream};
use tokio_util::either::Either;

use super::options::{Address, Host, Tcp};

/// A socket of either kind.
pub(super) type Socket = Either<TcpStream, UnixStream>;

/// A place where a socket can be opened at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Endpoint {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

/// The endpoints of a host: a name may have several addresses.
pub(super) async fn endpoints(host: &Host) -> io::Result<Vec<Endpoint>> {
    let name = match &host.address {
        Address::Unix(folder) => {
            let path = folder.join(format!(".s.PGSQL.{}", host.port));
            return Ok(vec![Endpoint::Unix(path)]);
        }
        Address::Tcp(name) => name,
    };
    let found = tokio::net::lookup_host((name.as_str(), host.port)).await?;
    let found: Vec<_> = found.map(Endpoint::Tcp).collect();
    if found.is_empty() {
        return Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address"));
    }
    Ok(found)
}

/// Opens a socket. How long that may take is the caller's matter.
pub(super) async fn open(endpoint: &Endpoint, tcp: &Tcp) -> io::Result<Socket> {
    match endpoint {
        Endpoint::Unix(path) => Ok(Either::Right(UnixStream::connect(path).await?)),
        Endpoint::Tcp(address) => {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            limit(&stream, tcp)?;
            Ok(Either::Left(stream))
        }
    }
}

fn limit(stream: &TcpStream, tcp: &Tcp) -> io::Result<()> {
    let socket = SockRef::from(stream);
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(tcp.user_timeout)?;
    tcp.keepalive.as_ref().map_or(Ok(()), |keepalive| socket.set_tcp_keepalive(keepalive))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// The options of a socket as the kernel has them, for a URL with these parameters.
    async fn options(parameters: &str) -> (Option<Duration>, bool, Duration, Duration, u32) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let url = format!("postgresql://app@{address}/app?{parameters}");
        let url = super::super::url::DatabaseUrl::parse(&url).unwrap();
        let found = endpoints(&url.hosts[0]).await.unwrap();
        let Either::Left(stream) = open(&found[0], &url.tcp).await.unwrap() else { panic!("no TCP socket") };
        let socket = SockRef::from(&stream);
        (
            socket.tcp_user_timeout().unwrap(),
            socket.keepalive().unwrap(),
            socket.tcp_keepalive_time().unwrap(),
            socket.tcp_keepalive_interval().unwrap(),
            socket.tcp_keepalive_retries().unwrap(),
        )
    }

    #[tokio::test]
    async fn silent_peers_are_found_by_the_system_too() {
        let seconds = Duration::from_secs;
        let usual = options("").await;
        assert_eq!(usual, (Some(seconds(30)), true, seconds(30), seconds(10), 3));
        let given = "tcp_user_timeout=4000&keepalives_idle=5&keepalives_interval=6&keepalives_count=7";
        let chosen = options(given).await;
        assert_eq!(chosen, (Some(seconds(4)), true, seconds(5), seconds(6), 7));
        assert!(!options("keepalives=0").await.1);
    }
}
