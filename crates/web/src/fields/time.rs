//! Instants as callers write them (HTTP contract 1.9).
//!
//! The one place where an instant comes in. It lies in the years 1 to 9999 of UTC, which PostgreSQL and every reader of
//! RFC 3339 can write, and has whole microseconds.

use serde_json::json;
use time::{
    Date, OffsetDateTime, PrimitiveDateTime, UtcOffset,
    format_description::well_known::Rfc3339,
    macros::{datetime, format_description},
};

use super::{
    parse,
    parser::{Parse, Parsed, Value, parser},
};
use crate::fault::Problem;

/// First instant that is accepted.
pub const EARLIEST: OffsetDateTime = datetime!(0001-01-01 0:00 UTC);
/// Last instant that is accepted.
pub const LATEST: OffsetDateTime = datetime!(9999-12-31 23:59:59.999999 UTC);

/// Most characters of a time.
const CHARACTERS_MAX: usize = 64;

/// A time as it was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// An instant.
    Instant(OffsetDateTime),
    /// A bare date.
    Day(Date),
}

/// RFC 3339 with any offset; without offset it is UTC, a bare date is its midnight in UTC.
/// An instant before [`EARLIEST`] or after [`LATEST`] is `datetime_parsing` too.
pub fn instant() -> impl Parse<Output = OffsetDateTime> {
    parser(schema, |value| {
        read_moment(value).map(|moment| match moment {
            Moment::Instant(instant) => instant,
            Moment::Day(day) => midnight(day),
        })
    })
}

/// As [`instant`], with a bare date as it is.
pub fn moment() -> impl Parse<Output = Moment> {
    parser(schema, read_moment)
}

fn schema() -> serde_json::Value {
    json!({"type": "string", "format": "date-time", "maxLength": CHARACTERS_MAX})
}

fn read_moment(value: Value<'_>) -> Parsed<Moment> {
    let text = parse::text(0, CHARACTERS_MAX).parse(value)?;
    match day(&text) {
        Some(day) => Some(Moment::Day(day)),
        None => read(&text).map(Moment::Instant),
    }
    .ok_or_else(|| Problem::new("datetime_parsing", "Input should be a valid datetime"))
}

/// The day of a bare date.
#[must_use]
pub fn day(text: &str) -> Option<Date> {
    let date = format_description!("[year]-[month]-[day]");
    Date::parse(text, date).ok().filter(|day| (EARLIEST.date()..=LATEST.date()).contains(day))
}

/// The beginning of a day in UTC.
#[must_use]
pub fn midnight(day: Date) -> OffsetDateTime {
    day.midnight().assume_utc()
}

fn read(text: &str) -> Option<OffsetDateTime> {
    // An unescaped plus sign in a query arrives as a blank; so does the blank between date and time.
    let (day, clock) = text.split_at_checked(10)?;
    let clock = clock.strip_prefix(['T', 't', ' '])?.replace(' ', "+").replace('z', "Z");
    let text = format!("{day}T{clock}");
    if let Ok(instant) = OffsetDateTime::parse(&text, &Rfc3339) {
        // In UTC it may lie in another year, and in none that can be represented.
        return instant.checked_to_offset(UtcOffset::UTC).and_then(in_range);
    }
    let plain = format_description!(
        "[year]-[month]-[day]T[hour]:[minute][optional [:[second][optional [.[subsecond]]]]]"
    );
    PrimitiveDateTime::parse(&text, plain).ok().and_then(|instant| in_range(instant.assume_utc()))
}

