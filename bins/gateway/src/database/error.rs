//! Reasons that there is no database.

use std::path::PathBuf;

use pg::DbError;

/// Reasons that there is no database.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// The private server did not start.
    #[error("the private PostgreSQL could not be started")]
    Start(#[source] local_postgres::Error),
    /// The private server did not stop as it should.
    #[error("the private PostgreSQL did not stop as it should")]
    Stop(#[source] local_postgres::Error),
    /// The task that starts or stops the private server failed.
    #[error("the work on the private PostgreSQL broke off")]
    BrokeOff(#[source] tokio::task::JoinError),
    /// The server cannot be used.
    #[error("the database at {place} cannot be used")]
    Use {
        /// Location, without a password.
        place: String,
        /// Error of the driver.
        #[source]
        source: DbError,
    },
    /// The server follows another one.
    #[error("the database at {place} is a hot standby (read-only): set DATABASE_URL to the primary server")]
    HotStandby {
        /// Location, without a password.
        place: String,
    },
    /// Sessions are read-only by a setting.
    #[error(
        "the database at {place} is read-only: default_transaction_read_only is on for the server, the database or the role"
    )]
    ReadOnly {
        /// Location, without a password.
        place: String,
    },
    /// The schema cannot be brought to this version.
    #[error("the schema could not be brought to this version")]
    Migrate(#[source] DbError),
    /// There is nothing to look at, and looking makes nothing.
    #[error("there is no database in {}: set DATA_DIR or DATABASE_URL", .data_dir.display())]
    Missing {
        /// The folder that was looked into.
        data_dir: PathBuf,
    },
    /// Another process has the data folder and left no address that answers.
    #[error(
        "another process has the data folder, and its server did not answer within {} s at the address in postgres.url",
        .waited.as_secs()
    )]
    Unreachable {
        /// Time of the wait.
        waited: std::time::Duration,
        /// Owner of the folder.
        #[source]
        source: local_postgres::Error,
    },
}
