//! Exports: every record once, in order, and no page that reads more than it may.

use diesel_async::SimpleAsyncConnection;
use kernel::{CallerClass, Clock as _, FreeForm, UserId};
use pg::Tx;
use testkit::{TestDb, clock, user};
use time::Duration;
use usage::{Export, Exported, NewRecord, Record, RecordFilter, RecordsDropped, UsageInput};

use crate::{
    access::{between, crowded, reads, someone},
    support::{database, event, record},
};

async fn begin(db: &TestDb, whose: Option<&UserId>, filter: &RecordFilter) -> Export {
    let mut conn = db.pool().get().await.unwrap();
    Export::begin(&mut conn, whose.cloned(), filter.clone()).await.unwrap()
}

async fn page(db: &TestDb, export: &mut Export) -> Result<Exported, RecordsDropped> {
    let mut conn = db.pool().get().await.unwrap();
    export.page(&mut conn).await.unwrap()
}

/// All pages, and how many there were.
async fn export(db: &TestDb, whose: Option<&UserId>, filter: &RecordFilter) -> (Vec<Record>, usize) {
    let mut export = begin(db, whose, filter).await;
    let (mut all, mut pages) = (Vec::new(), 0);
    while let Exported::Records(records) = page(db, &mut export).await.unwrap() {
        all.extend(records);
        pages += 1;
    }
    (all, pages)
}

/// 1,800 records of four users over two months, several at one instant; half of them come before their months are made.
async fn many(db: &TestDb) -> Vec<Record> {
    let clock = clock();
    let mut rows = Vec::new();
    for batch in 0..6_i64 {
        let new: Vec<NewRecord> = (0..300_i64)
            .map(|n| {
                let number = batch * 300 + n;
                let by = if number % 3 == 0 { CallerClass::User } else { CallerClass::Service };
                let input = UsageInput {
                    recorded_by: by,
                    occurred_at: Some(clock.now() - Duration::hours(number * 7 % 800)),
                    model_name: (number % 3 > 0).then(|| format!("m{}", number % 3)),
                    session_id: (number % 100 == 0).then(|| "s".to_owned()),
                    ..UsageInput::new(user(&format!("u{}", number % 4)), format!("e{}", number % 2))
                };
                input.complete()
            })
            .collect();
        rows.extend(record(db, &clock, &new).await);
        if batch == 2 {
            usage::create_months(db.pool(), &clock, 1).await.unwrap();
        }
    }
    // Records of earlier versions have no class.
    let forget = "UPDATE usage.records SET recorded_by = NULL WHERE id % 5 = 0";
    db.run(forget).await;
    for one in &mut rows {
        one.recorded_by = one.recorded_by.filter(|_| one.id % 5 != 0);
    }
    rows
}

#[tokio::test]
async fn an_export_is_what_the_filter_matches_in_the_order_of_the_key() {
    let db = database().await;
    let mut rows = many(&db).await;
    rows.sort_by_key(|one| (one.user_id.clone(), one.occurred_at, one.id));
    let edge = rows[700].occurred_at;
    for filter in [
        RecordFilter::default(),
        RecordFilter { from: Some(edge), ..RecordFilter::default() },
        RecordFilter { to: Some(edge), model_name: Some("m1".to_owned()), ..RecordFilter::default() },
        RecordFilter { from: Some(edge), to: Some(edge), ..RecordFilter::default() },
        RecordFilter { from: Some(edge), to: Some(edge - Duration::MICROSECOND), ..RecordFilter::default() },
        RecordFilter {
            session_id: Some("s".to_owned()),
            event_type: Some("e0".to_owned()),
            ..RecordFilter::default()
        },
        RecordFilter { recorded_by: Some(CallerClass::User), ..RecordFilter::default() },
        RecordFilter {
            recorded_by: Some(CallerClass::Service),
            model_name: Some("m2".to_owned()),
            ..RecordFilter::default()
        },
    ] {
        for whose in [None, Some(user("u1")), Some(user("nobody"))] {
            let matches = |one: &&Record| {
                whose.as_ref().is_none_or(|user| *user == one.user_id)
                    && filter.from.is_none_or(|from| from <= one.occurred_at)
                    && filter.to.is_none_or(|to| one.occurred_at <= to)
                    && filter.model_name.as_ref().is_none_or(|model| one.model_name.as_ref() == Some(model))
                    && filter
                        .session_id
                        .as_ref()
                        .is_none_or(|session| one.session_id.as_ref() == Some(session))
                    && filter.event_type.as_ref().is_none_or(|event| one.event_type == *event)
                    && (filter.recorded_by.is_none() || filter.recorded_by == one.recorded_by)
            };
            let expected: Vec<Record> = rows.iter().filter(matches).cloned().collect();
            let (found, _) = export(&db, whose.as_ref(), &filter).await;
            assert_eq!(found, expected, "{whose:?} {filter:?}");
        }
    }
}

