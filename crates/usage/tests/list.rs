//! Lists: filters, edges of time, paging.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use kernel::{CallerClass, Clock, FreeForm, ManualClock, Page, Start, TimePlace, UserId, page::LIMIT_MAX};
use testkit::{TestDb, clock, instant, user};
use time::Duration;
use usage::{NewRecord, Record, RecordFilter};

use crate::support::{all, database, event, page, record, try_record};

/// One record a second: each of the texts is `x` or `y`, for callers of both classes, in all 64 combinations.
async fn combinations(db: &TestDb, clock: &ManualClock, user: &UserId) -> Vec<Record> {
    let text = |bits: u8, bit: u8| if bits & bit == 0 { "x" } else { "y" }.to_owned();
    let mut stored = Vec::new();
    for bits in 0..64 {
        let new = NewRecord {
            event_type: text(bits, 1),
            model_name: Some(text(bits, 2)),
            provider: Some(text(bits, 4)),
            tool_name: Some(text(bits, 8)),
            session_id: Some(text(bits, 16)),
            recorded_by: if bits & 32 == 0 { CallerClass::User } else { CallerClass::Service },
            ..event(user)
        };
        stored.extend(record(db, clock, &[new]).await);
        clock.advance(Duration::SECOND);
    }
    stored.reverse();
    stored
}

#[tokio::test]
async fn filters_narrow_alone_and_together() {
    let (db, clock) = (database().await, clock());
    let stored = combinations(&db, &clock, &user("a")).await;
    combinations(&db, &clock, &user("b")).await;
    let wanted = |bits: u8, bit: u8| (bits & bit != 0).then(|| "y".to_owned());
    for bits in 0..128 {
        let filter = RecordFilter {
            event_type: wanted(bits, 1),
            model_name: wanted(bits, 2),
            provider: wanted(bits, 4),
            tool_name: wanted(bits, 8),
            session_id: wanted(bits, 16),
            from: (bits & 32 != 0).then_some(stored[40].occurred_at),
            to: (bits & 32 != 0).then_some(stored[20].occurred_at),
            recorded_by: (bits & 64 != 0).then_some(CallerClass::Service),
        };
        let narrows =
            |request: &Option<String>, text: Option<&String>| request.is_none() || request.as_ref() == text;
        let expected: Vec<Record> = stored
            .iter()
            .filter(|one| {
                narrows(&filter.event_type, Some(&one.event_type))
                    && narrows(&filter.model_name, one.model_name.as_ref())
                    && narrows(&filter.provider, one.provider.as_ref())
                    && narrows(&filter.tool_name, one.tool_name.as_ref())
                    && narrows(&filter.session_id, one.session_id.as_ref())
                    && (filter.recorded_by.is_none() || filter.recorded_by == one.recorded_by)
                    && filter.from.is_none_or(|from| one.occurred_at >= from)
                    && filter.to.is_none_or(|to| one.occurred_at <= to)
            })
            .cloned()
            .collect();
        assert_eq!(all(&db, &user("a"), &filter, 5).await, expected, "{filter:?}");
    }
}

#[tokio::test]
async fn both_ends_are_inclusive_to_the_microsecond() {
    let (db, clock) = (database().await, clock());
    for _ in 0..3 {
        record(&db, &clock, &[event(&user("a"))]).await;
        clock.advance(Duration::MICROSECOND);
    }
    let at = |nanoseconds: i64| Some(instant() + Duration::nanoseconds(nanoseconds));
    for (from, to, expected) in [
        (None, None, 3),
        (at(1_000), None, 2),
        (at(1_001), None, 1),
        (None, at(1_000), 2),
        (None, at(999), 1),
        (None, at(1_999), 2),
        (at(0), at(2_000), 3),
        (at(1_000), at(1_000), 1),
        (at(1), at(999), 0),
        (at(2_001), None, 0),
        (None, at(-1), 0),
        (at(2_000), at(0), 0),
    ] {
        let filter = RecordFilter { from, to, ..RecordFilter::default() };
        assert_eq!(all(&db, &user("a"), &filter, 10).await.len(), expected, "{filter:?}");
        let stats = crate::support::stats(&db, &user("a"), &filter).await;
        assert_eq!(usize::try_from(stats.total_records), Ok(expected), "{filter:?}");
    }
}

