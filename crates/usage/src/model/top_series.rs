//! Sums over time across users, of the largest groups.

use crate::{Line, Series, SeriesQuery, Totals};

/// Parameters of a series across users.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopQuery {
    /// Window, buckets, grouping and filters.
    pub series: SeriesQuery,
    /// Number of groups have a line of their own; all others are added up in one more.
    pub lines_max: u16,
    /// True if users are counted.
    pub users: Users,
}

/// Choice of counting users in a series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Users {
    /// It does.
    Counted,
    /// It does not.
    Uncounted,
}

/// Activity in a bucket, or in the whole window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Point {
    /// The sums.
    pub totals: Totals,
    /// Number of users have a record, taken back or not; 0 where users are not counted. Of a window it is the number of
    /// different users, and less than the sum over its buckets where a user is active in several.
    pub active_users: i64,
}

/// Lines of the groups that were charged most, and one for the rest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopSeries {
    /// The groups with the most credits first, then with the most records; without grouping exactly one. Where users are
    /// counted a group has a line if anybody had a record of it, otherwise if anything is left of its records.
    pub series: Series<Point>,
    /// All further groups together, if there are any. Its group says nothing.
    pub rest: Option<Line<Point>>,
}
