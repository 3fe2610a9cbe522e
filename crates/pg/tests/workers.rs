//! Two workers take turns at a lane: one decides while the other writes and commits.

use std::{sync::Arc, time::Duration};

use futures_util::{future::join_all, join};
use pg::{Committer, Pool, PoolSettings, Rejected};

use crate::{
    note_work::{
        Act, Item, Journal, Notes, OPEN, hand_in, hand_in_for, limits, start, wait_for_batches, write,
    },
    support::{ask_pool, count_notes, hold_commits, notes, wait_for_commit, with_one_and_two_workers},
};

with_one_and_two_workers! {
    failure_of_the_writes_is_sorted_out,
    refused_commit_is_sorted_out_on_an_idle_lane,
    flush_waits_for_a_commit_and_for_what_its_refusal_leaves_to_do,
}

fn item(id: i64, act: Act) -> Item {
    Item { id, act }
}

async fn failure_of_the_writes_is_sorted_out(workers: usize) {
    let db = notes().await;
    let (committer, journal) = start(&db, limits(workers), OPEN, 0);
    let sorted_out = async {
        let both =
            join!(committer.submit("one", write(1)), committer.submit("two", item(2, Act::FailInSave)));
        assert_eq!(both, (Ok(10), Err(Rejected::Failed)));
        assert_eq!(committer.submit("two", write(3)).await, Ok(30));
    };
    tokio::time::timeout(Duration::from_secs(30), sorted_out)
        .await
        .expect("the worker waits for a turn that never comes");
    let batches = journal.batches.lock().unwrap().clone();
    assert_eq!(batches, [vec![1, 2], vec![1], vec![2], vec![3]]);
    assert_eq!(ask_pool(db.pool(), "SELECT sum(id) FROM notes.notes").await, 4);
}

#[tokio::test]
async fn next_batch_is_done_while_one_writes() {
    let db = notes().await;
    let writes = hold_commits(&db).await;
    let (committer, _) = start(&db, limits(2), OPEN, 0);
    let first = hand_in_for(&committer, "one", item(1, Act::WaitInSave)).await;
    wait_for_commit(&db).await;
    assert_eq!(committer.submit("two", write(2)).await, Ok(20));
    assert!(!first.is_finished(), "it waits");
    writes.rollback().await;
    assert_eq!(first.await.unwrap(), Ok(10));
}

#[tokio::test]
async fn items_of_a_key_begin_behind_the_writes_of_those_before_them() {
    let db = notes().await;
    let writes = hold_commits(&db).await;
    let (committer, journal) = start(&db, limits(2), OPEN, 0);
    let first = hand_in_for(&committer, "one", item(1, Act::WaitInSave)).await;
    wait_for_commit(&db).await;
    let second = hand_in_for(&committer, "one", write(2)).await;
    // The other worker has had the time for many batches.
    for _ in 0..20 {
        ask_pool(db.pool(), "SELECT count(*) FROM notes.notes").await;
        assert_eq!(*journal.batches.lock().unwrap(), [vec![1]]);
    }
    writes.rollback().await;
    assert_eq!(first.await.unwrap(), Ok(10));
    assert_eq!(second.await.unwrap(), Ok(20));
}

#[tokio::test]
async fn writes_that_fail_take_the_turn_from_who_waits_behind_them() {
    let db = notes().await;
    let writes = hold_commits(&db).await;
    let (committer, journal) = start(&db, limits(2), OPEN, 0);
    let first = hand_in_for(&committer, "one", item(1, Act::WaitThenFail)).await;
    wait_for_commit(&db).await;
    let second = hand_in_for(&committer, "one", write(2)).await;
    writes.rollback().await;
    let ended = async { (first.await.unwrap(), second.await.unwrap()) };
    let ended = tokio::time::timeout(Duration::from_secs(30), ended).await;
    assert_eq!(ended.unwrap(), (Err(Rejected::Failed), Ok(20)));
    let last = journal.batches.lock().unwrap().last().cloned();
    assert_eq!(last, Some(vec![2]));
}

async fn refused_commit_is_sorted_out_on_an_idle_lane(workers: usize) {
    let db = notes().await;
    let (committer, journal) = start(&db, limits(workers), OPEN, 0);
    let sorted_out = async {
        let both = join!(committer.submit("one", write(1)), committer.submit("two", item(2, Act::Orphan)));
        assert_eq!(both, (Ok(10), Err(Rejected::Failed)));
        assert_eq!(committer.submit("two", item(3, Act::Orphan)).await, Err(Rejected::Failed));
        assert_eq!(committer.submit("two", write(4)).await, Ok(40));
    };
    tokio::time::timeout(Duration::from_secs(30), sorted_out)
        .await
        .expect("the worker waits for a turn that never comes");
    assert_eq!(*journal.batches.lock().unwrap(), [vec![1, 2], vec![1], vec![2], vec![3], vec![4]]);
    assert_eq!(ask_pool(db.pool(), "SELECT sum(id) FROM notes.notes").await, 5);
}