#[tokio::test]
async fn a_page_walks_the_key_no_further_than_it_must() {
    let db = crowded().await;
    let nothing = RecordFilter { model_name: Some("unheard-of".to_owned()), ..RecordFilter::default() };
    let narrow = RecordFilter {
        from: Some(testkit::instant() + Duration::seconds(2)),
        to: Some(testkit::instant() + Duration::seconds(3)),
        ..RecordFilter::default()
    };
    for (whose, filter, read, found) in [
        (None, RecordFilter::default(), 501, 500),
        (Some(someone()), RecordFilter::default(), 501, 500),
        (None, nothing.clone(), 2_000, 0),
        (Some(someone()), nothing, 1_000, 0),
        // One user's window is a piece of the key.
        (Some(someone()), narrow, 200, 200),
    ] {
        let mut tx = Tx::begin(db.pool()).await.unwrap();
        // Often enough that PostgreSQL would turn to a plan without the values.
        for _ in 0..7 {
            let mut export = Export::begin(tx.conn(), whose.clone(), filter.clone()).await.unwrap();
            let before = reads(tx.conn()).await;
            let page = export.page(tx.conn()).await.unwrap().unwrap();
            let (table_scans, _, rows) = between(before, reads(tx.conn()).await);
            assert_eq!((table_scans, rows), (0, read), "{whose:?} {filter:?}");
            let records = match page {
                Exported::Records(records) => records.len(),
                Exported::End => 0,
            };
            assert_eq!(records, found);
        }
        tx.rollback().await;
    }
    // Five steps of 2,000 rows, and an end.
    let nothing = RecordFilter { tool_name: Some("unheard-of".to_owned()), ..RecordFilter::default() };
    assert_eq!(export(&db, None, &nothing).await, (Vec::new(), 5));
}

#[tokio::test]
async fn large_records_make_small_pages_and_one_comes_whatever_its_size() {
    let (db, clock) = (database().await, clock());
    let large = |bytes: usize| {
        let text = FreeForm::object(&format!("{{\"text\": \"{}\"}}", "x".repeat(bytes))).unwrap();
        let input = UsageInput {
            request_data: Some(text.clone()),
            response_data: Some(text.clone()),
            billing_metadata: Some(text),
            ..UsageInput::new(user("a"), "chat")
        };
        input.complete()
    };
    let events = [vec![large(100_000); 6], vec![large(260_000); 2], vec![large(10)]].concat();
    let rows = record(&db, &clock, &events).await;
    let (found, pages) = export(&db, Some(&user("a")), &RecordFilter::default()).await;
    assert_eq!(found, rows);
    // Three of 300,000 bytes fit into a megabyte, and one of 780,000.
    assert_eq!(pages, 4);
}

#[tokio::test]
async fn an_export_whose_months_are_dropped_meanwhile_says_so() {
    let (db, clock) = (database().await, clock());
    record(&db, &clock, &vec![event(&user("a")); 600]).await;
    let filter = RecordFilter::default();
    let recent = RecordFilter { from: Some(clock.now() - Duration::days(1)), ..RecordFilter::default() };
    let (mut all, mut some) = (begin(&db, None, &filter).await, begin(&db, None, &recent).await);
    assert!(matches!(page(&db, &mut all).await, Ok(Exported::Records(_))));
    let mut conn = db.pool().get().await.unwrap();
    conn.batch_execute("UPDATE usage.retention SET dropped_before = '2026-01-01'").await.unwrap();
    drop(conn);
    assert_eq!(page(&db, &mut all).await, Err(RecordsDropped));
    assert!(matches!(page(&db, &mut some).await, Ok(Exported::Records(_))), "it lies behind");
    // What was dropped before it began was never in it.
    assert_eq!(export(&db, None, &filter).await.0.len(), 600);
}
