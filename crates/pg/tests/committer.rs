//! Group commit: what waits is done together, in order, and nothing is lost.

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use pg::{BatchLimits, Committer, Pool, PoolSettings, Rejected, Tx};

use crate::{
    note_work::{Act, HEAVY, Item, Journal, Notes, OPEN, hand_in, limits, start, wait_for_batches, write},
    support::{ask_pool, count_notes, insert, notes, with_one_and_two_workers},
};

with_one_and_two_workers! {
    lone_item_is_done_at_once_and_answered_after_its_commit,
    items_gather_while_a_batch_is_busy_and_are_committed_together,
    items_of_one_key_keep_their_order_whatever_the_number_of_lanes,
    poisonous_item_fails_alone_and_once,
    item_that_panics_at_any_step_fails_alone,
    single_item_that_fails_is_not_run_again,
    an_opening_is_part_of_its_transaction,
    full_queue_turns_away_at_once,
    item_that_waited_too_long_is_given_up_undone,
    items_whose_callers_have_left_are_done_all_the_same,
    flush_finishes_what_waits_and_then_takes_nothing_more,
    batch_whose_connection_is_killed_is_done_again_exactly_once,
    batch_that_finds_no_lasting_connection_is_surely_not_done,
    commit_that_breaks_is_told_as_unknown_and_never_repeated,
    contention_with_another_process_is_tried_again,
    queue_is_bounded_in_bytes,
    batch_is_bounded_in_bytes_and_the_order_is_kept,
}

async fn lone_item_is_done_at_once_and_answered_after_its_commit(workers: usize) {
    let db = notes().await;
    let (committer, _) = start(&db, limits(workers), OPEN, 0);
    assert_eq!(committer.submit("key", write(1)).await, Ok(10));
    assert_eq!(count_notes(db.pool()).await, 1);
}

async fn items_gather_while_a_batch_is_busy_and_are_committed_together(workers: usize) {
    let db = notes().await;
    let (committer, journal) = start(&db, limits(workers), 0, 0);
    let mut submitted = vec![hand_in(&committer, write(0)).await];
    wait_for_batches(&journal, 1).await;
    for id in 1..=60 {
        submitted.push(hand_in(&committer, write(id)).await);
    }
    journal.gate.add_permits(OPEN);
    let outcomes: Vec<i64> =
        join_all(submitted).await.into_iter().map(|joined| joined.unwrap().unwrap()).collect();
    assert_eq!(outcomes, (0..=60).map(|id| id * 10).collect::<Vec<_>>());
    let sizes: Vec<usize> = journal.batches.lock().unwrap().iter().map(Vec::len).collect();
    assert_eq!(sizes, [1, 50, 10], "one alone, then as many as a batch may have, then the rest");
    let transactions = "SELECT count(DISTINCT xmin::text) FROM notes.notes";
    assert_eq!(ask_pool(db.pool(), transactions).await, 3);
}

async fn items_of_one_key_keep_their_order_whatever_the_number_of_lanes(workers: usize) {
    let db = notes().await;
    let bounds = BatchLimits { lanes: 4, batch_items_max: 7, ..limits(workers) };
    let (committer, _) = start(&db, bounds, OPEN, 0);
    let keys = ["anna", "berta", "clara"];
    // The ids of a key are apart from those of the others, and rise in the order of submission.
    let submissions =
        (0..25_i64).flat_map(|n| (0_i64..).zip(keys).map(move |(key, name)| (name, key * 100 + n)));
    let results = join_all(submissions.map(|(key, id)| committer.submit(key, write(id)))).await;
    assert!(results.iter().all(Result::is_ok));
    let disorder = "SELECT count(*) FROM notes.notes one JOIN notes.notes two \
        ON one.id / 100 = two.id / 100 AND one.id < two.id AND one.place > two.place";
    assert_eq!(ask_pool(db.pool(), disorder).await, 0);
    assert_eq!(count_notes(db.pool()).await, 75);
}

async fn poisonous_item_fails_alone_and_once(workers: usize) {
    let db = notes().await;
    let (committer, journal) = start(&db, limits(workers), 0, 0);
    let first = hand_in(&committer, write(0)).await;
    wait_for_batches(&journal, 1).await;
    let mut submitted = Vec::new();
    for (id, act) in
        [(1, Act::Write), (2, Act::Violate), (3, Act::Panic), (4, Act::Miscount), (5, Act::Write)]
    {
        submitted.push(hand_in(&committer, Item { id, act }).await);
    }
    journal.gate.add_permits(OPEN);
    assert_eq!(first.await.unwrap(), Ok(0));
    let results: Vec<_> = join_all(submitted).await.into_iter().map(Result::unwrap).collect();
    let failed = Err(Rejected::Failed);
    assert_eq!(results, [Ok(10), failed, failed, failed, Ok(50)]);
    let batches = journal.batches.lock().unwrap().clone();
    assert_eq!(batches, [vec![0], vec![1, 2, 3, 4, 5], vec![1], vec![2], vec![3], vec![4], vec![5]]);
    assert_eq!(ask_pool(db.pool(), "SELECT sum(id) FROM notes.notes").await, 6);
    assert_eq!(committer.submit("key", write(9)).await, Ok(90), "the lane lives on");
}

