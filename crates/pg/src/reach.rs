//! How far a connection to the database of a URL goes, for those who configure it. Nothing is connected or read.

use crate::DatabaseUrl;

/// How far a connection goes, and whether the way is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// A unix socket or a loopback address.
    ThisMachine,
    /// Another machine, with TLS.
    Encrypted,
    /// Another machine; the URL turns TLS off or allows the server to refuse it.
    Unprotected,
}

/// How far a connection to the database at `url` goes; with several hosts, the farthest. A URL that cannot be read counts as
/// another machine.
#[must_use]
pub fn reach(url: &str) -> Reach {
    match DatabaseUrl::parse(url) {
        Ok(url) if url.is_local() => Reach::ThisMachine,
        Ok(url) if url.may_be_plaintext_remotely() => Reach::Unprotected,
        _ => Reach::Encrypted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_and_loopback_addresses_are_on_this_machine() {
        for url in [
            "postgresql://u@%2Frun%2Fpostgresql/db",
            "postgresql://u@localhost/db",
            "postgres://u:p%40ss%2Fw@127.0.0.2:5433/db?sslmode=disable",
            "postgresql://u@[::1]/db?options=-c%20jit%3Doff&application_name=x",
            "postgresql:///db?host=/run/postgresql",
            "postgresql:///db",
            "postgresql://localhost:1,127.0.0.1:2/db?target_session_attrs=read-write",
        ] {
            assert_eq!(reach(url), Reach::ThisMachine, "{url}");
        }
    }

    #[test]
    fn every_other_host_is_remote() {
        for url in [
            "postgresql://u@db.example.com/db",
            "postgresql://u@db.example.com/db?sslmode=verify-full&sslrootcert=system",
            "postgresql://u@localhost:1,10.0.0.1:2/db",
            "postgresql://u@localhost.example.com/db",
            "postgresql:///db?host=db.example.com",
            "postgresql://localhost/db?hostaddr=10.0.0.1",
            "no url",
        ] {
            assert_eq!(reach(url), Reach::Encrypted, "{url}");
        }
        for mode in ["disable", "allow", "prefer"] {
            let url = format!("postgresql://u@db.example.com/db?sslmode={mode}");
            assert_eq!(reach(&url), Reach::Unprotected, "{url}");
        }
    }
}
