//! Which records are meant.

use time::{Duration, OffsetDateTime};

/// Which records of a user are meant; an absent part does not narrow (HTTP contract 4.2).
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
}

impl RecordFilter {
    /// The first whole microsecond that is not before `from`: stored times are whole microseconds, and the driver would
    /// cut a finer bound down, which would let an earlier record in.
    pub(crate) fn first_microsecond(&self) -> Option<OffsetDateTime> {
        self.from.map(|from| {
            let floor = whole_microseconds(from);
            if floor == from {
                from
            } else {
                floor.checked_add(Duration::MICROSECOND).unwrap_or(from)
            }
        })
    }

    /// The last whole microsecond that is not after `to`.
    pub(crate) fn last_microsecond(&self) -> Option<OffsetDateTime> {
        self.to.map(whole_microseconds)
    }
}

fn whole_microseconds(instant: OffsetDateTime) -> OffsetDateTime {
    let nanosecond = instant.nanosecond();
    let whole = nanosecond.saturating_sub(nanosecond % 1_000);
    instant.replace_nanosecond(whole).unwrap_or(instant)
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    #[test]
    fn bounds_between_microseconds_are_moved_inwards() {
        let filter = |from, to| RecordFilter {
            from: Some(from),
            to: Some(to),
            ..RecordFilter::default()
        };
        let fine = filter(
            datetime!(2025-01-01 0:00:00.000001001 UTC),
            datetime!(1969-12-31 23:59:59.000001999 UTC),
        );
        assert_eq!(
            fine.first_microsecond(),
            Some(datetime!(2025-01-01 0:00:00.000002 UTC))
        );
        assert_eq!(
            fine.last_microsecond(),
            Some(datetime!(1969-12-31 23:59:59.000001 UTC))
        );
        let whole = datetime!(2025-01-01 0:00:00.000001 UTC);
        let exact = filter(whole, whole);
        assert_eq!(exact.first_microsecond(), exact.last_microsecond());
        assert_eq!(RecordFilter::default().first_microsecond(), None);
    }
}
