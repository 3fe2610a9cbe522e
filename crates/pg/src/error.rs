//! Errors between the service and PostgreSQL, distinguished by what a caller can do about them.

use diesel::result::{DatabaseErrorKind, Error as DieselError};

use crate::columns::Unreadable;

/// A failure of the database, or of the way to it.
#[derive(Debug, thiserror::Error)]
pub enum DbError {
    /// No connection could be had. Nothing was done.
    #[error("no database connection could be had")]
    Connect(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The connection broke, or the server is shutting down, before the commit. Nothing was done.
    #[error("the database connection was lost")]
    Lost(#[source] DieselError),
    /// The transaction met another one: serialization failure or deadlock. Nothing was done; try again.
    #[error("the transaction met another one")]
    Contention(#[source] DieselError),
    /// Another transaction held a lock for longer than `lock_timeout`. Nothing was done; to try again is to wait again.
    #[error("another transaction held a lock for too long")]
    LockTimeout(#[source] DieselError),
    /// The server cannot do it for now: it is read-only, it has no memory or disk left, or the statement took longer than
    /// `statement_timeout`. Nothing was done; to try again at once would only add to it.
    #[error("the database server cannot do it for now")]
    NotNow(#[source] DieselError),
    /// The connection broke while committing: the transaction may or may not have happened.
    #[error("the connection was lost while committing")]
    OutcomeUnknown(#[source] DieselError),
    /// A constraint refused what the rules allowed.
    #[error("constraint {constraint} was violated")]
    Constraint {
        /// Name of the constraint, or `unnamed`.
        constraint: String,
        /// Message of PostgreSQL.
        #[source]
        source: DieselError,
    },
    /// A statement touched another number of rows than it must.
    #[error("{statement} touched {actual} rows instead of {expected}")]
    RowCount {
        /// The statement, in the words of the store.
        statement: &'static str,
        /// Rows it must touch.
        expected: usize,
        /// Rows it touched.
        actual: usize,
    },
    /// A stored row holds what the types of the service cannot.
    #[error("stored data is inconsistent: {0}")]
    Inconsistent(String),
    /// A migration cannot be applied: it was edited after it had been applied, or it failed.
    #[error("migration {name}: {problem}")]
    Migration {
        /// Name of the migration.
        name: String,
        /// The violation, in words.
        problem: String,
    },
    /// The server, or a pooler before it, is one that this service cannot work with.
    #[error("the database server does not fit: {0}")]
    Unfit(String),
    /// Anything else that PostgreSQL or the client refused.
    #[error("a database statement failed")]
    Statement(#[source] DieselError),
}

impl DbError {
    /// Returns true if the same work may succeed when it is simply tried again, because nothing was done.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Connect(_) | Self::Lost(_) | Self::Contention(_) | Self::LockTimeout(_))
    }

    /// Returns true if the database is at fault, and not what was asked of it: nothing was done, and later it may be.
    #[must_use]
    pub fn is_unavailable(&self) -> bool {
        self.is_transient() || matches!(self, Self::NotNow(_))
    }

    /// Returns true if the statement was cut off because it took too long, or by hand: unlike all else that is not possible for now,
    /// this may lie in what it was about.
    #[must_use]
    pub fn is_too_slow(&self) -> bool {
        matches!(
            self,
            Self::NotNow(DieselError::DatabaseError(_, about))
                if TOO_SLOW.iter().any(|text| about.message().starts_with(text))
        )
    }

    /// Returns true if the server only reads, as after a switch to another one. A connection to it is of no use to a writer.
    pub(crate) fn is_read_only(&self) -> bool {
        matches!(self, Self::NotNow(DieselError::DatabaseError(DatabaseErrorKind::ReadOnlyTransaction, _)))
    }

    /// A row count that must be exact.
    ///
    /// # Errors
    /// [`DbError::RowCount`] when it is not.
    pub fn expect_rows(statement: &'static str, expected: usize, actual: usize) -> Result<(), Self> {
        if expected == actual { Ok(()) } else { Err(Self::RowCount { statement, expected, actual }) }
    }

    /// Another transaction did the same first, behind what this one had looked up: [`DbError::Contention`].
    #[must_use]
    pub fn overtaken() -> Self {
        Self::Contention(DieselError::RollbackTransaction)
    }

    /// Another transaction went on for longer than this one waits without a lock: [`DbError::LockTimeout`].
    #[must_use]
    pub fn waited() -> Self {
        Self::LockTimeout(DieselError::RollbackTransaction)
    }

    /// A fault of ours after a commit may have been made: [`DbError::OutcomeUnknown`].
    #[must_use]
    pub fn unknown() -> Self {
        Self::OutcomeUnknown(DieselError::BrokenTransactionManager)
    }

    /// Sorts an error that occurred in `COMMIT`: a broken connection leaves the outcome unknown, and so does a server that fails while
    /// it writes the commit, as on a full disk. It may find the commit when it recovers.
    pub(crate) fn in_commit(source: DieselError) -> Self {
        match Self::from(source) {
            Self::NotNow(source) if !is_refusal(&source) => Self::OutcomeUnknown(source),
            Self::Lost(source) => Self::OutcomeUnknown(source),
            other => other,
        }
    }

    /// Sorts an error of a statement that commits by itself: unless it is certain that nothing was done, the outcome is unknown.
    pub(crate) fn alone(error: Self) -> Self {
        match error {
            Self::Connect(_) | Self::Contention(_) | Self::LockTimeout(_) | Self::Constraint { .. } => error,
            Self::NotNow(source) if is_refusal(&source) => Self::NotNow(source),
            Self::NotNow(source) | Self::Lost(source) | Self::Statement(source) => {
                Self::OutcomeUnknown(source)
            }
            other => {
                tracing::error!(error = %chain(&other), "the answer to a statement that may be committed cannot be read");
                Self::unknown()
            }
        }
    }
}

/// Returns true if the server cannot have raised the error while it wrote a commit.
fn is_refusal(source: &DieselError) -> bool {
    let DieselError::DatabaseError(kind, about) = source else { return false };
    let says = |text: &&str| about.message().starts_with(text);
    matches!(kind, DatabaseErrorKind::ReadOnlyTransaction)
        || TOO_SLOW.iter().chain(&NEVER_IN_COMMIT).any(says)
}

/// Of [`NOT_NOW`], what only statements meet.
const NEVER_IN_COMMIT: [&str; 3] =
    ["could not extend file", "temporary file size exceeds", "database is not accepting commands"];

/// diesel-async does not hand on the SQLSTATE of these, and the server words them in the language of `lc_messages`. Each
/// session asks for English, which a role may be denied (see the README of this crate). A foreign wording then ends in
/// [`DbError::Statement`]: it claims nothing and is not tried again as it is. A committer does not depend on the wording:
/// it asks what is blocked, and runs the rest alone.
const DEADLOCK: [&str; 1] = ["deadlock detected"];
const LOCK_TIMEOUT: [&str; 1] = ["canceling statement due to lock timeout"];
const SHUTDOWN: [&str; 3] =
    ["terminating connection", "the database system is", "canceling statement due to conflict with recovery"];

/// 57014: the statement was cancelled.
const TOO_SLOW: [&str; 2] =
    ["canceling statement due to statement timeout", "canceling statement due to user request"];

/// Of the classes 53 (insufficient resources) and 58 (input and output), and of 54000, what the server says when it is at
/// its end and not the statement at fault.
const NOT_NOW: [&str; 8] = [
    "could not extend file",
    "could not write to file",
    "could not write block",
    "could not resize shared memory segment",
    "out of memory",
    "out of shared memory",
    "temporary file size exceeds",
    "database is not accepting commands",
];

/// Faults of this program that tokio-postgres finds while it writes or reads a message. diesel-async files them with the
/// broken connections; trying again would not help.
const MISUSE: [&str; 6] = [
    "error serializing parameter",
    "error deserializing column",
    "error encoding message",
    "invalid column",
    "query returned an unexpected number",
    "expected ",
];

impl From<DieselError> for DbError {
    fn from(source: DieselError) -> Self {
        let DieselError::DatabaseError(kind, about) = &source else {
            return match source {
                DieselError::BrokenTransactionManager => Self::Lost(source),
                DieselError::DeserializationError(why) if why.is::<Unreadable>() => {
                    Self::Inconsistent(why.to_string())
                }
                other => Self::Statement(other),
            };
        };
        let says = |texts: &[&str]| texts.iter().any(|text| about.message().starts_with(text));
        match kind {
            DatabaseErrorKind::SerializationFailure => Self::Contention(source),
            DatabaseErrorKind::ReadOnlyTransaction => Self::NotNow(source),
            DatabaseErrorKind::UnableToSendCommand if says(&MISUSE) => Self::Statement(source),
            DatabaseErrorKind::ClosedConnection | DatabaseErrorKind::UnableToSendCommand => {
                Self::Lost(source)
            }
            DatabaseErrorKind::UniqueViolation
            | DatabaseErrorKind::ForeignKeyViolation
            | DatabaseErrorKind::NotNullViolation
            | DatabaseErrorKind::CheckViolation
            | DatabaseErrorKind::RestrictViolation
            | DatabaseErrorKind::ExclusionViolation => {
                let constraint = about.constraint_name().unwrap_or("unnamed").to_owned();
                Self::Constraint { constraint, source }
            }
            _ if says(&DEADLOCK) => Self::Contention(source),
            _ if says(&LOCK_TIMEOUT) => Self::LockTimeout(source),
            _ if says(&SHUTDOWN) => Self::Lost(source),
            _ if says(&NOT_NOW) || says(&TOO_SLOW) => Self::NotNow(source),
            _ => Self::Statement(source),
        }
    }
}

/// An error and its causes, those of the server on one line: it adds a detail and a hint on lines of their own.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        let cause_text = cause.to_string();
        if cause.is::<tokio_postgres::error::DbError>() {
            text.push_str(&cause_text.lines().collect::<Vec<_>>().join("; "));
        } else {
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}
