//! The server's configuration, all of it on the command line so that the cluster stays as `initdb` made it.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::Path;

use crate::{Durability, Settings};

/// Same for both kinds. Only the socket listens; JIT costs more than it gives for short queries.
const COMMON: [(&str, &str); 17] = [
    ("listen_addresses", ""),
    ("port", "5432"),
    ("unix_socket_permissions", "0700"),
    ("huge_pages", "off"),
    ("jit", "off"),
    ("archive_mode", "off"),
    ("max_wal_size", "1GB"),
    ("checkpoint_timeout", "15min"),
    ("autovacuum", "on"),
    ("track_io_timing", "off"),
    ("timezone", "UTC"),
    ("log_timezone", "UTC"),
    ("lc_messages", "C"),
    ("log_destination", "stderr"),
    ("logging_collector", "off"),
    ("log_checkpoints", "off"),
    ("log_line_prefix", "%m [%p] %q%u@%d "),
];

/// Two senders and enough in the log for `pg_basebackup` from the running server.
const DURABLE: [(&str, &str); 6] = [
    ("shared_buffers", "128MB"),
    ("fsync", "on"),
    ("full_page_writes", "on"),
    ("synchronous_commit", "on"),
    ("wal_level", "replica"),
    ("max_wal_senders", "2"),
];

/// Commits still wait for the write, though not for the disk: without that the kill of a server would lose the
/// last of them, and it was measured to be no faster once nothing is flushed.
const DISPOSABLE: [(&str, &str); 6] = [
    ("shared_buffers", "32MB"),
    ("fsync", "off"),
    ("full_page_writes", "off"),
    ("synchronous_commit", "on"),
    ("wal_level", "minimal"),
    ("max_wal_senders", "0"),
];

/// `-c name=value` for each; of two for the same name the later one wins, so the caller's come last.
pub(crate) fn arguments(settings: &Settings, socket_dir: &Path) -> Vec<OsString> {
    let of_durability = match settings.durability {
        Durability::Durable => DURABLE,
        Durability::Disposable => DISPOSABLE,
    };
    let max_connections = settings.max_connections.to_string();
    let own = COMMON.into_iter().chain(of_durability).chain([("max_connections", max_connections.as_str())]);
    let given = settings.server_settings.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let mut arguments = Vec::new();
    for (name, value) in own.chain(given) {
        arguments.push("-c".into());
        arguments.push(format!("{name}={value}").into());
    }
    // After the caller's: another folder would contradict the URL this crate hands out.
    arguments.push("-c".into());
    arguments.push(socket_argument(socket_dir));
    arguments
}

/// The value is a list, so a folder with a comma in its name has to be quoted.
fn socket_argument(socket_dir: &Path) -> OsString {
    let mut value = b"unix_socket_directories=\"".to_vec();
    for &byte in OsStr::as_bytes(socket_dir.as_os_str()) {
        value.extend(std::iter::repeat_n(byte, if byte == b'"' { 2 } else { 1 }));
    }
    value.push(b'"');
    OsString::from_vec(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_of_the_caller_come_after_ours() {
        let mut settings = Settings::new("/data");
        settings.server_settings.push(("jit".to_owned(), "on".to_owned()));
        let arguments = arguments(&settings, Path::new("/s,\"x"));
        let place = |text: &str| arguments.iter().position(|argument| argument == text);
        assert!(place("jit=off").unwrap() < place("jit=on").unwrap());
        assert_eq!(arguments.last().unwrap(), "unix_socket_directories=\"/s,\"\"x\"");
    }
}
