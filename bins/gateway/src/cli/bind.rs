//! Taking the port, before anything that takes time: a second instance is told at once.

use std::{
    io::{self, ErrorKind},
    net::{SocketAddr, TcpListener},
    thread,
    time::{Duration, Instant},
};

use super::port_holder;
use crate::config::Listen;

/// Time that a port in use is waited for: an instance that is being replaced may still be ending.
const PREDECESSOR_PATIENCE: Duration = Duration::from_secs(5);
const PREDECESSOR_POLL: Duration = Duration::from_millis(50);

/// Why the port could not be had, with what to do about it.
#[derive(Debug, thiserror::Error)]
pub(super) enum BindError {
    #[error("{listen} is in use by {holder}: stop it, or set PORT to a free port")]
    InUse { listen: Listen, holder: String },
    #[error("this account may not listen on {listen}: set PORT to one above 1023")]
    Forbidden {
        listen: Listen,
        #[source]
        source: io::Error,
    },
    #[error("HOST {} is no address of this machine", .listen.host)]
    NotHere {
        listen: Listen,
        #[source]
        source: io::Error,
    },
    #[error("could not listen on {listen}")]
    Other {
        listen: Listen,
        #[source]
        source: io::Error,
    },
}

/// Listens, and says where: the address in full, where HOST may have been a name. A port in use is tried again for 5 s.
pub(super) fn bind(listen: &Listen) -> Result<(TcpListener, SocketAddr), BindError> {
    bind_within(listen, PREDECESSOR_PATIENCE)
}

fn bind_within(listen: &Listen, patience: Duration) -> Result<(TcpListener, SocketAddr), BindError> {
    let began = Instant::now();
    let mut told = false;
    let bound = loop {
        let bound = TcpListener::bind((listen.host.as_str(), listen.port))
            .and_then(|listener| listener.local_addr().map(|address| (listener, address)));
        match &bound {
            Err(error) if error.kind() == ErrorKind::AddrInUse && began.elapsed() < patience => {
                if !told {
                    tracing::info!("{listen} is in use, trying again for {} s", patience.as_secs());
                    told = true;
                }
                thread::sleep(PREDECESSOR_POLL);
            }
            _ => break bound,
        }
    };
    let listen = listen.clone();
    bound.map_err(|source| match source.kind() {
        ErrorKind::AddrInUse => BindError::InUse {
            holder: port_holder::find(listen.port).unwrap_or_else(|| "another program".to_owned()),
            listen,
        },
        ErrorKind::PermissionDenied => BindError::Forbidden { listen, source },
        ErrorKind::AddrNotAvailable => BindError::NotHere { listen, source },
        _ => BindError::Other { listen, source },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_in_use_is_reported_with_its_holder() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let listen =
            Listen { host: "127.0.0.1".to_owned(), port: taken.local_addr().unwrap().port(), workers: 1 };
        let told = bind_within(&listen, Duration::ZERO).unwrap_err().to_string();
        assert!(told.starts_with(&format!("{listen} is in use by ")), "{told}");
        assert!(told.contains("set PORT"), "{told}");
        if cfg!(target_os = "linux") {
            assert!(told.contains(&format!("process {}", std::process::id())), "{told}");
        }
    }

    #[test]
    fn a_port_that_becomes_free_is_taken() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let listen =
            Listen { host: "127.0.0.1".to_owned(), port: taken.local_addr().unwrap().port(), workers: 1 };
        let binding = thread::spawn({
            let listen = listen.clone();
            move || bind_within(&listen, Duration::from_secs(60)).map(|(_, address)| address)
        });
        assert!(bind_within(&listen, Duration::ZERO).is_err(), "it is in use");
        drop(taken);
        let address = binding.join().unwrap().unwrap();
        assert_eq!(address.port(), listen.port);
    }
}
