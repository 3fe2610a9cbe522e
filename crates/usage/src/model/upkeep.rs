//! Results of the upkeep of months.

/// Results of making months ahead.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Months {
    /// Partitions that were made, for example `records_2026_11`.
    pub created: Vec<String>,
    /// Rows that lay in a DEFAULT partition because their month had none, and were moved: not lost, but nobody had made the
    /// month in time. An alarm, except for the first time on a database that had no months.
    pub moved: u64,
}

/// Results of retention.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Retained {
    /// Months that were dropped, for example `records_2025_10`.
    pub dropped: Vec<String>,
    /// Event ids that were forgotten with them.
    pub forgotten: u64,
}

/// A month of records that is older than is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OldMonth {
    /// Its partition, for example `records_2025_10`; one that is still to be made if its records lie in DEFAULT.
    pub partition: String,
    /// About how many records it has, as PostgreSQL last estimated; `None` where it did not yet.
    pub records: Option<u64>,
    /// Size with its indexes, in bytes; 0 where its records lie in DEFAULT.
    pub bytes: u64,
}
