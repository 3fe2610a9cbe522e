//! Months: made ahead, filled from DEFAULT, dropped when they are old.

use std::cell::Cell;

use diesel::{
    QueryableByName,
    sql_types::{BigInt, Text},
};
use diesel_async::{RunQueryDsl, SimpleAsyncConnection};
use kernel::{Clock, ManualClock};
use testkit::{TestDb, audit_now, clock, user};
use time::{Duration, OffsetDateTime, macros::datetime};
use usage::{Coverage, NewRecord, RecordFilter, Replay, Selection, SeriesQuery, Unit, UsageInput, Zone};

use crate::support::{all, database, event, record, stats, try_record};

#[derive(QueryableByName)]
struct Count {
    #[diesel(sql_type = Text)]
    name: String,
    #[diesel(sql_type = BigInt)]
    rows: i64,
}

/// Partitions of records, and how many there are in each.
async fn partitions(db: &TestDb) -> Vec<(String, i64)> {
    let mut conn = db.pool().get().await.unwrap();
    let rows: Vec<Count> = pg::sql(
        "SELECT child.relname::text AS name,
                (SELECT count(*) FROM usage.records AS record WHERE record.tableoid = child.oid) AS rows
         FROM pg_inherits JOIN pg_class AS child ON child.oid = inhrelid
         WHERE inhparent = 'usage.records'::regclass ORDER BY 1",
    )
    .load(&mut conn)
    .await
    .unwrap();
    rows.into_iter().map(|row| (row.name, row.rows)).collect()
}

fn named(pairs: &[(&str, i64)]) -> Vec<(String, i64)> {
    pairs.iter().map(|(name, rows)| ((*name).to_owned(), *rows)).collect()
}

fn event_of(id: &str) -> NewRecord {
    UsageInput {
        event_id: Some(id.to_owned()),
        credits_charged: Some("1".parse().unwrap()),
        ..UsageInput::new(user("a"), "ai_chat")
    }
    .complete()
}

