//! The instants that a question is about.

use kernel::clock::whole_microseconds;
use time::{Duration, OffsetDateTime, macros::datetime};

use super::slot_15m::next_microsecond;
use crate::RecordFilter;

/// Before this nothing is recorded, and nothing need be asked of the database.
const BEGINNING: OffsetDateTime = datetime!(0001-01-02 0:00 UTC);
/// From here on likewise.
const END: OffsetDateTime = datetime!(9999-12-31 0:00 UTC);

/// From `start` up to, not including, `end`: whole microseconds, absent where there is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Window {
    pub(crate) start: Option<OffsetDateTime>,
    pub(crate) end: Option<OffsetDateTime>,
}

impl Window {
    /// The window of a filter, both ends of which are inclusive. `None` if no instant lies in it.
    pub(crate) fn from_filter(filter: &RecordFilter) -> Option<Self> {
        let behind = |to| whole_microseconds(to).checked_add(Duration::MICROSECOND);
        Self::between(filter.from, filter.to.and_then(behind))
    }

    /// The window whose end is exclusive. `None` if no instant lies in it.
    pub(crate) fn between(start: Option<OffsetDateTime>, end: Option<OffsetDateTime>) -> Option<Self> {
        let start = start.map(next_microsecond);
        let end = end.map(next_microsecond);
        if start.is_some_and(|start| end.is_some_and(|end| start >= end) || start >= END)
            || end.is_some_and(|end| end <= BEGINNING)
        {
            return None;
        }
        Some(Self { start: start.filter(|start| *start > BEGINNING), end: end.filter(|end| *end < END) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_of_a_filter_are_inclusive_to_the_microsecond() {
        let filter = |from, to| RecordFilter { from: Some(from), to: Some(to), ..RecordFilter::default() };
        let noon = datetime!(2026-01-15 12:00 UTC);
        let fine = Duration::nanoseconds(1);
        let micro = Duration::MICROSECOND;
        let window = |start, end| Some(Window { start: Some(start), end: Some(end) });
        assert_eq!(Window::from_filter(&filter(noon, noon)), window(noon, noon + micro));
        assert_eq!(Window::from_filter(&filter(noon - fine, noon + fine)), window(noon, noon + micro));
        assert_eq!(Window::from_filter(&filter(noon + fine, noon + fine)), None);
        assert_eq!(Window::from_filter(&filter(noon, noon - micro)), None);
    }

    #[test]
    fn ends_beyond_all_records_are_no_limits() {
        let (first, last) = (datetime!(-9999-01-01 0:00 UTC), datetime!(9999-12-31 23:59 UTC));
        let open = Some(Window { start: None, end: None });
        assert_eq!(Window::between(Some(first), Some(last)), open);
        assert_eq!(Window::between(None, None), open);
        assert_eq!(Window::between(Some(last), None), None);
        assert_eq!(Window::between(None, Some(first)), None);
    }
}
