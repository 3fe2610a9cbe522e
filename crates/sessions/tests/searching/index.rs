//! Making the index while messages are added, and the cost of a search.

use std::sync::atomic::{AtomicBool, Ordering};

use diesel_async::SimpleAsyncConnection as _;
use sessions::Role;
use testkit::user;

use super::*;
use crate::support::add;

const SIZE: SegmentSize = SegmentSize { messages: 3, bytes: 1 << 20, steps: 1 };

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_is_committed_after_later_ones_is_not_passed_over() {
    let house = House::build().await;
    let a = user("auth0|a");
    let (slow, fast) = (house.session(&a).await, house.session(&a).await);
    let mut writing = Tx::begin(house.pool()).await.unwrap();
    let early =
        sessions::add_messages(&mut writing, &house.clock, &[house.text(&slow, "slow")]).await.unwrap();
    let early = early.into_iter().next().unwrap().unwrap().id;
    let late = house.texts(&fast, &["fast", "fast", "fast"]).await;
    assert!(early < late[0].id);

    let mut conn = house.pool().get().await.unwrap();
    let horizon = search::horizon(&mut conn, &a).await.unwrap().unwrap();
    assert!(!search::is_past(&mut conn, &horizon).await.unwrap());
    assert_eq!(house.found(&query(&a, "slow")).await, [0; 0]);
    writing.commit().await.unwrap();
    let horizon = house.horizon(&a).await;
    house.add_segment(&horizon, SIZE).await.unwrap();
    assert_eq!(house.found(&query(&a, "slow")).await, [early]);
    assert_eq!(house.found(&query(&a, "fast")).await, [late[2].id, late[1].id, late[0].id]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_began_after_that_of_the_newest_message_is_waited_for() {
    let house = House::build().await;
    let a = user("auth0|a");
    let (first, second) = (house.session(&a).await, house.session(&a).await);
    // Ids of transactions in one order, ids of messages in the other; and none has ended that began later.
    let mut earlier = Tx::begin(house.pool()).await.unwrap();
    earlier.conn().batch_execute("SELECT pg_current_xact_id()").await.unwrap();
    let mut later = Tx::begin(house.pool()).await.unwrap();
    let add = async |tx: &mut Tx, session: &Session, text: &str| {
        let new = [house.text(session, text)];
        sessions::add_messages(tx, &house.clock, &new).await.unwrap().remove(0).unwrap().id
    };
    let below = add(&mut later, &second, "slow").await;
    let newest = add(&mut earlier, &first, "fast").await;
    assert!(below < newest);
    earlier.commit().await.unwrap();
    let mut conn = house.pool().get().await.unwrap();
    let horizon = search::horizon(&mut conn, &a).await.unwrap().unwrap();
    assert!(!search::is_past(&mut conn, &horizon).await.unwrap());
    later.commit().await.unwrap();
    let size = SegmentSize { messages: 2, ..SIZE };
    house.add_segment(&house.horizon(&a).await, size).await.unwrap();
    assert_eq!(house.found(&query(&a, "slow")).await, [below]);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_processes_one_adds_the_next_segment() {
    let house = House::build().await;
    let a = user("auth0|a");
    let session = house.session(&a).await;
    house.texts(&session, &["one", "two", "three", "four"]).await;
    let horizon = house.horizon(&a).await;
    let mut first = Tx::begin(house.pool()).await.unwrap();
    search::add_segment(&mut first, &horizon, SIZE).await.unwrap().unwrap();
    let (_, second) = tokio::join!(
        async {
            house.db.wait_for_waiting(1).await;
            first.commit().await.unwrap();
        },
        house.add_segment(&horizon, SIZE),
    );
    assert_eq!(second, Err(NoSegment::Overtaken));
    assert_eq!(house.add_segment(&horizon, SIZE).await, Err(NoSegment::TooFewMessages));
    assert_eq!(house.found(&query(&a, "o")).await.len(), 3);
    // The user of another horizon, and messages after it, are left alone.
    assert_eq!(house.db.ask("SELECT count(*) FROM sessions.search_segments").await, 1);
    let b = user("auth0|b");
    let mut conn = house.pool().get().await.unwrap();
    assert_eq!(search::horizon(&mut conn, &b).await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn segments_end_by_bytes_and_a_large_message_has_one_of_its_own() {
    let house = House::build().await;
    let a = user("auth0|a");
    let session = house.session(&a).await;
    let (large, small) = (format!("{} needle", "x".repeat(5_000)), "y".repeat(400));
    house.texts(&session, &[&large, &small, &small, &small, &large, "end"]).await;
    let horizon = house.horizon(&a).await;
    let size = SegmentSize { messages: 100, bytes: 1_000, steps: 1 };
    let mut segments = 0;
    while house.add_segment(&horizon, size).await == Ok(()) {
        segments += 1;
    }
    // large; small, small; small; large; the rest is no whole one.
    assert_eq!(segments, 4);
    assert_eq!(house.found(&query(&a, "NEEDLE")).await.len(), 2);
    assert_eq!(house.found(&query(&a, &"Y".repeat(200))).await.len(), 3);
}

/// Segments with the number of messages that they should have, and whether they are full.
async fn segments(house: &House) -> Vec<String> {
    let sql = "SELECT format('%s %s', count(message.id), is_full) FROM sessions.search_segments AS segment
        LEFT JOIN sessions.messages AS message ON message.id > after_id AND message.id <= last_id
            AND message.user_id = segment.user_id
        GROUP BY after_id, is_full ORDER BY after_id";
    let mut conn = house.pool().get().await.unwrap();
    testkit::ask_texts(&mut conn, sql).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_segment_grows_until_it_is_full() {
    let house = House::build().await;
    let a = user("auth0|a");
    let session = house.session(&a).await;
    let size = SegmentSize { messages: 8, bytes: 1_000, steps: 4 };
    let mut all = Vec::new();
    for (texts, expected) in [
        (vec!["cat"], &[][..]),
        (vec!["cat"], &["2 f"]),
        (vec!["cat"], &["2 f"]),
        (vec!["cat", "cat"], &["5 f"]),
        (vec!["cat"; 5], &["8 t", "2 f"]),
        // By bytes: a quarter of the bytes is a step, too.
        (vec![&*"cat".repeat(90)], &["8 t", "3 f"]),
        (vec![&*"cat".repeat(300)], &["8 t", "3 t", "1 f"]),
        (vec!["cat"; 20], &["8 t", "3 t", "8 t", "8 t", "5 f"]),
    ] {
        all.extend(house.texts(&session, &texts).await.into_iter().map(|message| message.id));
        let horizon = house.horizon(&a).await;
        while house.add_segment(&horizon, size).await == Ok(()) {}
        assert_eq!(segments(&house).await, expected, "{} messages", all.len());
        let found = house.found(&query(&a, "CAT")).await;
        assert!(found.iter().rev().eq(&all), "{found:?}");
        assert_eq!(house.found(&query(&a, "dog")).await, [0; 0]);
    }
    // An older horizon adds nothing.
    assert_eq!(house.add_segment(&house.horizon(&a).await, size).await, Err(NoSegment::TooFewMessages));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_processes_one_lets_the_last_segment_grow() {
    let house = House::build().await;
    let a = user("auth0|a");
    let session = house.session(&a).await;
    let size = SegmentSize { messages: 8, bytes: 1_000, steps: 4 };
    house.texts(&session, &["one", "two"]).await;
    house.add_segment(&house.horizon(&a).await, size).await.unwrap();
    house.texts(&session, &["three", "four"]).await;
    let horizon = house.horizon(&a).await;
    let mut first = Tx::begin(house.pool()).await.unwrap();
    search::add_segment(&mut first, &horizon, size).await.unwrap().unwrap();
    assert_eq!(house.add_segment(&horizon, size).await, Err(NoSegment::Overtaken));
    // Another one made it again meanwhile.
    first.rollback().await;
    house.db.run("UPDATE sessions.search_segments SET is_stale = true").await;
    let mut refreshing = Tx::begin(house.pool()).await.unwrap();
    assert!(search::refresh_segment(&mut refreshing, size).await.unwrap());
    assert_eq!(house.add_segment(&horizon, size).await, Err(NoSegment::Overtaken));
    refreshing.commit().await.unwrap();
    assert_eq!(segments(&house).await, ["2 f"]);
    house.add_segment(&horizon, size).await.unwrap();
    assert_eq!(segments(&house).await, ["4 f"]);
    assert_eq!(house.found(&query(&a, "o")).await.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn committed_messages_are_found_at_once_and_once_while_the_index_is_made() {
    found_while_the_index_is_made(SIZE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn committed_messages_are_found_at_once_and_once_while_the_last_segment_grows() {
    found_while_the_index_is_made(SegmentSize { messages: 100, steps: 50, ..SIZE }).await;
}

async fn found_while_the_index_is_made(size: SegmentSize) {
    let house = House::build().await;
    let a = user("auth0|a");
    let mut sessions = Vec::new();
    for _ in 0..4 {
        sessions.push(house.session(&a).await);
    }
    let pool = house.db.pool_of(8);
    let is_done = AtomicBool::new(false);
    let writers = async {
        let writers = sessions.iter().enumerate().map(async |(writer, session)| {
            let mut before = Vec::new();
            for round in 0..40 {
                let word = format!("Wort-{writer}-{round}-字");
                let new = house.text(session, &word);
                add(&pool, &house.clock, &[new.clone(), NewMessage { message_id: house.ids.uuid(), ..new }])
                    .await;
                before.push(word);
                let word = &before[round / 2];
                assert_eq!(house.found(&query(&a, &word.to_uppercase())).await.len(), 2, "{word}");
                assert_eq!(house.found(&query(&a, &format!("-{writer}-{round}-字"))).await.len(), 2);
            }
        });
        futures_util::future::join_all(writers).await;
        is_done.store(true, Ordering::Release);
    };
    let indexers = async {
        while !is_done.load(Ordering::Acquire) {
            let mut conn = house.pool().get().await.unwrap();
            if let Some(horizon) = search::horizon(&mut conn, &a).await.unwrap()
                && search::is_past(&mut conn, &horizon).await.unwrap()
            {
                let _overtaken =
                    tokio::join!(house.add_segment(&horizon, size), house.add_segment(&horizon, size));
            }
        }
    };
    tokio::join!(writers, indexers);
    let horizon = house.horizon(&a).await;
    while house.add_segment(&horizon, size).await == Ok(()) {}
    // With steps of two messages the last segment has the rest.
    let partial = i64::from(size.steps > 1);
    assert_eq!(
        house.db.ask("SELECT count(*) FROM sessions.search_segments").await,
        320 / size.messages + partial
    );
    assert_eq!(house.found(&query(&a, "wort")).await.len(), 320);
    // They follow each other without a gap.
    let gaps =
        "SELECT count(*) FROM (SELECT after_id - lag(last_id, 1, 0::bigint) OVER (ORDER BY after_id) AS gap
        FROM sessions.search_segments) AS steps WHERE gap <> 0";
    assert_eq!(house.db.ask(gaps).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn hits_have_the_title_and_the_part_around_the_text_and_pages_are_bounded() {
    let house = House::build().await;
    let a = user("auth0|a");
    let new = sessions::NewSession { title: Some("Titel".to_owned()), ..house.new_session(&a) };
    let (titled, other) = (house.create(&new).await, house.session(&a).await);
    house.texts(&other, &["Straße"]).await;
    house.texts(&titled, &[&format!("{}STRAẞE{}", "a".repeat(900), "b".repeat(900))]).await;
    let hits = house.search(&query(&a, "straße"), Page::first(9), SearchLimits::DEFAULT).await;
    assert!(!hits.wants_index);
    let [first, second] = &hits.slice.items[..] else { panic!("{hits:?}") };
    assert_eq!((first.session_title.as_deref(), second.session_title.as_deref()), (Some("Titel"), None));
    assert_eq!((first.snippet.chars().count(), second.snippet.as_str()), (300, "Straße"));
    assert!(first.snippet.contains("aSTRAẞEb"), "{}", first.snippet);

    let large = format!("{} NADEL", "x".repeat(1_000_000));
    house.texts(&other, &[large.as_str(); 10]).await;
    let pages = house.found_in_pages(&query(&a, "nadel"), 500, SearchLimits::DEFAULT).await;
    assert_eq!(pages.iter().map(Vec::len).collect::<Vec<_>>(), [4, 4, 2]);
    // So many bytes without an index want one.
    let hits = house.search(&query(&a, "nothing"), Page::first(1), SearchLimits::DEFAULT).await;
    assert!(hits.wants_index);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_search_of_indexed_messages_reads_those_that_may_be_hits() {
    let house = House::build().await;
    let a = user("auth0|a");
    let session = house.session(&a).await;
    let tool = NewMessage { role: Role::Tool, ..house.text(&session, "message of a tool") };
    house.add(&[tool]).await.remove(0).unwrap();
    for round in 0..30 {
        let texts: Vec<String> = (0..100).map(|nth| format!("message {nth} of round {round}")).collect();
        house.texts(&session, &texts.iter().map(String::as_str).collect::<Vec<_>>()).await;
    }
    house.texts(&session, &["message", "message"]).await;
    assert_eq!(house.index(&a, 500).await, 6);
    // The newest three are in no segment; of the others only the hits may be read.
    for (query, hits, reads) in [
        (query(&a, "99 of round 17"), 1, 3 + 1),
        (query(&a, "absent"), 0, 3),
        (SearchQuery { role: Some(Role::Tool), ..query(&a, "message") }, 1, 3 + 1),
        (SearchQuery { session_id: Some(uuid::Uuid::nil()), ..query(&a, "message") }, 0, 3),
    ] {
        let limits = SearchLimits { messages: reads + 1, ..SearchLimits::DEFAULT };
        let pages = house.found_in_pages(&query, 50, limits).await;
        assert_eq!((pages.len(), pages.concat().len()), (1, hits), "{query:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn statements_of_searches_go_by_index() {
    let house = House::build().await;
    let mut conn = house.pool().get().await.unwrap();
    for (name, index) in [
        ("search_message_ids", "search_segments_pkey"),
        ("search_postings", "search_postings_pkey"),
        ("search_rest", "messages_of_user"),
        ("search_sources", "messages_of_user"),
        ("search_texts_between", "messages_of_user"),
        ("search_texts_of", "messages_of_user"),
        ("search_titled", "messages_of_user"),
        ("mark_stale_segments", "search_segments_pkey"),
    ] {
        let (_, text) = sessions::statements().into_iter().find(|(other, _)| *other == name).unwrap();
        let plan = testkit::plan(&mut conn, text).await.unwrap();
        assert!(
            plan.contains(&format!("using {index}")) && !plan.contains("Seq Scan on m"),
            "{name}:\n{plan}"
        );
    }
}