fn in_range(instant: OffsetDateTime) -> Option<OffsetDateTime> {
    let nanosecond = instant.nanosecond();
    let instant = instant.replace_nanosecond(nanosecond.saturating_sub(nanosecond % 1_000)).ok()?;
    (EARLIEST..=LATEST).contains(&instant).then_some(instant)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use time::Duration;

    use super::*;

    fn read(text: &str) -> Option<OffsetDateTime> {
        instant().parse(Value::Text(text)).ok()
    }

    #[test]
    fn documented_forms_are_read() {
        let midnight = datetime!(2025-07-01 0:00 UTC);
        for text in [
            "2025-07-01",
            "2025-07-01T00:00:00Z",
            "2025-07-01T00:00:00",
            "2025-07-01T00:00",
            "2025-07-01 00:00:00",
            "2025-07-01t00:00:00z",
            "2025-07-01T08:00:00+08:00",
            "2025-07-01T08:00:00 08:00",
            "2025-06-30T19:00:00.000-05:00",
            "2025-07-01T00:00:00.000000999Z",
        ] {
            assert_eq!(read(text), Some(midnight), "{text}");
        }
        assert_eq!(read("2025-07-27T00:32:57.736450Z"), Some(datetime!(2025-07-27 0:32:57.736450 UTC)));
    }

    #[test]
    fn other_texts_are_not() {
        for text in [
            "",
            "yesterday",
            "2025-13-01",
            "2025-02-30",
            "1753574400",
            "2025-07-01T25:00:00Z",
            "2025-07-01T",
            "0000-01-01",
            "0000-12-31T23:59:59.999999Z",
            "0001-01-01T00:00:00+00:01",
            "9999-12-31T23:59:59-00:01",
            "9999-12-31T23:59:59-23:59",
            "0000-01-01T00:00:00+23:59",
            "-9999-01-01T00:00:00+23:59",
            "10000-01-01",
            "+10000-01-01T00:00:00Z",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn the_edges_are_read() {
        for (text, instant) in [
            ("0001-01-01", EARLIEST),
            ("0001-01-01T23:59:00+23:59", EARLIEST),
            ("9999-12-31T23:59:59.9999999Z", LATEST),
            ("9999-12-31T00:00:59.999999-23:59", LATEST),
            ("2016-12-31T23:59:60Z", datetime!(2016-12-31 23:59:59.999999 UTC)),
        ] {
            assert_eq!(read(text), Some(instant), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics_and_what_is_read_is_in_range(
            text in "[+-]?[0-9]{1,6}-[0-9]{1,2}-[0-9]{1,2}([Tt ][0-9]{1,2}:[0-9]{1,2}(:[0-9]{1,2}(\\.[0-9]{0,12})?)?([zZ]|[-+ ][0-9]{1,2}:?[0-9]{2})?)?",
        ) {
            if let Some(instant) = read(&text) {
                prop_assert!((EARLIEST..=LATEST).contains(&instant));
                prop_assert_eq!(instant.nanosecond() % 1_000, 0);
                prop_assert_eq!(instant.offset(), UtcOffset::UTC);
            }
        }

        #[test]
        fn any_day_at_any_offset_is_read_or_refused(
            year in prop_oneof![Just(0), Just(1), Just(9999), -1..=10_000],
            month in 1..=12, day in 1..=31, hour in 0..=24, minute in 0..=60, second in 0..=61,
            sign in "[-+]", offset_hours in 0..=24, offset_minutes in 0..=60,
        ) {
            let text = format!(
                "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{sign}{offset_hours:02}:{offset_minutes:02}"
            );
            if let Some(instant) = read(&text) {
                prop_assert!((EARLIEST..=LATEST).contains(&instant));
            }
        }

        #[test]
        fn an_instant_is_read_whatever_its_offset(
            micros in 0..=(LATEST - EARLIEST).whole_microseconds() as i64,
            offset_minutes in -23 * 60..=23 * 60_i32,
        ) {
            let instant = EARLIEST + Duration::microseconds(micros);
            let offset = UtcOffset::from_whole_seconds(offset_minutes * 60).unwrap();
            // Near the edges there is no such local time to write.
            if let Some(local) = instant.checked_to_offset(offset)
                && let Ok(text) = local.format(&Rfc3339)
            {
                prop_assert_eq!(read(&text), Some(instant), "{}", text);
            }
        }
    }
}
