//! Messages that are deleted or change while they are indexed, or after it.

use kernel::Scope;
use testkit::user;

use super::*;

const SIZE: SegmentSize = SegmentSize { messages: 4, bytes: 1 << 20, steps: 1 };

async fn delete(house: &House, session: &Session) {
    let mut tx = Tx::begin(house.pool()).await.unwrap();
    sessions::delete(&mut tx, session.session_id, &Scope::Any).await.unwrap().unwrap();
    tx.commit().await.unwrap();
}

/// Bytes of the postings, which grow with the texts that are in them.
async fn postings(house: &House) -> i64 {
    house.db.ask("SELECT coalesce(sum(octet_length(postings)), 0) FROM sessions.search_postings").await
}

async fn bytes_of_segments(house: &House) -> Vec<i64> {
    let sizes = "SELECT sum(octet_length(postings)) FROM sessions.search_postings GROUP BY after_id ORDER BY after_id";
    let mut conn = house.pool().get().await.unwrap();
    let sizes = testkit::ask_texts(&mut conn, sizes).await.unwrap();
    sizes.iter().map(|size| size.parse().unwrap()).collect()
}

async fn stale(house: &House) -> i64 {
    house.db.ask("SELECT count(*) FROM sessions.search_segments WHERE is_stale").await
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_left_in_the_index_of_a_session_that_was_deleted() {
    let house = House::build().await;
    let a = user("auth0|a");
    let (going, staying) = (house.session(&a).await, house.session(&a).await);
    let kept = house.texts(&staying, &["cat", "dog", "cat", "dog"]).await;
    assert_eq!(house.index(&a, 4).await, 1);
    house.texts(&going, &["secret cat", "a secret"]).await;
    let later = house.texts(&staying, &["cat", "dog"]).await;
    house.texts(&staying, &["cat", "dog", "cat", "dog"]).await;
    assert_eq!(house.index(&a, 4).await, 2);
    assert!(!house.found(&query(&a, "secret")).await.is_empty());
    let before = bytes_of_segments(&house).await;

    delete(&house, &going).await;
    // Only the segment with its messages is made again.
    assert_eq!(stale(&house).await, 1);
    assert_eq!(house.found(&query(&a, "secret")).await, [0; 0]);
    let cats = house.found(&query(&a, "cat")).await;
    assert_eq!((cats.len(), cats[2], cats[3], cats[4]), (5, later[0].id, kept[2].id, kept[0].id));
    assert!(house.refresh().await);
    assert!(!house.refresh().await);
    assert_eq!(house.found(&query(&a, "cat")).await, cats);
    // Its messages that are left have the words of the one before it.
    let after = bytes_of_segments(&house).await;
    assert_eq!((after[0], after[1], after[2]), (before[0], before[0], before[2]));
    assert!(after[1] < before[1], "{before:?}");

    delete(&house, &staying).await;
    assert_eq!(stale(&house).await, 3);
    while house.refresh().await {}
    assert_eq!((postings(&house).await, stale(&house).await), (0, 0));
    assert_eq!(house.found(&query(&a, "cat")).await, [0; 0]);
    // What comes later is found, before it is indexed and after it.
    let again = house.session(&a).await;
    let new = house.texts(&again, &["cat", "dog", "dog", "dog"]).await;
    assert_eq!(house.found(&query(&a, "cat")).await, [new[0].id]);
    assert_eq!(house.index(&a, 4).await, 1);
    assert_eq!(house.found(&query(&a, "cat")).await, [new[0].id]);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_segment_is_added_with_messages_of_a_session_that_is_being_deleted() {
    let house = House::build().await;
    let a = user("auth0|a");
    let (going, staying) = (house.session(&a).await, house.session(&a).await);
    house.texts(&going, &["one", "two"]).await;
    house.texts(&staying, &["one", "two", "three"]).await;
    let horizon = house.horizon(&a).await;

    let mut deleting = Tx::begin(house.pool()).await.unwrap();
    sessions::delete(&mut deleting, going.session_id, &Scope::Any).await.unwrap().unwrap();
    let (_, overtaken) = tokio::join!(
        async {
            house.db.wait_for_waiting(1).await;
            deleting.commit().await.unwrap();
        },
        house.add_segment(&horizon, SIZE),
    );
    assert_eq!(overtaken, Err(NoSegment::Overtaken));
    assert_eq!(house.db.ask("SELECT count(*) FROM sessions.search_segments").await, 0);
    assert_eq!(house.add_segment(&horizon, SIZE).await, Err(NoSegment::TooFewMessages));
    assert_eq!(house.found(&query(&a, "one")).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_is_deleted_after_its_messages_were_indexed_makes_the_segment_stale() {
    let house = House::build().await;
    let a = user("auth0|a");
    let going = house.session(&a).await;
    house.texts(&going, &["one", "two", "three", "four"]).await;
    let horizon = house.horizon(&a).await;
    let mut adding = Tx::begin(house.pool()).await.unwrap();
    search::add_segment(&mut adding, &horizon, SIZE).await.unwrap().unwrap();
    tokio::join!(
        async {
            house.db.wait_for_waiting(1).await;
            adding.commit().await.unwrap();
        },
        delete(&house, &going),
    );
    assert_eq!(stale(&house).await, 1);

    // The same while it is made again: it is stale once more.
    let other = house.session(&a).await;
    house.texts(&other, &["one", "two", "three", "four"]).await;
    assert!(house.refresh().await);
    assert_eq!(house.index(&a, 4).await, 1);
    house.db.run("UPDATE sessions.search_segments SET is_stale = true WHERE after_id > 0").await;
    let mut refreshing = Tx::begin(house.pool()).await.unwrap();
    assert!(search::refresh_segment(&mut refreshing, SIZE).await.unwrap());
    // No other process makes it at the same time.
    assert!(!house.refresh().await);
    tokio::join!(
        async {
            house.db.wait_for_waiting(1).await;
            refreshing.commit().await.unwrap();
        },
        delete(&house, &other),
    );
    assert_eq!(stale(&house).await, 1);
    assert!(house.refresh().await);
    assert_eq!(postings(&house).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_segment_that_grows_leaves_nothing_of_a_session_that_is_deleted_meanwhile() {
    let house = House::build().await;
    let a = user("auth0|a");
    let size = SegmentSize { messages: 100, steps: 50, ..SIZE };
    let (staying, first, second) =
        (house.session(&a).await, house.session(&a).await, house.session(&a).await);
    house.texts(&staying, &["one", "two"]).await;
    house.add_segment(&house.horizon(&a).await, size).await.unwrap();
    house.texts(&first, &["secret", "secret"]).await;
    house.texts(&second, &["secret", "secret"]).await;
    let horizon = house.horizon(&a).await;

    // Deleted before: it is waited for, and the segment stays as it was.
    let mut deleting = Tx::begin(house.pool()).await.unwrap();
    sessions::delete(&mut deleting, first.session_id, &Scope::Any).await.unwrap().unwrap();
    let before = postings(&house).await;
    let (_, overtaken) = tokio::join!(
        async {
            house.db.wait_for_waiting(1).await;
            deleting.commit().await.unwrap();
        },
        house.add_segment(&horizon, size),
    );
    assert_eq!((overtaken, stale(&house).await), (Err(NoSegment::Overtaken), 0));
    assert_eq!(postings(&house).await, before);

    // Deleted after: the deletion waits, finds the messages in the segment, and it is made again.
    let mut growing = Tx::begin(house.pool()).await.unwrap();
    search::add_segment(&mut growing, &horizon, size).await.unwrap().unwrap();
    tokio::join!(
        async {
            house.db.wait_for_waiting(1).await;
            growing.commit().await.unwrap();
        },
        delete(&house, &second),
    );
    assert!(postings(&house).await > before);
    assert_eq!(stale(&house).await, 1);
    assert!(house.refresh().await);
    assert_eq!((postings(&house).await, stale(&house).await), (before, 0));
    assert_eq!(house.found(&query(&a, "secret")).await, [0; 0]);
    assert_eq!(house.found(&query(&a, "o")).await.len(), 2);
    // A stale segment that grows is not stale any more.
    house.db.run("UPDATE sessions.search_segments SET is_stale = true").await;
    house.texts(&staying, &["three", "four"]).await;
    house.add_segment(&house.horizon(&a).await, size).await.unwrap();
    assert_eq!(stale(&house).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_that_are_deleted_at_the_same_time_do_not_wait_for_each_other_in_a_circle() {
    let house = House::build().await;
    let a = user("auth0|a");
    let mut sessions = Vec::new();
    for _ in 0..12 {
        sessions.push(house.session(&a).await);
    }
    for nth in 0..40 {
        sessions.rotate_left(nth % 5);
        for session in &sessions {
            house.texts(session, &["one"]).await;
        }
    }
    assert!(house.index(&a, 4).await > 100);
    let pool = house.db.pool_of(12);
    let deletes: Vec<_> = sessions
        .iter()
        .map(|session| {
            let (pool, session_id) = (pool.clone(), session.session_id);
            tokio::spawn(async move {
                Tx::decide(&pool, async |tx| sessions::delete(tx, session_id, &Scope::Any).await).await
            })
        })
        .collect();
    for delete in deletes {
        delete.await.unwrap().unwrap().unwrap();
    }
    while house.refresh().await {}
    assert_eq!(postings(&house).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn replies_that_change_after_they_were_indexed_are_found_by_their_last_text() {
    for (status, last) in [("in_progress", "completed"), ("failed", "in_progress"), ("in_progress", "failed")]
    {
        let house = House::build().await;
        let a = user("auth0|a");
        let session = house.session(&a).await;
        let ids: Vec<_> = house
            .texts(&session, &["one", "", "three", "four"])
            .await
            .iter()
            .map(|message| message.id)
            .collect();
        let set = async |text: &str, status: &str| {
            let sql =
                format!("UPDATE sessions.messages SET content = '{text}', status = '{status}' WHERE seq = 2");
            house.db.run(&sql).await;
        };
        set("sec", status).await;
        assert_eq!(house.index(&a, 4).await, 1);
        assert_eq!(house.found(&query(&a, "SEC")).await, [ids[1]]);
        set("second", last).await;
        assert_eq!(house.found(&query(&a, "second")).await, [ids[1]], "{status}, {last}");
        assert_eq!(house.found(&query(&a, "e")).await, [ids[2], ids[1], ids[0]]);
        // Once it is made again, a reply that has ended is like the others.
        house.db.run("UPDATE sessions.search_segments SET is_stale = true").await;
        assert!(house.refresh().await);
        assert_eq!(house.found(&query(&a, "second")).await, [ids[1]], "{status}, {last}");
        let unsettled = "SELECT count(*) FROM sessions.search_segments WHERE octet_length(unsettled) > 0";
        assert_eq!(house.db.ask(unsettled).await, i64::from(last != "completed"), "{status}, {last}");
    }
}