async fn item_that_panics_at_any_step_fails_alone(workers: usize) {
    for act in [Act::PanicInOpen, Act::Panic, Act::PanicInSave] {
        let db = notes().await;
        let (committer, journal) = start(&db, limits(workers), 0, 0);
        let first = hand_in(&committer, write(0)).await;
        wait_for_batches(&journal, 1).await;
        let mut submitted = Vec::new();
        for id in 1..=3 {
            let act = if id == 2 { act } else { Act::Write };
            submitted.push(hand_in(&committer, Item { id, act }).await);
        }
        journal.gate.add_permits(OPEN);
        assert_eq!(first.await.unwrap(), Ok(0));
        let results: Vec<_> = join_all(submitted).await.into_iter().map(Result::unwrap).collect();
        assert_eq!(results, [Ok(10), Err(Rejected::Failed), Ok(30)]);
        assert_eq!(count_notes(db.pool()).await, 3);
        // No connection went back to the pool in the middle of a transaction.
        for id in 10..20 {
            assert_eq!(committer.submit("key", write(id)).await, Ok(id * 10));
        }
    }
}

async fn single_item_that_fails_is_not_run_again(workers: usize) {
    let db = notes().await;
    let (committer, journal) = start(&db, limits(workers), OPEN, 0);
    for (id, act) in [(1, Act::Violate), (2, Act::Miscount), (3, Act::Panic)] {
        assert_eq!(committer.submit("key", Item { id, act }).await, Err(Rejected::Failed));
    }
    assert_eq!(*journal.batches.lock().unwrap(), [[1], [2], [3]]);
    assert_eq!(count_notes(db.pool()).await, 0);
}

async fn an_opening_is_part_of_its_transaction(workers: usize) {
    let db = notes().await;
    let (committer, journal) = start(&db, limits(workers), OPEN, 0);
    let (id, act) = (1, Act::Twice);
    let failed = committer.submit("key", Item { id, act }).await;
    assert_eq!(failed, Err(Rejected::Failed));
    assert_eq!(*journal.batches.lock().unwrap(), [[1]], "its opening did not fail");
    assert_eq!(count_notes(db.pool()).await, 0);
}

async fn full_queue_turns_away_at_once(workers: usize) {
    let db = notes().await;
    let bounds = BatchLimits { queue_items_max: 2, ..limits(workers) };
    let (committer, journal) = start(&db, bounds, 0, 0);
    let mut submitted = vec![hand_in(&committer, write(0)).await];
    wait_for_batches(&journal, 1).await;
    for id in [1, 2] {
        submitted.push(hand_in(&committer, write(id)).await);
    }
    assert_eq!(committer.submit("key", write(3)).await, Err(Rejected::Full));
    journal.gate.add_permits(OPEN);
    for result in join_all(submitted).await {
        assert!(result.unwrap().is_ok());
    }
    assert_eq!(count_notes(db.pool()).await, 3);
    assert_eq!(committer.submit("key", write(4)).await, Ok(40));
}

async fn item_that_waited_too_long_is_given_up_undone(workers: usize) {
    let db = notes().await;
    let bounds = BatchLimits { wait_max: Duration::ZERO, ..limits(workers) };
    let (committer, journal) = start(&db, bounds, OPEN, 0);
    assert_eq!(committer.submit("key", write(1)).await, Err(Rejected::Unavailable));
    assert!(journal.batches.lock().unwrap().is_empty());
}

async fn items_whose_callers_have_left_are_done_all_the_same(workers: usize) {
    let db = notes().await;
    let (committer, journal) = start(&db, limits(workers), 0, 0);
    let busy = hand_in(&committer, write(1)).await;
    wait_for_batches(&journal, 1).await;
    let waiting = hand_in(&committer, write(2)).await;
    for caller in [busy, waiting] {
        caller.abort();
        assert!(caller.await.unwrap_err().is_cancelled());
    }
    journal.gate.add_permits(OPEN);
    committer.flush().await;
    assert_eq!(count_notes(db.pool()).await, 2);
}

async fn flush_finishes_what_waits_and_then_takes_nothing_more(workers: usize) {
    let db = notes().await;
    let (committer, journal) = start(&db, limits(workers), 0, 0);
    let mut submitted = Vec::new();
    for id in 0..10 {
        submitted.push(hand_in(&committer, write(id)).await);
    }
    let mut flush = std::pin::pin!(committer.flush());
    assert!(futures_util::poll!(flush.as_mut()).is_pending());
    assert_eq!(committer.submit("key", write(99)).await, Err(Rejected::Full));
    journal.gate.add_permits(OPEN);
    flush.await;
    assert_eq!(count_notes(db.pool()).await, 10);
    for result in join_all(submitted).await {
        assert!(result.unwrap().is_ok());
    }
    committer.flush().await;
}