async fn flush_waits_for_a_commit_and_for_what_its_refusal_leaves_to_do(workers: usize) {
    let db = notes().await;
    let commits = hold_commits(&db).await;
    let (committer, journal) = start(&db, limits(workers), 1, 0);
    let first = hand_in_for(&committer, "one", item(1, Act::WaitInCommit)).await;
    wait_for_commit(&db).await;
    let later = [
        hand_in_for(&committer, "two", write(2)).await,
        hand_in_for(&committer, "two", item(3, Act::Orphan)).await,
        hand_in_for(&committer, "one", write(4)).await,
    ];
    let mut flush = std::pin::pin!(committer.flush());
    assert!(futures_util::poll!(flush.as_mut()).is_pending());
    journal.gate.add_permits(OPEN);
    assert!(!first.is_finished());
    commits.rollback().await;
    tokio::time::timeout(Duration::from_secs(30), flush).await.expect("a worker does not end");
    assert_eq!(first.await.unwrap(), Ok(10));
    let results: Vec<_> = join_all(later).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(results, [Ok(20), Err(Rejected::Failed), Ok(40)]);
    assert_eq!(count_notes(db.pool()).await, 3);
}

#[tokio::test]
async fn items_behind_a_commit_keep_their_order_and_come_first_when_it_has_ended() {
    let db = notes().await;
    let commits = hold_commits(&db).await;
    let (committer, journal) = start(&db, limits(2), 1, 0);
    let first = hand_in_for(&committer, "a", item(1, Act::WaitInCommit)).await;
    wait_for_commit(&db).await;

    // Each round begins while a batch is at the gate.
    let mut submitted = vec![hand_in_for(&committer, "b", write(2)).await];
    wait_for_batches(&journal, 2).await;
    for (key, id) in [("a", 3), ("b", 4), ("a", 5), ("c", 6)] {
        submitted.push(hand_in_for(&committer, key, write(id)).await);
    }
    journal.gate.add_permits(1);
    wait_for_batches(&journal, 3).await;
    submitted.push(hand_in_for(&committer, "b", write(7)).await);
    journal.gate.add_permits(1);
    wait_for_batches(&journal, 4).await;
    submitted.push(hand_in_for(&committer, "c", write(8)).await);
    assert!(!first.is_finished(), "the others were done while it committed");
    commits.rollback().await;
    assert_eq!(first.await.unwrap(), Ok(10));
    journal.gate.add_permits(OPEN);

    for result in join_all(submitted).await {
        assert!(result.unwrap().is_ok());
    }
    assert_eq!(*journal.batches.lock().unwrap(), [vec![1], vec![2], vec![4, 6], vec![7], vec![3, 5, 8]]);
}

#[tokio::test]
async fn commits_that_overlap_keep_the_order_of_each_key() {
    let db = notes().await;
    let (committer, _) = start(&db, limits(2), OPEN, 0);
    let keys = ["a", "b", "c", "d"];
    // The ids of a key are apart from those of the others, and rise in the order of submission.
    let streams = (0_i64..).zip(keys).map(|(place, key)| {
        let committer = &committer;
        async move {
            for n in 0..10 {
                let three = [0, 1, 2].map(|m| committer.submit(key, write(place * 100 + n * 3 + m)));
                assert!(join_all(three).await.iter().all(Result::is_ok));
            }
        }
    });
    join_all(streams).await;
    let disorder = "SELECT count(*) FROM notes.notes one JOIN notes.notes two \
        ON one.id / 100 = two.id / 100 AND one.id < two.id AND one.place > two.place";
    assert_eq!(ask_pool(db.pool(), disorder).await, 0);
    assert_eq!(count_notes(db.pool()).await, 120);
}

#[tokio::test]
async fn what_a_runtime_takes_with_it_may_be_done_if_it_was_in_a_batch() {
    let db = notes().await;
    let commits = hold_commits(&db).await;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let committer = {
        let _on_it = runtime.enter();
        let pool = Pool::new(&PoolSettings::new(db.url())).unwrap();
        Committer::start(pool, Notes(Arc::new(Journal::with(OPEN, 0))), limits(1))
    };
    let in_commit = hand_in(&committer, item(1, Act::WaitInCommit)).await;
    wait_for_commit(&db).await;
    let in_queue = hand_in(&committer, write(2)).await;
    runtime.shutdown_background();
    assert_eq!(in_commit.await.unwrap(), Err(Rejected::OutcomeUnknown));
    assert_eq!(in_queue.await.unwrap(), Err(Rejected::Unavailable));
    commits.rollback().await;
}
