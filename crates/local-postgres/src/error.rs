//! Everything that can go wrong between "start a database" and "it is stopped", worded for the operator.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

/// Why a private server could not be found, started or stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No PostgreSQL of a supported version is installed where it was looked for.
    #[error(
        "no PostgreSQL {min} or newer found{}\n\
         install it:\n  \
         Debian, Ubuntu: apt-get install postgresql\n  \
         Fedora, RHEL:   dnf install postgresql-server\n  \
         Alpine:         apk add postgresql\n  \
         macOS:          brew install postgresql@16\n\
         or set PG_BIN_DIR to the folder with postgres and initdb, or DATABASE_URL to a server that runs already",
        rejected_lines(.rejected),
        min = crate::VERSION_MIN
    )]
    BinariesNotFound {
        /// The places that were tried and why they do not fit, one sentence each.
        rejected: Vec<String>,
    },
    /// The cluster was made by another major version than the binaries on this machine.
    #[error(
        "the database in {} was made by PostgreSQL {cluster} but only version {} is installed: \
         install PostgreSQL {cluster} beside it, or move the data with pg_upgrade",
        .path.display(), versions(.installed)
    )]
    VersionMismatch {
        /// The folder of the cluster.
        path: PathBuf,
        /// Major version that made the cluster, as its `PG_VERSION` says.
        cluster: String,
        /// Major versions found on this machine, the preferred one first.
        installed: Vec<u32>,
    },
    /// A field of [`Settings`](crate::Settings) cannot be used.
    #[error("setting {name} {reason}")]
    InvalidSetting {
        /// The field.
        name: &'static str,
        /// The problem.
        reason: &'static str,
    },
    /// Another process uses the folder.
    #[error("{} is in use by {}: one process a data folder", .dir.display(), holder_text(.holder))]
    Locked {
        /// The folder.
        dir: PathBuf,
        /// Process id of the holder, if it could be read.
        holder: Option<u32>,
    },
    /// The process is root, and neither `postgres` nor `nobody` exists to run the server as.
    #[error("PostgreSQL does not run as root and there is no account `postgres` or `nobody` to run it as")]
    NoAccount,
    /// The account that runs the server may not enter a folder it needs.
    #[error("account {account} cannot enter {}: give it execute permission on that folder and those above it", .path.display())]
    Unreachable {
        /// The folder.
        path: PathBuf,
        /// Name of the account.
        account: String,
    },
    /// The cluster belongs to another account, and the process is not root.
    #[error(
        "the database in {} belongs to {owner}, and this process runs as {account}: start as {owner}, or {command}",
        .path.display()
    )]
    ForeignOwner {
        /// The folder of the cluster.
        path: PathBuf,
        /// Its owner.
        owner: String,
        /// The account of this process.
        account: String,
        /// The command that gives the folder to this account.
        command: String,
    },
    /// A folder or file that another account made or could change, or a link or the like in its place.
    #[error("{} {why}", .path.display())]
    Untrusted {
        /// The folder or file.
        path: PathBuf,
        /// The problem and its remedy.
        why: String,
    },
    /// The pointer file names a folder that is gone.
    #[error(
        "{} says that the database is in {}, which is gone: \
         bring it back, or delete the first file to begin with an empty database",
        .pointer.display(), .home.display()
    )]
    LocationLost {
        /// The pointer file.
        pointer: PathBuf,
        /// The folder it names.
        home: PathBuf,
    },
    /// Processes of an earlier server on the same cluster do not end.
    #[error("an earlier server on {} does not end (process {})", .path.display(), versions(.pids))]
    StillRunning {
        /// The folder of the cluster.
        path: PathBuf,
        /// Their process ids.
        pids: Vec<u32>,
    },
    /// `initdb`, or the single-user run that makes role and database, failed.
    #[error("{tool} failed ({outcome}); its last lines:\n{log_tail}")]
    ToolFailed {
        /// Program and its activity.
        tool: &'static str,
        /// Its end.
        outcome: String,
        /// The end of what it wrote.
        log_tail: String,
    },
    /// The server ended instead of becoming ready.
    #[error("the server ended while it started ({status}); the last lines of its log:\n{log_tail}")]
    EndedAtStart {
        /// Its end.
        status: ExitStatus,
        /// The end of what it logged.
        log_tail: String,
    },
    /// The server lives but did not become ready in time; it was stopped.
    #[error("the server was not ready after {} s; the last lines of its log:\n{log_tail}", .waited.as_secs())]
    NotReady {
        /// Time of waiting.
        waited: Duration,
        /// The end of what it logged.
        log_tail: String,
    },
    /// The server did not shut down in time and was ended; the next start recovers.
    #[error("the server did not shut down in {} s and was ended, the next start recovers", .waited.as_secs())]
    StopForced {
        /// Limit of the orderly shutdown.
        waited: Duration,
    },
    /// A system call failed.
    #[error("could not {doing} {}", .path.display())]
    Io {
        /// The activity.
        doing: &'static str,
        /// To which file, folder or program.
        path: PathBuf,
        /// Error of the system.
        #[source]
        source: io::Error,
    },
}

impl Error {
    pub(crate) fn untrusted(path: &Path, why: impl Into<String>) -> Error {
        Error::Untrusted { path: path.to_owned(), why: why.into() }
    }

    /// For `map_err`: names what was being done, and to what.
    pub(crate) fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
        let path = path.to_owned();
        move |source| Error::Io { doing, path, source }
    }
}

fn rejected_lines(rejected: &[String]) -> String {
    rejected.iter().map(|line| format!("\n  {line}")).collect()
}

fn versions(numbers: &[u32]) -> String {
    numbers.iter().map(u32::to_string).collect::<Vec<_>>().join(", ")
}

fn holder_text(holder: &Option<u32>) -> String {
    holder.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
}