async fn batch_whose_connection_is_killed_is_done_again_exactly_once(workers: usize) {
    let db = notes().await;
    let (committer, journal) = start(&db, limits(workers), OPEN, 2);
    let item = Item { id: 1, act: Act::Kill };
    assert_eq!(committer.submit("key", item).await, Ok(10));
    assert_eq!(journal.batches.lock().unwrap().len(), 3, "killed twice, done the third time");
    assert_eq!(count_notes(db.pool()).await, 1);
}

async fn batch_that_finds_no_lasting_connection_is_surely_not_done(workers: usize) {
    let db = notes().await;
    let (committer, journal) = start(&db, limits(workers), OPEN, 3);
    let item = Item { id: 1, act: Act::Kill };
    assert_eq!(committer.submit("key", item).await, Err(Rejected::Unavailable));
    assert_eq!(journal.batches.lock().unwrap().len(), 3);
    assert_eq!(count_notes(db.pool()).await, 0);
    assert_eq!(committer.submit("key", item).await, Ok(10));
}

async fn commit_that_breaks_is_told_as_unknown_and_never_repeated(workers: usize) {
    let db = notes().await;
    let (committer, journal) = start(&db, limits(workers), OPEN, 0);
    let item = Item { id: 1, act: Act::KillInCommit };
    assert_eq!(committer.submit("key", item).await, Err(Rejected::OutcomeUnknown));
    assert_eq!(journal.batches.lock().unwrap().len(), 1);
}

async fn contention_with_another_process_is_tried_again(workers: usize) {
    let db = notes().await;
    let journal = Arc::new(Journal::with(OPEN, 0));
    let mut settings = PoolSettings::new(db.url());
    settings.lock_timeout = Duration::from_millis(500);
    let pool = Pool::new(&settings).unwrap();
    let committer = Committer::start(pool, Notes(Arc::clone(&journal)), limits(workers));
    // The insert of the batch waits for this one, and would be a duplicate if it were committed.
    let mut other = Tx::begin(db.pool()).await.unwrap();
    insert(&mut other, 1, "other").await.unwrap();
    let submitted = hand_in(&committer, write(1)).await;
    wait_for_batches(&journal, 2).await;
    other.rollback().await;
    assert_eq!(submitted.await.unwrap(), Ok(10));
    assert_eq!(count_notes(db.pool()).await, 1);
}

async fn queue_is_bounded_in_bytes(workers: usize) {
    let db = notes().await;
    let bounds = BatchLimits { queue_bytes_max: 2 * HEAVY + 1, ..limits(workers) };
    let (committer, journal) = start(&db, bounds, 0, 0);
    let heavy = |id| Item { id, act: Act::Heavy };
    let mut submitted = vec![hand_in(&committer, heavy(0)).await];
    wait_for_batches(&journal, 1).await;
    for id in [1, 2] {
        submitted.push(hand_in(&committer, heavy(id)).await);
    }
    assert_eq!(committer.submit("key", heavy(3)).await, Err(Rejected::Full));
    submitted.push(hand_in(&committer, write(4)).await);
    assert_eq!(committer.submit("key", write(5)).await, Err(Rejected::Full));
    journal.gate.add_permits(OPEN);
    for result in join_all(submitted).await {
        assert!(result.unwrap().is_ok());
    }
    let more = join_all([6, 7].map(|id| committer.submit("key", heavy(id)))).await;
    assert_eq!(more, [Ok(60), Ok(70)]);
}

async fn batch_is_bounded_in_bytes_and_the_order_is_kept(workers: usize) {
    for (bytes_max, batches) in [
        (2 * HEAVY + 1, vec![vec![0], vec![1, 2], vec![3, 4, 5]]),
        (1, vec![vec![0], vec![1], vec![2], vec![3], vec![4], vec![5]]),
    ] {
        let db = notes().await;
        let bounds = BatchLimits { batch_bytes_max: bytes_max, ..limits(workers) };
        let (committer, journal) = start(&db, bounds, 0, 0);
        let mut submitted = vec![hand_in(&committer, write(0)).await];
        wait_for_batches(&journal, 1).await;
        for id in 1..=5 {
            let act = if id == 5 { Act::Write } else { Act::Heavy };
            submitted.push(hand_in(&committer, Item { id, act }).await);
        }
        journal.gate.add_permits(OPEN);
        for result in join_all(submitted).await {
            assert!(result.unwrap().is_ok());
        }
        assert_eq!(*journal.batches.lock().unwrap(), batches);
    }
}
