//! When buckets begin in three zones with rules of their own, written down independently of the database.

use time::{Date, Duration, Month, OffsetDateTime, PrimitiveDateTime, Time, UtcOffset, Weekday};
use usage::Unit;

/// Zones whose clocks are set by an hour, by half an hour, and never, the last one a quarter off.
pub const ZONES: [&str; 4] = ["Europe/Berlin", "Australia/Lord_Howe", "Asia/Kathmandu", "UTC"];

/// The beginnings of the buckets of a window, in quarters of an hour that are looked at one by one.
pub fn starts(zone: &str, unit: Unit, start: OffsetDateTime, end: OffsetDateTime) -> Vec<OffsetDateTime> {
    if start >= end {
        return Vec::new();
    }
    let mut starts = vec![start];
    let into = start.unix_timestamp().rem_euclid(900);
    let mut quarter = OffsetDateTime::from_unix_timestamp(start.unix_timestamp() - into).unwrap();
    let mut last = bucket(zone, unit, quarter);
    loop {
        quarter += Duration::minutes(15);
        if quarter >= end {
            return starts;
        }
        let this = bucket(zone, unit, quarter);
        if this != last {
            starts.push(quarter);
            last = this;
        }
    }
}

/// What tells the bucket of an instant from its neighbours.
fn bucket(zone: &str, unit: Unit, at: OffsetDateTime) -> (PrimitiveDateTime, i32) {
    let local = at.checked_to_offset(offset(zone, at)).unwrap();
    let midnight = |date: Date| (PrimitiveDateTime::new(date, Time::MIDNIGHT), 0);
    let (date, time, offset) = (local.date(), local.time(), local.offset().whole_seconds());
    match unit {
        Unit::Quarter => (PrimitiveDateTime::new(date, time), offset),
        Unit::Hour => {
            let hour = Time::from_hms(time.hour(), 0, 0).unwrap();
            (PrimitiveDateTime::new(date, hour), offset)
        }
        Unit::Day => midnight(date),
        Unit::Week => midnight(date - Duration::days(date.weekday().number_days_from_monday().into())),
        Unit::Month => midnight(date.replace_day(1).unwrap()),
    }
}

fn offset(zone: &str, at: OffsetDateTime) -> UtcOffset {
    let year = at.year();
    let minutes = match zone {
        "Asia/Kathmandu" => 345,
        // From the last Sunday of March to that of October, at 1:00 UTC.
        "Europe/Berlin" => {
            let set = |month| last_sunday(year, month).with_hms(1, 0, 0).unwrap().assume_utc();
            if set(Month::March) <= at && at < set(Month::October) { 120 } else { 60 }
        }
        // Back by half an hour at 2:00 of the first Sunday of April, on at 2:00 of that of October.
        "Australia/Lord_Howe" => {
            let set = |month, offset: i64| {
                let local = first_sunday(year, month).with_hms(2, 0, 0).unwrap();
                local.assume_utc() - Duration::minutes(offset)
            };
            if set(Month::April, 660) <= at && at < set(Month::October, 630) { 630 } else { 660 }
        }
        _ => 0,
    };
    UtcOffset::from_whole_seconds(minutes * 60).unwrap()
}

fn first_sunday(year: i32, month: Month) -> Date {
    let mut day = Date::from_calendar_date(year, month, 1).unwrap();
    while day.weekday() != Weekday::Sunday {
        day = day.next_day().unwrap();
    }
    day
}

fn last_sunday(year: i32, month: Month) -> Date {
    let mut day = Date::from_calendar_date(year, month, 31).unwrap();
    while day.weekday() != Weekday::Sunday {
        day = day.previous_day().unwrap();
    }
    day
}
