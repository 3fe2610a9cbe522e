//! A summary equals the series along each of its axes, which are checked against the raw rows.

use std::collections::BTreeMap;

use kernel::{CallerClass, Clock as _, Credits, ManualClock, Usd};
use testkit::{TestDb, clock};
use time::{Duration, macros::datetime};
use usage::{
    Counted, Dimension, Group, NewRecord, Point, Record, Selection, SeriesQuery, Summary, SummaryQuery,
    TopQuery, Unit, UsageInput, Users, Zone,
};

use crate::support::{Correction, correct, database, record};

/// Numbers that look random and are the same every time.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.0 >> 33) % limit
    }

    fn word(&mut self, of: &[&str]) -> Option<String> {
        let place = usize::try_from(self.below(of.len() as u64)).unwrap();
        Some(of[place].to_owned())
    }
}

fn event(numbers: &mut Numbers, now: time::OffsetDateTime) -> NewRecord {
    let user = format!("u{}", numbers.below(5));
    let micros = i64::try_from(numbers.below(20 * 86_400_000_000)).unwrap();
    let amount = |numbers: &mut Numbers| i64::try_from(numbers.below(1_000)).unwrap();
    let by = [CallerClass::User, CallerClass::Service];
    UsageInput {
        recorded_by: by[usize::try_from(numbers.below(2)).unwrap()],
        occurred_at: Some(now - Duration::microseconds(micros)),
        model_name: numbers.word(&["", "x", "y"]),
        provider: numbers.word(&["", "p"]),
        tool_name: numbers.word(&["", "t", "s"]),
        credits_charged: Some(Credits::from_micro(amount(numbers))),
        cost_usd: Some(Usd::from_nano(amount(numbers))),
        prompt_tokens: Some(amount(numbers)),
        completion_tokens: Some(amount(numbers)),
        ..UsageInput::new(user.parse().unwrap(), numbers.word(&["chat", "call"]).unwrap())
    }
    .complete()
}

async fn along(
    conn: &mut pg::PgConnection,
    query: &SummaryQuery,
    group_by: &[Dimension],
) -> BTreeMap<Group, (Vec<Point>, Point)> {
    let asked = TopQuery {
        series: SeriesQuery {
            start: query.start,
            end: query.end,
            unit: Unit::Day,
            zone: query.zone.clone(),
            group_by: group_by.iter().copied().collect(),
            only: Selection { recorded_by: query.recorded_by, ..Selection::default() },
        },
        lines_max: 100,
        users: Users::Counted,
    };
    let found = usage::series_top(conn, &asked).await.unwrap().unwrap();
    let lines = found.series.lines.into_iter();
    lines.map(|line| (line.group, (line.points, line.total))).collect()
}

fn totals(series: BTreeMap<Group, (Vec<Point>, Point)>) -> BTreeMap<Group, Point> {
    series.into_iter().map(|(group, (_, total))| (group, total)).collect()
}

