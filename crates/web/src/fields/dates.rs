//! `start_date` and `end_date`: an instant, or a day by its date (HTTP contract 1.9).

use std::collections::BTreeMap;

use time::{Date, Duration, OffsetDateTime};

use super::{
    Fields,
    input::{Declared, Input},
    time::{LATEST, Moment, midnight, moment},
};
use crate::fault::Problem;

/// Where days begin on the clocks of a zone other than UTC; empty for UTC.
#[derive(Debug, Default)]
pub struct Days(BTreeMap<Date, OffsetDateTime>);

/// The window of a request; both ends may be open.
#[derive(Debug, Default)]
pub struct Dates {
    /// Its first instant.
    pub start: Option<OffsetDateTime>,
    /// Where it ends.
    pub end: Option<End>,
}

/// The end of a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// At this instant, which belongs to lists and not to series.
    At(OffsetDateTime),
    /// Before this instant, at which the next day begins.
    Before(OffsetDateTime),
}

impl Days {
    /// The beginnings of these days.
    #[must_use]
    pub fn new(beginnings: impl IntoIterator<Item = (Date, OffsetDateTime)>) -> Self {
        Self(beginnings.into_iter().collect())
    }

    fn begins(&self, day: Date) -> OffsetDateTime {
        self.0.get(&day).copied().unwrap_or_else(|| midnight(day))
    }

    /// The instant at which a day is over; the last day of the calendar never is.
    fn ends(&self, day: Date) -> OffsetDateTime {
        day.next_day().map_or(LATEST, |next| self.begins(next))
    }
}

impl End {
    /// The last microsecond, for a window whose end is inclusive.
    #[must_use]
    pub fn last(self) -> OffsetDateTime {
        match self {
            Self::At(instant) => instant,
            Self::Before(next) => next.checked_sub(Duration::MICROSECOND).unwrap_or(next),
        }
    }

    /// The first instant after the window, for one whose end is exclusive.
    #[must_use]
    pub fn exclusive(self) -> OffsetDateTime {
        match self {
            Self::At(instant) | Self::Before(instant) => instant,
        }
    }
}

crate::input! {
    /// A window of time.
    pub struct DatesInput {
        /// From this instant on, inclusive; a bare date is its midnight, in `tz` where the route has one, else UTC.
        start_date: Option<Moment> = optional(Query, moment());
        /// Up to this instant, inclusive; a bare date is that whole day.
        end_date: Option<Moment> = optional(Query, moment());
    }
}

impl Input for Dates {
    type Context = Days;

    const NAME: &'static str = DatesInput::NAME;
    const DESCRIPTION: &'static str = DatesInput::DESCRIPTION;

    fn read(fields: &mut Fields, days: &Days) -> Option<Self> {
        Some(fields.dates(days))
    }

    fn declared(_days: &Days) -> Vec<Declared> {
        DatesInput::declared(&())
    }
}

impl Fields {
    /// `start_date` and `end_date`; a start after the end is a fault. Dates mean days of `days`.
    pub fn dates(&mut self, days: &Days) -> Dates {
        let dates = DatesInput::read(self, &());
        let (start, end) = dates.map_or((None, None), |dates| (dates.start_date, dates.end_date));
        self.window(start, end, days)
    }

    /// The window between two dates; a start after the end is a fault.
    pub fn window(&mut self, start: Option<Moment>, end: Option<Moment>, days: &Days) -> Dates {
        let dates = Dates::new(start, end, days);
        let is_reversed = match (start, end) {
            // A day that a zone left out ends where it begins.
            (Some(Moment::Day(start)), Some(Moment::Day(end))) => start > end,
            _ => dates.start.zip(dates.end).is_some_and(|(start, end)| start > end.last()),
        };
        if is_reversed {
            self.fault("query", "start_date", Problem::value("start_date is after end_date"));
        }
        dates
    }
}

impl Dates {
    /// The window between two dates, of which either may be absent.
    #[must_use]
    pub fn new(start: Option<Moment>, end: Option<Moment>, days: &Days) -> Self {
        Self {
            start: start.map(|start| match start {
                Moment::Instant(instant) => instant,
                Moment::Day(day) => days.begins(day),
            }),
            end: end.map(|end| match end {
                Moment::Instant(instant) => End::At(instant),
                Moment::Day(day) => End::Before(days.ends(day)),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use time::macros::{date, datetime};

    use super::*;

    fn read(query: &str, days: &Days) -> Result<Dates, String> {
        Fields::new(query, b"")
            .read(|fields| Some(fields.dates(days)))
            .map_err(|error| error.code().to_owned())
    }

    #[test]
    fn a_date_is_midnight_as_start_and_the_whole_day_as_end() {
        let dates = read("start_date=2025-07-01&end_date=2025-07-01", &Days::default()).unwrap();
        let next = datetime!(2025-07-02 0:00 UTC);
        assert_eq!(dates.start, Some(datetime!(2025-07-01 0:00 UTC)));
        assert_eq!(dates.end, Some(End::Before(next)));
        let end = dates.end.unwrap();
        assert_eq!((end.last(), end.exclusive()), (datetime!(2025-07-01 23:59:59.999999 UTC), next));
        let noon = read("end_date=2025-07-01T12:00:00Z", &Days::default()).unwrap();
        let instant = datetime!(2025-07-01 12:00 UTC);
        let end = noon.end.unwrap();
        assert_eq!((end.last(), end.exclusive()), (instant, instant));
    }

    #[test]
    fn days_begin_where_their_zone_says() {
        let days = Days::new([
            (date!(2025 - 07 - 01), datetime!(2025-06-30 16:00 UTC)),
            (date!(2025 - 08 - 01), datetime!(2025-07-31 16:00 UTC)),
        ]);
        let dates = read("start_date=2025-07-01&end_date=2025-07-31", &days).unwrap();
        assert_eq!(dates.start, Some(datetime!(2025-06-30 16:00 UTC)));
        assert_eq!(dates.end, Some(End::Before(datetime!(2025-07-31 16:00 UTC))));
    }

    #[test]
    fn a_start_after_the_end_is_a_fault() {
        for (query, fits) in [
            ("start_date=2025-07-01T23:59:59.999999Z&end_date=2025-07-01", true),
            ("start_date=2025-07-02&end_date=2025-07-01", false),
            ("start_date=2025-07-02T00:00:00Z&end_date=2025-07-01", false),
            ("start_date=2025-07-01&end_date=2025-07-01T00:00:00Z", true),
            ("start_date=9999-12-31&end_date=9999-12-31", true),
            ("start_date=0001-01-01&end_date=0001-01-01", true),
        ] {
            assert_eq!(read(query, &Days::default()).is_ok(), fits, "{query}");
        }
    }
}
