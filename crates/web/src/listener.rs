//! The listening socket.

use std::net::TcpListener;

use socket2::SockRef;

/// Most connections that wait to be accepted. Where none fits, the kernel drops the attempt and its client tries again after a
/// second; the standard library's 128 are taken by one client that opens many at once.
const BACKLOG: i32 = 1_024;
/// Most bytes of an answer that the kernel takes beyond what it can send. Without a limit it takes megabytes for each client that
/// reads nothing, and the copies delay all others. More is handed over when half of it was taken, so this also decides how slow a
/// client may be (ADR 0013).
#[cfg(target_os = "linux")]
const UNSENT_MAX: u32 = 64 * 1024;

/// Sets what the standard library does not. Accepted sockets take over the options of their listener.
pub(super) fn prepare(listener: &TcpListener) -> std::io::Result<()> {
    let socket = SockRef::from(listener);
    #[cfg(target_os = "linux")]
    socket.set_tcp_notsent_lowat(UNSENT_MAX)?;
    // On a socket that listens already this sets the length of its queue.
    socket.listen(BACKLOG)
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        io::{ErrorKind, Write as _},
        net::TcpStream,
        time::Duration,
    };

    use socket2::{Domain, Socket, Type};

    use super::*;

    /// Nothing accepts here, so all of them have to fit into the queue.
    #[test]
    fn many_connections_at_once_wait_to_be_accepted() {
        let most = fs::read_to_string("/proc/sys/net/core/somaxconn")
            .ok()
            .and_then(|text| text.trim().parse().ok())
            .unwrap_or(128);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        prepare(&listener).unwrap();
        let address = listener.local_addr().unwrap();
        let connect = |number| {
            TcpStream::connect_timeout(&address, Duration::from_secs(20))
                .unwrap_or_else(|error| panic!("connection {number}: {error}"))
        };
        let connections: Vec<TcpStream> = (0..most.min(300)).map(connect).collect();
        assert!(!connections.is_empty());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_kernel_takes_little_for_a_client_that_does_not_read() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        prepare(&listener).unwrap();
        let client = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        client.set_recv_buffer_size(4 * 1024).unwrap();
        client.connect(&listener.local_addr().unwrap().into()).unwrap();
        let (mut accepted, _peer) = listener.accept().unwrap();
        accepted.set_nonblocking(true).unwrap();
        let (chunk, mut taken) = (vec![0; 32 * 1024], 0);
        let refused = loop {
            match accepted.write(&chunk) {
                Ok(count) => taken += count,
                Err(error) => break error,
            }
        };
        assert_eq!(refused.kind(), ErrorKind::WouldBlock);
        assert!(taken < 512 * 1024, "{taken} bytes");
    }
}