/// Every seventh record, and of one day everything.
async fn take_back_some(db: &TestDb, clock: &ManualClock, rows: &[Record]) {
    let day = rows[0].occurred_at.date();
    for (place, row) in rows.iter().enumerate() {
        if place % 7 == 0 || row.occurred_at.date() == day {
            let correction = Correction {
                user_id: row.user_id.clone(),
                record_id: row.id,
                reason: "wrong".to_owned(),
                replacement: None,
            };
            correct(db, clock, &correction).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_summary_equals_the_series_along_its_axes() {
    let (db, clock) = (database().await, clock());
    let mut numbers = Numbers(42);
    let events: Vec<_> = (0..150).map(|_| event(&mut numbers, clock.now())).collect();
    let rows = record(&db, &clock, &events).await;
    take_back_some(&db, &clock, &rows).await;
    let mut conn = db.pool().get().await.unwrap();
    let zones = usage::zones(&mut conn).await.unwrap();
    for (start, end, zone) in [
        (clock.now() - Duration::days(30), clock.now(), Zone::utc()),
        (
            datetime!(2026-01-03 7:08:09.000001 UTC),
            datetime!(2026-01-14 3:02 UTC),
            zones.find("Asia/Kathmandu").unwrap(),
        ),
        (clock.now(), clock.now() + Duration::MICROSECOND, Zone::utc()),
        (
            rows[0].occurred_at.replace_time(time::Time::MIDNIGHT),
            rows[0].occurred_at.replace_time(time::Time::MIDNIGHT) + Duration::DAY,
            Zone::utc(),
        ),
    ] {
        for recorded_by in [None, Some(CallerClass::User), Some(CallerClass::Service)] {
            let query = SummaryQuery { start, end, zone: zone.clone(), recorded_by };
            equals_the_series(&mut conn, &query).await;
        }
    }
    let nothing = SummaryQuery { start: clock.now(), end: clock.now(), zone: Zone::utc(), recorded_by: None };
    assert_eq!(usage::summary(&mut conn, &nothing).await.unwrap().unwrap(), Summary::default());
}

async fn equals_the_series(conn: &mut pg::PgConnection, query: &SummaryQuery) {
    let found = usage::summary(conn, query).await.unwrap().unwrap();
    let all = along(conn, query, &[]).await.remove(&Group::default()).unwrap();
    assert_eq!(found.total, all.1);
    if query.end - query.start == Duration::DAY && query.recorded_by.is_none() {
        assert!(found.total.active_users > 0 && found.total.totals == usage::Totals::default());
    }
    assert_eq!(found.days.iter().map(|day| day.point).collect::<Vec<_>>(), all.0);
    let features = along(conn, query, &[Dimension::EventType, Dimension::Tool]).await;
    assert_eq!(found.features.iter().cloned().collect::<BTreeMap<_, _>>(), totals(features));
    let mut models = totals(along(conn, query, &[Dimension::Model, Dimension::Provider]).await);
    models.retain(|_, point| {
        point.active_users = 0;
        *point != Point::default()
    });
    assert_eq!(found.models.iter().cloned().collect::<BTreeMap<_, _>>(), models);
    let costs = found.models.iter().map(|(_, point)| point.totals.cost_usd);
    assert!(costs.is_sorted_by(|one, next| one >= next));
    let of_models = totals(along(conn, query, &[Dimension::Model]).await);
    let named = of_models
        .iter()
        .filter(|(_, point)| point.totals != usage::Totals::default())
        .filter_map(|(group, point)| Some((group.model.clone()?, point.totals.cost_usd)));
    assert_eq!(found.costliest, named.max_by_key(|(_, cost)| *cost));
    assert_eq!(found.unrated, []);
}

#[tokio::test]
async fn models_without_a_price_are_found_in_every_month_of_the_window() {
    let (db, clock) = (database().await, clock());
    let [by_user, by_service] = [CallerClass::User, CallerClass::Service];
    let unrated = |days: i64, model: &str, recorded_by| NewRecord {
        occurred_at: Some(clock.now() - Duration::days(days)),
        ..UsageInput {
            recorded_by,
            model_name: Some(model.to_owned()),
            tokens_used: Some(5),
            ..UsageInput::new("a".parse().unwrap(), "chat")
        }
        .complete()
    };
    let events = [
        unrated(0, "b", by_user),
        unrated(1, "a", by_service),
        unrated(20, "b", by_service),
        unrated(34, "c", by_user),
        unrated(20, "a", by_service),
        unrated(1, "a", by_user),
    ];
    assert_eq!(events[0].calculation_method, usage::UNRATED);
    record(&db, &clock, &events).await;
    usage::create_months(db.pool(), &clock, 1).await.unwrap();
    let mut conn = db.pool().get().await.unwrap();
    for (days, recorded_by, expected) in [
        (35, None, vec![("a", 3), ("b", 2), ("c", 1)]),
        (20, None, vec![("a", 3), ("b", 2)]),
        (1, None, vec![("a", 2), ("b", 1)]),
        (35, Some(by_user), vec![("a", 1), ("b", 1), ("c", 1)]),
        (35, Some(by_service), vec![("a", 2), ("b", 1)]),
    ] {
        let query = SummaryQuery {
            start: clock.now() - Duration::days(days),
            end: clock.now() + Duration::MICROSECOND,
            zone: Zone::utc(),
            recorded_by,
        };
        let found = usage::summary(&mut conn, &query).await.unwrap().unwrap();
        let told: Vec<_> = found.unrated.iter().map(|one| (one.model.as_str(), one.records)).collect();
        assert_eq!(told, expected, "{days} days");
        assert!(found.unrated.iter().all(|one| one.counted == Counted::All));
    }
}
