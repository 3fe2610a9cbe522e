//! Filter of records.

use kernel::{CallerClass, TimePlace, clock::whole_microseconds};
use time::{OffsetDateTime, macros::datetime};

use crate::core::slot_15m::next_microsecond;

/// The place in front of the newest record there can be.
const NEWEST: TimePlace = TimePlace { at: datetime!(9999-12-31 23:59:59 UTC), id: i64::MAX };

/// Filter of the records of a user; an absent part does not narrow (HTTP contract 4.2).
///
/// Texts are compared exactly. `from` after `to` matches nothing; refusing it is up to the caller.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RecordFilter {
    /// Earliest instant, inclusive.
    pub from: Option<OffsetDateTime>,
    /// Latest instant, inclusive.
    pub to: Option<OffsetDateTime>,
    /// Only this kind of event.
    pub event_type: Option<String>,
    /// Only this model.
    pub model_name: Option<String>,
    /// Only this provider.
    pub provider: Option<String>,
    /// Only this tool.
    pub tool_name: Option<String>,
    /// Only this session.
    pub session_id: Option<String>,
    /// Only records by callers of this class; records without a class do not match.
    pub recorded_by: Option<CallerClass>,
}

impl RecordFilter {
    /// The first whole microsecond that is not before `from`: stored times are whole microseconds, and the driver would
    /// cut a finer bound down, which would let an earlier record in.
    pub(crate) fn first_microsecond(&self) -> Option<OffsetDateTime> {
        self.from.map(next_microsecond)
    }

    /// The last whole microsecond that is not after `to`.
    pub(crate) fn last_microsecond(&self) -> Option<OffsetDateTime> {
        self.to.map(whole_microseconds)
    }

    /// The place that everything of a page lies behind: `after`, or the end of the window if that comes first.
    ///
    /// One bound for both, because a range of the index is entered at the first bound PostgreSQL comes across: with two,
    /// a page far back could begin at the newest record and pass all that lie between.
    pub(crate) fn upper_bound(&self, after: Option<&TimePlace>) -> TimePlace {
        let end = self.last_microsecond().map(|at| TimePlace { at, id: i64::MAX });
        [end, after.copied()].into_iter().flatten().min_by_key(|place| (place.at, place.id)).unwrap_or(NEWEST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::Duration;

    #[test]
    fn bounds_between_microseconds_are_moved_inwards() {
        let filter = |from, to| RecordFilter { from: Some(from), to: Some(to), ..RecordFilter::default() };
        let fine =
            filter(datetime!(2025-01-01 0:00:00.000001001 UTC), datetime!(1969-12-31 23:59:59.000001999 UTC));
        assert_eq!(fine.first_microsecond(), Some(datetime!(2025-01-01 0:00:00.000002 UTC)));
        assert_eq!(fine.last_microsecond(), Some(datetime!(1969-12-31 23:59:59.000001 UTC)));
        let whole = datetime!(2025-01-01 0:00:00.000001 UTC);
        let exact = filter(whole, whole);
        assert_eq!(exact.first_microsecond(), exact.last_microsecond());
        assert_eq!(RecordFilter::default().first_microsecond(), None);
    }

    #[test]
    fn the_upper_bound_is_the_earlier_of_place_and_end() {
        let noon = datetime!(2025-01-01 12:00 UTC);
        let place = |at, id| TimePlace { at, id };
        let until = |to| RecordFilter { to, ..RecordFilter::default() };
        let after = place(noon, 7);
        assert_eq!(until(None).upper_bound(None), NEWEST);
        assert_eq!(until(None).upper_bound(Some(&after)), after);
        assert_eq!(until(Some(noon)).upper_bound(None), place(noon, i64::MAX));
        assert_eq!(until(Some(noon)).upper_bound(Some(&after)), after);
        let earlier = noon - Duration::MICROSECOND;
        assert_eq!(until(Some(earlier)).upper_bound(Some(&after)), place(earlier, i64::MAX));
    }
}
