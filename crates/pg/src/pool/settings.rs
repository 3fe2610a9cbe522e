//! Number and purpose of connections, and limits of time.

use std::time::Duration;

use crate::batch::BLOCKED_MAX;

/// Purpose of the connections of a pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Any server will do.
    Read,
    /// Among several servers, without `target_session_attrs`, one that writes; where there is none, a primary that only
    /// reads for now.
    ReadWrite,
}

/// Number of connections, and limits of time.
#[derive(Debug, Clone)]
pub struct PoolSettings {
    /// A connection string as psql accepts it: [`crate::DatabaseUrl`].
    pub url: String,
    /// Most connections at a time.
    pub size_max: usize,
    /// Purpose of the connections.
    pub access: Access,
    /// Shown in `pg_stat_activity`.
    pub application_name: String,
    /// Limit for opening a connection to one server, unless the connection string says so.
    pub connect_timeout: Duration,
    /// Limit for the wait for a free connection.
    pub wait_timeout: Duration,
    /// Limit for one statement. A server that sends nothing at all, also in a commit, is given up
    /// [`crate::connect::ANSWER_MARGIN`] later. Zero for no limit of either kind.
    pub statement_timeout: Duration,
    /// Limit for the wait of a statement for a lock.
    pub lock_timeout: Duration,
    /// Limit for an idle transaction.
    pub idle_in_transaction_timeout: Duration,
}

impl PoolSettings {
    /// Settings fit for a service: 8 connections, statements up to 20 s, locks up to 2 s.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            size_max: 8,
            access: Access::ReadWrite,
            application_name: "user-service".to_owned(),
            connect_timeout: Duration::from_secs(5),
            wait_timeout: Duration::from_secs(10),
            statement_timeout: Duration::from_secs(20),
            lock_timeout: BLOCKED_MAX,
            idle_in_transaction_timeout: Duration::from_secs(60),
        }
    }
}

/// Limits for the statements of a pool.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// Limit for the wait of a statement for a lock.
    pub lock_timeout: Duration,
    /// Limit for one statement. A server that sends nothing at all is given up [`crate::connect::ANSWER_MARGIN`] later.
    pub statement_timeout: Duration,
}
