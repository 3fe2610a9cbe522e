//! Plain items: one statement does them, and nothing is done twice.

use futures_util::future::join_all;
use pg::{Rejected, Tx};
use testkit::{Pooling, TestDb};

use crate::{
    note_work::{Act, Item, Journal, OPEN, hand_in_for, limits, start, wait_for_batches, write},
    support::{ask_pool, count_notes, insert, notes, with_one_and_two_workers},
};

with_one_and_two_workers! {
    lone_plain_item_is_done_by_one_statement,
    plain_items_gather_and_those_that_the_statement_leaves_are_done_after_it,
    plain_and_other_items_go_apart_and_the_order_of_a_key_is_kept,
    plain_items_do_not_overtake_those_of_their_key_whose_statement_is_under_way,
    statement_that_fails_did_nothing_and_its_items_are_done_the_long_way,
    statement_that_breaks_or_cannot_be_read_has_an_unknown_outcome_and_is_not_repeated,
    locks_of_another_transaction_hold_up_what_is_plain_as_anything_else,
    lock_time_out_of_a_plain_batch_is_not_waited_for_twice,
}

type Results = Vec<Result<i64, Rejected>>;

/// Hands in a write under a key of its own that keeps the lane busy, then `items`, and returns the outcomes of the latter.
async fn together(
    db: &TestDb,
    workers: usize,
    items: &[(&'static str, i64, Act)],
) -> (Results, std::sync::Arc<Journal>) {
    let (committer, journal) = start(db, limits(workers), 0, 0);
    let busy = hand_in_for(&committer, "busy", write(0)).await;
    wait_for_batches(&journal, 1).await;
    let mut submitted = Vec::new();
    for (key, id, act) in items {
        submitted.push(hand_in_for(&committer, key, Item { id: *id, act: *act }).await);
    }
    journal.gate.add_permits(OPEN);
    assert_eq!(busy.await.unwrap(), Ok(0));
    let results = join_all(submitted).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(committer.submit("busy", write(1_000)).await, Ok(10_000), "the lane lives on");
    (results, journal)
}

async fn lone_plain_item_is_done_by_one_statement(workers: usize) {
    let db = notes().await;
    let (committer, journal) = start(&db, limits(workers), OPEN, 0);
    let item = Item { id: 1, act: Act::Plain };
    assert_eq!(committer.submit("key", item).await, Ok(11));
    assert_eq!(count_notes(db.pool()).await, 1);
    assert!(journal.batches.lock().unwrap().is_empty());
}

async fn plain_items_gather_and_those_that_the_statement_leaves_are_done_after_it(workers: usize) {
    let db = notes().await;
    let items =
        [("a", 1, Act::Plain), ("b", 2, Act::PlainLeft), ("c", 3, Act::Plain), ("d", 4, Act::PlainLeft)];
    let (results, journal) = together(&db, workers, &items).await;
    assert_eq!(results, [Ok(11), Ok(20), Ok(31), Ok(40)]);
    assert_eq!(*journal.plain.lock().unwrap(), [[1, 2, 3, 4]]);
    assert_eq!(*journal.batches.lock().unwrap(), [vec![0], vec![2, 4], vec![1_000]]);
    assert_eq!(count_notes(db.pool()).await, 6);
}

async fn plain_and_other_items_go_apart_and_the_order_of_a_key_is_kept(workers: usize) {
    let db = notes().await;
    let items = [
        ("a", 1, Act::Plain),
        ("b", 2, Act::Plain),
        ("a", 3, Act::Write),
        ("c", 4, Act::Write),
        ("d", 5, Act::Plain),
        ("b", 6, Act::Plain),
        ("a", 7, Act::Plain),
    ];
    let (results, journal) = together(&db, workers, &items).await;
    // Those of "a" stay together: one of them is not plain.
    assert_eq!(results, [Ok(10), Ok(21), Ok(30), Ok(40), Ok(51), Ok(61), Ok(70)]);
    assert_eq!(*journal.plain.lock().unwrap(), [[2, 5, 6]]);
    assert_eq!(*journal.batches.lock().unwrap(), [vec![0], vec![1, 3, 4, 7], vec![1_000]]);
    let disorder = "SELECT count(*) FROM notes.notes one JOIN notes.notes two \
        ON one.id < two.id AND one.place > two.place WHERE (one.id, two.id) IN ((1, 3), (3, 7), (1, 7), (2, 6))";
    assert_eq!(ask_pool(db.pool(), disorder).await, 0);
}

async fn plain_items_do_not_overtake_those_of_their_key_whose_statement_is_under_way(workers: usize) {
    let db = notes().await;
    let (committer, journal) = start(&db, limits(workers), 0, 0);
    let busy = hand_in_for(&committer, "busy", write(0)).await;
    wait_for_batches(&journal, 1).await;
    let mut other = Tx::begin(db.pool()).await.unwrap();
    insert(&mut other, 2, "other").await.unwrap();
    let mut submitted = Vec::new();
    for (key, id, act) in [("a", 1, Act::PlainLeft), ("b", 2, Act::Plain)] {
        submitted.push(hand_in_for(&committer, key, Item { id, act }).await);
    }
    journal.gate.add_permits(OPEN);
    assert_eq!(busy.await.unwrap(), Ok(0));
    db.wait_for_waiting(1).await;
    for (key, id) in [("a", 3), ("b", 4)] {
        submitted.push(hand_in_for(&committer, key, Item { id, act: Act::Plain }).await);
    }
    for _ in 0..50 {
        assert_eq!(count_notes(db.pool()).await, 1, "an item has overtaken");
    }
    other.rollback().await;
    let results: Results = join_all(submitted).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(results, [Ok(10), Ok(21), Ok(31), Ok(41)]);
    let disorder = "SELECT count(*) FROM notes.notes one JOIN notes.notes two \
        ON one.id < two.id AND one.place > two.place WHERE (one.id, two.id) IN ((1, 3), (2, 4))";
    assert_eq!(ask_pool(db.pool(), disorder).await, 0);
}

async fn statement_that_fails_did_nothing_and_its_items_are_done_the_long_way(workers: usize) {
    let db = notes().await;
    let items = [("a", 1, Act::Plain), ("b", 2, Act::PlainViolate), ("c", 3, Act::Plain)];
    let (results, journal) = together(&db, workers, &items).await;
    assert_eq!(results, [Ok(10), Err(Rejected::Failed), Ok(30)]);
    assert_eq!(*journal.plain.lock().unwrap(), [[1, 2, 3]]);
    assert_eq!(count_notes(db.pool()).await, 4);
}

async fn statement_that_breaks_or_cannot_be_read_has_an_unknown_outcome_and_is_not_repeated(workers: usize) {
    for (act, written) in
        [(Act::PlainKill, 2), (Act::PlainUnread, 4), (Act::PlainMiscount, 4), (Act::PlainPanic, 4)]
    {
        let db = notes().await;
        let (results, journal) = together(&db, workers, &[("a", 1, Act::Plain), ("b", 2, act)]).await;
        assert_eq!(results, [Err(Rejected::OutcomeUnknown), Err(Rejected::OutcomeUnknown)]);
        assert_eq!(*journal.batches.lock().unwrap(), [[0], [1_000]]);
        assert_eq!(count_notes(db.pool()).await, written);
    }
}

async fn locks_of_another_transaction_hold_up_what_is_plain_as_anything_else(workers: usize) {
    let db = notes().await;
    let (committer, _) = start(&db, limits(workers), OPEN, 0);
    let mut other = Tx::begin(db.pool()).await.unwrap();
    insert(&mut other, 1, "other").await.unwrap();
    let held_up = hand_in_for(&committer, "a", Item { id: 1, act: Act::Plain }).await;
    db.wait_for_waiting(1).await;
    other.rollback().await;
    assert_eq!(held_up.await.unwrap(), Ok(11));
}

async fn lock_time_out_of_a_plain_batch_is_not_waited_for_twice(workers: usize) {
    let db = notes().await;
    let mut settings = pg::PoolSettings::new(db.url());
    settings.lock_timeout = std::time::Duration::from_millis(100);
    let journal = std::sync::Arc::new(Journal::with(OPEN, 0));
    let notes = crate::note_work::Notes(std::sync::Arc::clone(&journal));
    let committer = pg::Committer::start(pg::Pool::new(&settings).unwrap(), notes, limits(workers));
    let mut other = Tx::begin(db.pool()).await.unwrap();
    insert(&mut other, 1, "other").await.unwrap();
    let held_up = hand_in_for(&committer, "a", Item { id: 1, act: Act::Plain }).await;
    let mut deadline = testkit::Deadline::new();
    while journal.asked.load(std::sync::atomic::Ordering::SeqCst) == 0 {
        assert!(deadline.allows_another(), "nobody asks what is blocked");
        tokio::task::yield_now().await;
    }
    assert!(journal.batches.lock().unwrap().is_empty(), "waited for the lock again before asking");
    other.rollback().await;
    assert_eq!(held_up.await.unwrap(), Ok(10));
}

#[tokio::test]
async fn behind_a_pooler_nothing_is_plain() {
    let db = notes().await;
    let pooler = db.pooler(Pooling::Resetting).await;
    let journal = std::sync::Arc::new(Journal::with(OPEN, 0));
    let pool = pg::Pool::new(&pg::PoolSettings::new(pooler.url())).unwrap();
    assert!(pg::server::examine(&pool).await.unwrap().is_pooled);
    let notes = crate::note_work::Notes(std::sync::Arc::clone(&journal));
    let committer = pg::Committer::start(pool, notes, limits(2));
    assert_eq!(committer.submit("key", Item { id: 2, act: Act::Plain }).await, Ok(20));
    assert!(journal.plain.lock().unwrap().is_empty());
}