#[tokio::test]
async fn pages_by_offset_and_by_place_are_the_same() {
    let (db, clock) = (database().await, clock());
    // Batches share an instant, so the id has to decide.
    for _ in 0..4 {
        record(&db, &clock, &vec![event(&user("a")); 6]).await;
        clock.advance(Duration::MICROSECOND);
    }
    let filter = RecordFilter::default();
    let whole = page(&db, &user("a"), &filter, &Page::first(24)).await;
    assert_eq!(whole.next, None);
    assert_eq!(whole.items.len(), 24);
    assert!(whole.items.is_sorted_by_key(|one| std::cmp::Reverse((one.occurred_at, one.id))));
    for limit in [1, 5, 6, 23] {
        assert_eq!(all(&db, &user("a"), &filter, limit).await, whole.items);
        for offset in [0, 7, 23, 24] {
            let part = Page::new(limit, Start::Offset(offset)).unwrap();
            let slice = page(&db, &user("a"), &filter, &part).await;
            let skip = usize::try_from(offset).unwrap();
            let take = usize::try_from(limit).unwrap();
            let expected: Vec<Record> = whole.items.iter().skip(skip).take(take).cloned().collect();
            assert_eq!(slice.items, expected);
            assert_eq!(slice.next.is_some(), offset + limit < 24);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn going_on_shows_each_record_once_while_others_are_recorded() {
    let (db, clock) = (database().await, clock());
    for _ in 0..10 {
        record(&db, &clock, &vec![event(&user("a")); 30]).await;
        clock.advance(Duration::MICROSECOND);
    }
    let before = all(&db, &user("a"), &RecordFilter::default(), 500).await;
    let stop = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..3)
        .map(|_| {
            let (pool, clock, stop) = (db.pool().clone(), clock.clone(), Arc::clone(&stop));
            tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    clock.advance(Duration::MICROSECOND);
                    let new = vec![event(&user("a")); 5];
                    try_record(&pool, &clock, &new).await.unwrap();
                }
            })
        })
        .collect();
    for limit in [1, 7, 100] {
        let seen = all(&db, &user("a"), &RecordFilter::default(), limit).await;
        assert!(seen.is_sorted_by(|one, next| (one.occurred_at, one.id) > (next.occurred_at, next.id)));
        let old = seen.len() - before.len();
        assert_eq!(&seen[old..], before);
    }
    stop.store(true, Ordering::Relaxed);
    for writer in writers {
        writer.await.unwrap();
    }
    assert!(clock.now() > instant());
    assert!(all(&db, &user("a"), &RecordFilter::default(), 500).await.len() > before.len());
}

/// The ids of each page, going on by place until there is no more.
async fn pages(db: &TestDb) -> Vec<Vec<i64>> {
    let mut pages = Vec::new();
    let mut next = Page::first(LIMIT_MAX);
    loop {
        let slice = page(db, &user("a"), &RecordFilter::default(), &next).await;
        pages.push(slice.items.iter().map(|one| one.id).collect());
        match slice.next {
            Some(place) => next = Page::new(LIMIT_MAX, Start::After(place)).unwrap(),
            None => return pages,
        }
    }
}

#[tokio::test]
async fn large_records_come_in_several_pages_without_gap_or_repeat() {
    let (db, clock) = (database().await, clock());
    let object = FreeForm::object(&format!(r#"{{"a":"{}"}}"#, "x".repeat(250_000))).unwrap();
    let large = NewRecord {
        billing_metadata: object.clone(),
        request_data: object.clone(),
        response_data: object,
        ..event(&user("a"))
    };
    record(&db, &clock, &vec![large; 12]).await;
    // Three quarters of a million bytes each: five of them fit into 4 MiB.
    let expected: [Vec<i64>; 3] =
        [(8..=12).rev().collect(), (3..=7).rev().collect(), (1..=2).rev().collect()];
    assert_eq!(pages(&db).await, expected);

    // The tables set no limit: a record that is larger than a page still comes, alone.
    let enlarge = "UPDATE usage.records SET trace_id = repeat('x', 5000000), size_bytes = size_bytes + 5000000 WHERE id = 12";
    db.run(enlarge).await;
    let expected: [Vec<i64>; 4] = [vec![12], (7..=11).rev().collect(), (2..=6).rev().collect(), vec![1]];
    assert_eq!(pages(&db).await, expected);
}

#[tokio::test]
async fn places_and_offsets_at_the_ends_of_their_range_are_served() {
    let (db, clock) = (database().await, clock());
    record(&db, &clock, &[event(&user("a"))]).await;
    let place = |text: &str| Start::After(text.parse::<TimePlace>().unwrap());
    for (start, expected) in [
        (place("-62135596800000000000:-9223372036854775808"), 0),
        (place("253402300799999999000:9223372036854775807"), 1),
        (Start::Offset(i64::MAX), 0),
    ] {
        let all = Page::new(LIMIT_MAX, start).unwrap();
        let slice = page(&db, &user("a"), &RecordFilter::default(), &all).await;
        assert_eq!(slice.items.len(), expected);
    }
}
