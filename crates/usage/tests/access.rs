//! How the statements reach their rows: by the primary key, and only those of the page.

use diesel::{QueryableByName, sql_types::BigInt};
use diesel_async::{AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use kernel::{CallerClass, Page, Start, UserId};
use pg::Tx;
use testkit::{TestDb, clock, user};
use time::Duration;
use usage::{NewRecord, RecordFilter, Selection, SeriesQuery, Unit, UsageInput};

use crate::support::{database, event, record};

#[derive(QueryableByName, Debug, Clone, Copy)]
pub struct Reads {
    #[diesel(sql_type = BigInt)]
    table_scans: i64,
    #[diesel(sql_type = BigInt)]
    key_scans: i64,
    #[diesel(sql_type = BigInt)]
    rows: i64,
}

/// What the statements of this connection have read so far, as PostgreSQL counts it: the plan that really ran.
pub async fn reads(conn: &mut AsyncPgConnection) -> Reads {
    pg::sql(
        "SELECT (SELECT sum(pg_stat_get_xact_numscans(relid)) FROM pg_partition_tree('usage.records') WHERE isleaf)::bigint
                AS table_scans,
                (SELECT sum(pg_stat_get_xact_numscans(relid)) FROM pg_partition_tree('usage.records_pkey') WHERE isleaf)
                ::bigint AS key_scans,
                (SELECT sum(pg_stat_get_xact_tuples_fetched(relid)) FROM (
                    SELECT relid FROM pg_partition_tree('usage.records') WHERE isleaf
                    UNION ALL SELECT relid FROM pg_partition_tree('usage.records_pkey') WHERE isleaf) AS each)::bigint
                AS rows",
    )
    .get_result(conn)
    .await
    .unwrap()
}

pub fn between(before: Reads, after: Reads) -> (i64, i64, i64) {
    (after.table_scans - before.table_scans, after.key_scans - before.key_scans, after.rows - before.rows)
}

/// 10,000 records of 10 users, with the planner's statistics up to date.
pub async fn crowded() -> TestDb {
    let (db, clock) = (database().await, clock());
    for _ in 0..10 {
        let new: Vec<NewRecord> = (0..1_000).map(|n| event(&user(&format!("u{}", n % 10)))).collect();
        record(&db, &clock, &new).await;
        clock.advance(Duration::SECOND);
    }
    let mut conn = db.pool().get().await.unwrap();
    conn.batch_execute("ANALYZE usage.records").await.unwrap();
    drop(conn);
    db
}

pub fn someone() -> UserId {
    user("u3")
}

#[tokio::test]
async fn a_page_reads_its_own_rows_by_the_primary_key() {
    let db = crowded().await;
    let filter = RecordFilter::default();
    let mut tx = Tx::begin(db.pool()).await.unwrap();
    let before = reads(tx.conn()).await;
    let first = usage::list(tx.conn(), &someone(), &filter, &Page::first(50)).await.unwrap();
    let after = reads(tx.conn()).await;
    assert_eq!(between(before, after), (0, 1, 51));

    // A place inside a batch of one instant, with and without a window and a filter: nothing is passed again.
    let place = first.next.unwrap();
    let page = Page::new(50, Start::After(place)).unwrap();
    let narrow = RecordFilter {
        from: Some(testkit::instant()),
        to: Some(testkit::instant() + Duration::days(1)),
        event_type: Some("ai_chat".to_owned()),
        ..RecordFilter::default()
    };
    for filter in [&filter, &narrow] {
        let before = reads(tx.conn()).await;
        let next = usage::list(tx.conn(), &someone(), filter, &page).await.unwrap();
        assert_eq!(between(before, reads(tx.conn()).await), (0, 1, 51));
        assert_eq!(next.items.len(), 50);
    }
    tx.rollback().await;
}

#[tokio::test]
async fn statistics_read_records_at_the_edges_of_the_window_only() {
    let db = crowded().await;
    let edge = RecordFilter {
        from: Some(testkit::instant() + Duration::seconds(2)),
        to: Some(testkit::instant() + Duration::seconds(3)),
        ..RecordFilter::default()
    };
    let whole =
        RecordFilter { from: Some(testkit::instant() - Duration::days(1)), ..RecordFilter::default() };
    let session = RecordFilter { session_id: Some("s".to_owned()), ..edge.clone() };
    let class = RecordFilter { recorded_by: Some(CallerClass::User), ..edge.clone() };
    let mut tx = Tx::begin(db.pool()).await.unwrap();
    // Often enough that PostgreSQL would turn to a plan without the values, if it deemed it good.
    for _ in 0..10 {
        for (filter, records, read) in
            [(&edge, 200, 200), (&whole, 1_000, 0), (&session, 0, 200), (&class, 0, 200)]
        {
            let before = reads(tx.conn()).await;
            let stats = usage::stats(tx.conn(), &someone(), filter).await.unwrap();
            assert_eq!(stats.total_records, records);
            // One look for each of the edges, of which one may be empty.
            assert_eq!(between(before, reads(tx.conn()).await), (0, 2, read), "{filter:?}");
        }
    }
    tx.rollback().await;
}

/// Rows of sums across users that this connection has read so far, longer spans and quarters.
async fn sums_read(conn: &mut AsyncPgConnection) -> (i64, i64) {
    #[derive(QueryableByName)]
    struct Sums {
        #[diesel(sql_type = BigInt)]
        spans: i64,
        #[diesel(sql_type = BigInt)]
        quarters: i64,
    }
    let sums: Sums = pg::sql(
        "SELECT pg_stat_get_xact_tuples_fetched('usage.rollups_all_hours'::regclass)
                + pg_stat_get_xact_tuples_returned('usage.rollups_all_hours'::regclass) AS spans,
                pg_stat_get_xact_tuples_fetched('usage.rollups_all'::regclass)
                + pg_stat_get_xact_tuples_returned('usage.rollups_all'::regclass) AS quarters",
    )
    .get_result(conn)
    .await
    .unwrap();
    (sums.spans, sums.quarters)
}

#[tokio::test]
async fn a_month_across_users_is_read_in_few_long_spans() {
    let (db, clock) = (database().await, clock());
    let start = testkit::instant() - Duration::days(34);
    let each_quarter: Vec<NewRecord> = (0..96 * 31)
        .map(|n| {
            UsageInput {
                occurred_at: Some(start + Duration::minutes(15 * n)),
                ..UsageInput::new(someone(), "ai_chat")
            }
            .complete()
        })
        .collect();
    record(&db, &clock, &each_quarter).await;
    let mut tx = Tx::begin(db.pool()).await.unwrap();
    usage::fold_deltas(tx.conn(), 10_000).await.unwrap();
    let zones = usage::zones(tx.conn()).await.unwrap();
    tx.commit().await.unwrap();
    // Shanghai is 8 hours ahead, Kolkata five and a half, New York five behind.
    for (zone, spans, quarters) in [
        ("UTC", 29 + 2 * 12, 8),
        ("Asia/Shanghai", 29 * 6 + 12, 8),
        ("Asia/Kolkata", 30 * 12, 30 * 4),
        ("America/New_York", 30 * 9, 8),
    ] {
        let query = SeriesQuery {
            start: start + Duration::minutes(7),
            end: start + Duration::minutes(7) + Duration::days(30),
            unit: Unit::Day,
            zone: zones.find(zone).unwrap(),
            group_by: [].into(),
            only: Selection::default(),
        };
        let mut tx = Tx::begin(db.pool()).await.unwrap();
        let before = sums_read(tx.conn()).await;
        let series = usage::series_all(tx.conn(), &query).await.unwrap().unwrap();
        let after = sums_read(tx.conn()).await;
        assert_eq!(series.lines[0].total.records, 96 * 30, "{zone}");
        let read = (after.0 - before.0, after.1 - before.1);
        assert!(read.0 <= spans && read.1 <= quarters, "{zone}: {read:?}");
        tx.rollback().await;
    }
}
