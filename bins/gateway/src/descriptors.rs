//! File descriptors: how many the process may have, and how many of them connections of clients may take.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Descriptors for everything but connections of clients and of the database: standard streams, event queues, files, and the
/// moment between the acceptance of a connection and the end of the one that makes room for it.
const RESERVE: usize = 48;
/// Most connections whatever the system allows: their buffers take memory.
const CONNECTIONS_MAX: usize = 16_384;
/// Fewest connections, however low the limit is.
const CONNECTIONS_MIN: usize = 16;
/// Descriptors that are assumed when the system does not say.
const UNKNOWN: usize = 1_024;

/// Raises the soft limit to the hard one. What is left is logged: with a low limit, idle connections are closed early.
pub fn raise_limit() {
    match getrlimit(Resource::RLIMIT_NOFILE) {
        Ok((soft, hard)) if soft < hard => {
            if let Err(error) = setrlimit(Resource::RLIMIT_NOFILE, hard, hard) {
                tracing::warn!(error = %error, soft, hard, "the limit of open files cannot be raised");
            }
        }
        Ok(_) => {}
        Err(error) => tracing::warn!(error = %error, "the limit of open files is unknown"),
    }
}

/// Returns the number of client connections that fit next to those of the database.
#[must_use]
pub fn for_connections(database_pool_size: usize) -> usize {
    let limit = getrlimit(Resource::RLIMIT_NOFILE)
        .map_or(UNKNOWN, |(soft, _)| usize::try_from(soft).unwrap_or(usize::MAX));
    left_of(limit, database_pool_size)
}

fn left_of(limit: usize, database_pool_size: usize) -> usize {
    limit.saturating_sub(RESERVE).saturating_sub(database_pool_size).clamp(CONNECTIONS_MIN, CONNECTIONS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_descriptors_for_the_rest() {
        assert_eq!(left_of(256, 8), 200);
        assert_eq!(left_of(64, 100), 16);
        assert_eq!(left_of(1 << 30, 8), 16_384);
        assert!(for_connections(8) >= 16);
    }
}
