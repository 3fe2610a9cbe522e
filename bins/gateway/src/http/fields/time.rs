//! Instants as callers write them (HTTP contract 1.9).

use time::{
    Date, OffsetDateTime, PrimitiveDateTime, UtcOffset, format_description::well_known::Rfc3339,
    macros::format_description,
};

use super::{Parsed, Value, parse};
use crate::http::fault::Problem;

/// RFC 3339 with any offset; without offset it is UTC, a bare date is its midnight.
///
/// # Errors
/// `datetime_parsing`.
pub fn instant(value: Value<'_>) -> Parsed<OffsetDateTime> {
    let text = parse::text(0, 64)(value)?;
    read(&text).ok_or_else(|| Problem::new("datetime_parsing", "Input should be a valid datetime"))
}

fn read(text: &str) -> Option<OffsetDateTime> {
    let date = format_description!("[year]-[month]-[day]");
    if let Ok(date) = Date::parse(text, date) {
        return in_range(date.midnight().assume_utc());
    }
    // An unescaped plus sign in a query arrives as a blank; so does the blank between date and time.
    let (day, clock) = text.split_at_checked(10)?;
    let clock = clock
        .strip_prefix(['T', 't', ' '])?
        .replace(' ', "+")
        .replace('z', "Z");
    let text = format!("{day}T{clock}");
    if let Ok(instant) = OffsetDateTime::parse(&text, &Rfc3339) {
        return in_range(instant.to_offset(UtcOffset::UTC));
    }
    let plain = format_description!(
        "[year]-[month]-[day]T[hour]:[minute][optional [:[second][optional [.[subsecond]]]]]"
    );
    PrimitiveDateTime::parse(&text, plain)
        .ok()
        .and_then(|instant| in_range(instant.assume_utc()))
}

/// Whole microseconds, and years that PostgreSQL and every reader can write.
fn in_range(instant: OffsetDateTime) -> Option<OffsetDateTime> {
    let nanosecond = instant.nanosecond();
    let instant = instant
        .replace_nanosecond(nanosecond.saturating_sub(nanosecond % 1_000))
        .ok()?;
    (1..=9999).contains(&instant.year()).then_some(instant)
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

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
        assert_eq!(
            read("2025-07-27T00:32:57.736450Z"),
            Some(datetime!(2025-07-27 0:32:57.736450 UTC))
        );
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
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
