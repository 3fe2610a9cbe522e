//! How many connections there may be, what for, and how long things may take.

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

/// How many connections there may be, and how long things may take.
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
    /// How long opening a connection to one server may take, unless the connection string says so.
    pub connect_timeout: Duration,
    /// How long a caller waits for a free connection.
    pub wait_timeout: Duration,
    /// How long one statement may run. A server that sends nothing at all, also in a commit, is given up
    /// [`crate::connect::ANSWER_MARGIN`] later. Zero for no limit of either kind.
    pub statement_timeout: Duration,
    /// How long one statement may wait for a lock.
    pub lock_timeout: Duration,
    /// How long a transaction may do nothing.
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

/// How long the statements of a pool may take.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// How long one statement may wait for a lock.
    pub lock_timeout: Duration,
    /// How long one statement may run. A server that sends nothing at all is given up [`crate::connect::ANSWER_MARGIN`] later.
    pub statement_timeout: Duration,
}
