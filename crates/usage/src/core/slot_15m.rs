//! Quarters of an hour of UTC, the grid of all roll-ups.

use kernel::clock::whole_microseconds;
use time::{Duration, OffsetDateTime};

const QUARTER_SECONDS: i64 = 15 * 60;

/// The beginning of the quarter of an hour that an instant lies in. Every civil offset is a multiple of it, so the
/// quarters are the same everywhere.
pub(crate) fn floor(instant: OffsetDateTime) -> OffsetDateTime {
    let seconds = instant.unix_timestamp();
    let into = seconds.rem_euclid(QUARTER_SECONDS);
    OffsetDateTime::from_unix_timestamp(seconds.saturating_sub(into)).unwrap_or(instant)
}

/// The first whole microsecond that is not before an instant.
pub(crate) fn next_microsecond(instant: OffsetDateTime) -> OffsetDateTime {
    let floor = whole_microseconds(instant);
    if floor == instant { instant } else { floor.checked_add(Duration::MICROSECOND).unwrap_or(instant) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    #[test]
    fn quarters_begin_on_the_quarter_also_before_1970_and_in_any_offset() {
        for (instant, expected) in [
            (datetime!(2026-01-15 12:14:59.999999 UTC), datetime!(2026-01-15 12:00 UTC)),
            (datetime!(2026-01-15 12:15 UTC), datetime!(2026-01-15 12:15 UTC)),
            (datetime!(1969-12-31 23:59:59.5 UTC), datetime!(1969-12-31 23:45 UTC)),
            (datetime!(2026-01-15 5:50 +5:45), datetime!(2026-01-15 0:00 UTC)),
        ] {
            assert_eq!(floor(instant), expected);
        }
    }
}
