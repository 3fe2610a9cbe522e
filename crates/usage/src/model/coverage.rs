//! Difference between the window of an answer and the requested one.

/// Scope of a sum, in view of records that were dropped with their months.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Coverage {
    /// Every record of the window, and no other.
    #[default]
    Exact,
    /// The window begins or ends inside a quarter of an hour whose records were dropped: the whole quarter is summed up.
    WholeQuarters,
    /// The window reaches back behind the oldest record, and only records can answer: what was dropped is missing.
    KeptRecords,
}