#[tokio::test]
async fn months_are_made_ahead_and_take_over_what_lay_in_default() {
    let (db, clock) = (database().await, clock());
    let late = NewRecord { occurred_at: Some(clock.now() - Duration::days(34)), ..event(&user("b")) };
    record(&db, &clock, &[event_of("e1"), event(&user("b")), late]).await;
    assert_eq!(partitions(&db).await, named(&[("records_default", 3)]));
    let before = all(&db, &user("b"), &RecordFilter::default(), 1).await;

    let months = usage::create_months(db.pool(), &clock, 3).await.unwrap();
    let expected = [
        ("records_2025_12", 1),
        ("records_2026_01", 2),
        ("records_2026_02", 0),
        ("records_2026_03", 0),
        ("records_2026_04", 0),
        ("records_default", 0),
    ];
    assert_eq!(partitions(&db).await, named(&expected));
    // Three records, and as many roll-ups.
    assert_eq!((months.created.len(), months.moved), (10, 6));
    assert!(months.created.contains(&"rollups_15m_2026_04".to_owned()));
    assert_eq!(all(&db, &user("b"), &RecordFilter::default(), 1).await, before);
    audit_now(&db);

    let again = usage::create_months(db.pool(), &clock, 3).await.unwrap();
    assert_eq!(again, usage::Months::default());
    // What comes later goes where it belongs; the same event is still known.
    clock.advance(Duration::days(30));
    let outcomes = try_record(db.pool(), &clock, &[event_of("e1"), event(&user("a"))]).await.unwrap();
    assert_eq!(outcomes[0].as_ref().unwrap().replay, Replay::ByEvent);
    assert_eq!(partitions(&db).await[2], ("records_2026_02".to_owned(), 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_that_start_together_make_each_month_once_while_others_record() {
    let (db, clock) = (database().await, clock());
    let writers: Vec<_> = (0..3)
        .map(|n| {
            let (pool, clock) = (db.pool().clone(), clock.clone());
            tokio::spawn(async move {
                for k in 0..20 {
                    let new = [event_of(&format!("{n}-{k}")), event(&user("b"))];
                    try_record(&pool, &clock, &new).await.unwrap();
                }
            })
        })
        .collect();
    let makers: Vec<_> = (0..3)
        .map(|_| {
            let (pool, clock) = (db.second_pool(), clock.clone());
            tokio::spawn(async move { usage::create_months(&pool, &clock, 3).await.unwrap().created })
        })
        .collect();
    let mut created = Vec::new();
    for maker in makers {
        created.extend(maker.await.unwrap());
    }
    for writer in writers {
        writer.await.unwrap();
    }
    assert_eq!(created.len(), 10, "{created:?}");
    assert_eq!(partitions(&db).await[1], ("records_2026_01".to_owned(), 120));
    let sums = stats(&db, &user("b"), &RecordFilter::default()).await;
    assert_eq!(sums.total_records, 60);
}

/// Who came while a month was being made knows where its rows are once it is there: a reader that had looked up the
/// partitions before would find them neither in DEFAULT, which they left, nor in a partition that it does not know.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_reads_while_rows_are_moved_finds_them() {
    // A page comes from records alone, sums from both.
    for (default, readers) in [("records_default", 2), ("rollups_15m_default", 1)] {
        let (db, clock) = (database().await, clock());
        // In the first month that is made.
        let late = NewRecord { occurred_at: Some(clock.now() - Duration::days(34)), ..event(&user("a")) };
        record(&db, &clock, &[late.clone(), late]).await;
        // The move can be done, but not the attaching.
        let mut busy = pg::Tx::begin(db.pool()).await.unwrap();
        let lock = format!("LOCK TABLE ONLY usage.{default} IN ACCESS SHARE MODE");
        busy.conn().batch_execute(&lock).await.unwrap();
        let (pool, at) = (db.second_pool(), clock.clone());
        let maker = tokio::spawn(async move {
            loop {
                match usage::create_months(&pool, &at, 0).await {
                    Err(pg::DbError::LockTimeout(_)) => {}
                    made => return made.unwrap().moved,
                }
            }
        });
        db.wait_for_waiting(1).await;

        let (user, everything) = (user("a"), RecordFilter::default());
        // It waits briefly, again and again; so those who read come again until they wait at the same time.
        let made = Cell::new(false);
        let sums = async {
            while !made.get() {
                assert_eq!(stats(&db, &user, &everything).await.total_records, 2, "{default}");
            }
        };
        let pages = async {
            while !made.get() {
                assert_eq!(all(&db, &user, &everything, 10).await.len(), 2, "{default}");
            }
        };
        let release = async {
            db.wait_for_waiting(1 + readers).await;
            busy.rollback().await;
            assert_eq!(maker.await.unwrap(), 3, "two records and a roll-up");
            made.set(true);
        };
        tokio::join!(sums, pages, release);
    }
}

/// One record of an event a month, from October 2024 on, at twenty past twelve of the fifth; the clock then stands in
/// January 2026.
async fn fifteen_months(db: &TestDb) -> ManualClock {
    let clock = ManualClock::at(datetime!(2024-10-05 12:20 UTC));
    for n in 0..16_i32 {
        let (year, month) = (2024 + (n + 9) / 12, (n + 9) % 12 + 1);
        let month = time::Month::try_from(u8::try_from(month).unwrap()).unwrap();
        let at =
            time::Date::from_calendar_date(year, month, 5).unwrap().with_hms(12, 20, 0).unwrap().assume_utc();
        clock.advance(at - clock.now());
        usage::create_months(db.pool(), &clock, 0).await.unwrap();
        record(db, &clock, &[event_of(&format!("e{n}"))]).await;
    }
    clock
}

fn filter(from: OffsetDateTime, to: OffsetDateTime) -> RecordFilter {
    RecordFilter { from: Some(from), to: Some(to), ..RecordFilter::default() }
}

#[tokio::test]
async fn old_months_are_dropped_with_their_event_ids_and_their_sums_live_on() {
    let db = database().await;
    let clock = fifteen_months(&db).await;
    let told = usage::old_months(db.pool(), &clock, 13).await.unwrap();
    let told: Vec<&str> = told.iter().map(|month| month.partition.as_str()).collect();
    let mut steps = Vec::new();
    let done =
        usage::retain_telling(db.pool(), &clock, 13, |so_far| steps.push(so_far.clone())).await.unwrap();
    assert_eq!(told, done.dropped, "what would be done is done");
    assert_eq!(usage::old_months(db.pool(), &clock, 13).await.unwrap(), []);
    assert_eq!((steps.len(), steps.last()), (6, Some(&done)), "two chunks of events, four months");
    // October and November of 2024; the month before that is only there because events may come late.
    let dropped = ["records_2024_08", "records_2024_09", "records_2024_10", "records_2024_11"];
    assert_eq!(done.dropped, dropped);
    assert_eq!(done.forgotten, 2);
    audit_now(&db);
    assert_eq!(usage::retain(db.pool(), &clock, 13).await.unwrap(), usage::Retained::default());
    assert_eq!(all(&db, &user("a"), &RecordFilter::default(), 100).await.len(), 14);

    // A late repeat counts as new, if it does not state when it happened.
    let outcomes = try_record(db.pool(), &clock, &[event_of("e0"), event_of("e2")]).await.unwrap();
    let replays: Vec<Replay> = outcomes.iter().map(|one| one.as_ref().unwrap().replay).collect();
    assert_eq!(replays, [Replay::First, Replay::ByEvent]);
}

#[tokio::test]
async fn windows_that_reach_into_dropped_months_are_answered_from_roll_ups() {
    let db = database().await;
    let clock = fifteen_months(&db).await;
    usage::retain(db.pool(), &clock, 13).await.unwrap();
    let ever = stats(&db, &user("a"), &RecordFilter::default()).await;
    assert_eq!((ever.total_records, ever.coverage), (16, Coverage::Exact));
    for (from, to, records, coverage) in [
        // Whole quarters need no records.
        (datetime!(2024-10-05 12:15 UTC), datetime!(2024-10-05 12:29:59.999999 UTC), 1, Coverage::Exact),
        // The record is at 12:20, and that cannot be known any more.
        (datetime!(2024-10-05 12:21 UTC), datetime!(2024-10-05 12:22 UTC), 1, Coverage::WholeQuarters),
        (datetime!(2024-10-05 12:21 UTC), datetime!(2026-01-05 12:20 UTC), 16, Coverage::WholeQuarters),
        (datetime!(2024-10-05 12:31 UTC), datetime!(2024-11-05 12:19 UTC), 1, Coverage::WholeQuarters),
        // An empty window is empty.
        (datetime!(2024-10-05 12:22 UTC), datetime!(2024-10-05 12:21 UTC), 0, Coverage::Exact),
        // What is kept is answered to the microsecond.
        (datetime!(2024-12-01 0:00:01 UTC), datetime!(2026-01-05 12:19:59.999999 UTC), 13, Coverage::Exact),
    ] {
        let sums = stats(&db, &user("a"), &filter(from, to)).await;
        assert_eq!((sums.total_records, sums.coverage), (records, coverage), "{from} to {to}");
    }
}

#[tokio::test]
async fn series_that_reach_into_dropped_months_say_so() {
    let db = database().await;
    let clock = fifteen_months(&db).await;
    usage::retain(db.pool(), &clock, 13).await.unwrap();
    let session = RecordFilter { session_id: Some("s".to_owned()), ..RecordFilter::default() };
    let class = RecordFilter { recorded_by: Some(kernel::CallerClass::Service), ..RecordFilter::default() };
    for filter in [&session, &class] {
        let sums = stats(&db, &user("a"), filter).await;
        assert_eq!(sums.coverage, Coverage::KeptRecords);
    }

    let mut conn = db.pool().get().await.unwrap();
    let query = SeriesQuery {
        start: datetime!(2024-10-05 12:21 UTC),
        end: clock.now() + Duration::days(1),
        unit: Unit::Month,
        zone: Zone::utc(),
        group_by: [].into(),
        only: Selection::default(),
    };
    for series in [
        usage::series(&mut conn, &user("a"), &query).await.unwrap().unwrap(),
        usage::series_all(&mut conn, &query).await.unwrap().unwrap(),
    ] {
        let points: Vec<i64> = series.lines[0].points.iter().map(|point| point.records).collect();
        assert_eq!((points, series.coverage), (vec![1; 16], Coverage::WholeQuarters));
    }
}

#[tokio::test]
async fn a_month_that_was_detached_and_not_dropped_is_dropped_by_the_next_run() {
    let db = database().await;
    let clock = fifteen_months(&db).await;
    let mut conn = db.pool().get().await.unwrap();
    conn.batch_execute(
        "DELETE FROM usage.dedupe WHERE occurred_at < '2024-11-01';
         ALTER TABLE usage.records DETACH PARTITION usage.records_2024_10;
         UPDATE usage.retention SET dropped_before = '2024-11-01'",
    )
    .await
    .unwrap();
    drop(conn);
    audit_now(&db);
    // Whatever is asked for: it is gone for every reader.
    let told = usage::old_months(db.pool(), &clock, 100).await.unwrap();
    assert_eq!(told.len(), 1);
    assert!(told[0].partition == "records_2024_10" && told[0].bytes > 0);
    let done = usage::retain(db.pool(), &clock, 13).await.unwrap();
    assert!(done.dropped.contains(&"records_2024_10".to_owned()), "{done:?}");
    assert_eq!(done.forgotten, 1);
}

#[tokio::test]
async fn months_that_late_events_may_belong_to_are_never_dropped() {
    let (db, clock) = (database().await, clock());
    let late = NewRecord { occurred_at: Some(clock.now() - Duration::days(35)), ..event(&user("a")) };
    record(&db, &clock, &[late]).await;
    assert_eq!(usage::retain(db.pool(), &clock, 0).await.unwrap(), usage::Retained::default());
    assert_eq!(partitions(&db).await[0], ("records_2025_12".to_owned(), 1));
}

#[tokio::test]
async fn deltas_are_folded_in_steps_and_nobody_sees_a_difference() {
    let (db, clock) = (database().await, clock());
    for n in 0..7 {
        record(&db, &clock, &[event_of(&format!("e{n}")), event(&user("b"))]).await;
    }
    let mut conn = db.pool().get().await.unwrap();
    let before = usage::stats_all(&mut conn, &RecordFilter::default()).await.unwrap();
    assert_eq!(before.total_records, 14);
    // The two users have the same dimensions, so each transaction left one delta.
    for folded in [3, 3, 1, 0] {
        assert_eq!(usage::fold_deltas(&mut conn, 3).await.unwrap(), folded);
        let now = usage::stats_all(&mut conn, &RecordFilter::default()).await.unwrap();
        assert_eq!(now, before);
        audit_now(&db);
    }
}
