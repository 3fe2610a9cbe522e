//! Months of UTC, as partitions have them.

use time::{Date, Month as Name, OffsetDateTime, Time, UtcOffset};

/// A month.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Month {
    /// Months since the year 0.
    number: i32,
}

impl Month {
    /// The month an instant lies in.
    pub(crate) fn containing(instant: OffsetDateTime) -> Self {
        // Beyond the calendar of UTC there is no record; the local date says as much.
        let date = instant.checked_to_offset(UtcOffset::UTC).unwrap_or(instant).date();
        Self::new(date.year(), i32::from(u8::from(date.month())))
    }

    /// The month `count` later, or earlier if that is negative.
    pub(crate) fn plus(self, count: i32) -> Self {
        Self { number: self.number.saturating_add(count) }
    }

    /// Its first instant, which is the end of the month before. `None` beyond the years of the calendar.
    pub(crate) fn start(self) -> Option<OffsetDateTime> {
        let name = u8::try_from(self.number.rem_euclid(12).saturating_add(1)).ok()?;
        let date = Date::from_calendar_date(self.year(), Name::try_from(name).ok()?, 1).ok()?;
        Some(date.with_time(Time::MIDNIGHT).assume_utc())
    }

    /// As partitions are called: `2026_11`.
    pub(crate) fn name(self) -> String {
        let month = self.number.rem_euclid(12).saturating_add(1);
        format!("{:04}_{month:02}", self.year())
    }

    /// Reads a name.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        let (year, month) = name.split_once('_')?;
        let parsed = Self::new(year.parse().ok()?, month.parse().ok()?);
        (parsed.name() == name).then_some(parsed)
    }

    fn new(year: i32, month: i32) -> Self {
        Self { number: year.saturating_mul(12).saturating_add(month).saturating_sub(1) }
    }

    fn year(self) -> i32 {
        self.number.div_euclid(12)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    #[test]
    fn months_follow_one_another_across_years() {
        let december = Month::containing(datetime!(2026-01-01 0:30 +1));
        assert_eq!(december.name(), "2025_12");
        assert_eq!(december.plus(1).name(), "2026_01");
        assert_eq!(december.plus(-24).name(), "2023_12");
        assert_eq!(december.start(), Some(datetime!(2025-12-01 0:00 UTC)));
        assert_eq!(december.plus(13).start(), Some(datetime!(2027-01-01 0:00 UTC)));
        assert!(december < december.plus(1));
    }

    #[test]
    fn only_names_of_months_are_read() {
        assert_eq!(Month::parse("2026_11"), Some(Month::containing(datetime!(2026-11-30 23:59 UTC))));
        for other in ["default", "2026_13", "2026_00", "2026_1", "2026-11", "_11", ""] {
            assert_eq!(Month::parse(other), None, "{other}");
        }
    }
}
