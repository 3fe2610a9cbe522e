//! Connection URLs whose host is a socket folder, as libpq and tokio-postgres read them.

use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

/// `postgresql://role@%2Fsocket%2Ffolder/database`, every part percent-encoded.
pub(crate) fn server_url(role: &str, socket_dir: &Path, database: &str) -> String {
    let host = encode(socket_dir.as_os_str().as_bytes());
    format!("postgresql://{}@{host}/{}", encode(role.as_bytes()), encode(database.as_bytes()))
}

fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for &byte in bytes {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            text.push(char::from(byte));
        } else {
            // Writing into a String cannot fail.
            write!(text, "%{byte:02X}").unwrap_or_default();
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn client_reads_back_what_was_written() {
        let url = server_url("röle@x", Path::new("/tmp/a b%/c"), "da/ta");
        let config: tokio_postgres::Config = url.parse().unwrap();
        assert_eq!(config.get_user(), Some("röle@x"));
        assert_eq!(config.get_dbname(), Some("da/ta"));
        assert_eq!(config.get_hosts(), [tokio_postgres::config::Host::Unix("/tmp/a b%/c".into())]);
    }
}
