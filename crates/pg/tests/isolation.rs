//! Items of a failed batch run one by one only while that can find the one at fault.

use std::{sync::Arc, time::Duration};

use diesel_async::SimpleAsyncConnection;
use futures_util::future::join_all;
use pg::{Committer, Pool, PoolSettings, Rejected};
use testkit::TestDb;

use crate::{
    note_work::{Act, Item, Journal, Notes, OPEN, limits, start, write},
    support::{count_notes, notes, with_one_and_two_workers},
};

with_one_and_two_workers! {
    statement_that_takes_too_long_is_not_looked_for,
    items_run_alone_until_the_database_fails,
    callers_that_waited_long_enough_are_not_run_alone,
    connections_to_a_server_that_only_reads_are_dropped,
}

/// A committer whose statements may run for 200 ms.
fn impatient(db: &TestDb, workers: usize) -> (Committer<Notes>, Arc<Journal>) {
    let mut settings = PoolSettings::new(db.url());
    settings.statement_timeout = Duration::from_millis(200);
    let journal = Arc::new(Journal::with(OPEN, 0));
    let work = Notes(Arc::clone(&journal));
    let committer = Committer::start(Pool::new(&settings).unwrap(), work, limits(workers));
    (committer, journal)
}

/// What becomes of the items of one batch, numbered from 1.
async fn batch(committer: &Committer<Notes>, acts: &[Act]) -> Vec<Result<i64, Rejected>> {
    let items = (1..).zip(acts).map(|(id, act)| Item { id, act: *act });
    join_all(items.map(|item| committer.submit("key", item))).await
}

async fn statement_that_takes_too_long_is_not_looked_for(workers: usize) {
    let db = notes().await;
    let (committer, journal) = impatient(&db, workers);
    let results = batch(&committer, &[Act::Write, Act::Slow, Act::Write]).await;
    assert_eq!(results, [Err(Rejected::Unavailable); 3]);
    assert_eq!(*journal.batches.lock().unwrap(), [[1, 2, 3]]);
    assert_eq!(committer.submit("key", write(4)).await, Ok(40));
}

async fn items_run_alone_until_the_database_fails(workers: usize) {
    let db = notes().await;
    let (committer, journal) = impatient(&db, workers);
    let acts = [Act::Write, Act::Violate, Act::Slow, Act::Write, Act::Write];
    let unavailable = Err(Rejected::Unavailable);
    assert_eq!(
        batch(&committer, &acts).await,
        [Ok(10), Err(Rejected::Failed), unavailable, unavailable, unavailable]
    );
    assert_eq!(*journal.batches.lock().unwrap(), [vec![1, 2, 3, 4, 5], vec![1], vec![2], vec![3]]);
    assert_eq!(count_notes(db.pool()).await, 1);
}

async fn callers_that_waited_long_enough_are_not_run_alone(workers: usize) {
    let db = notes().await;
    let (committer, journal) = start(&db, limits(workers), OPEN, 0);
    let results = batch(&committer, &[Act::Linger, Act::Violate]).await;
    assert_eq!(results, [Err(Rejected::Unavailable); 2]);
    assert_eq!(*journal.batches.lock().unwrap(), [[1, 2]]);
    assert_eq!(committer.submit("key", write(3)).await, Ok(30));
}

async fn connections_to_a_server_that_only_reads_are_dropped(workers: usize) {
    let db = notes().await;
    let pool = db.pool_of(3);
    let mut connections = Vec::new();
    for _ in 0..3 {
        let mut conn = pool.get().await.unwrap();
        let only_read = "SET default_transaction_read_only = on";
        conn.batch_execute(only_read).await.unwrap();
        connections.push(conn);
    }
    drop(connections);
    let journal = Arc::new(Journal::with(OPEN, 0));
    let committer = Committer::start(pool, Notes(Arc::clone(&journal)), limits(workers));
    let results = batch(&committer, &[Act::Write; 3]).await;
    assert_eq!(results, [Err(Rejected::Unavailable); 3]);
    assert_eq!(*journal.batches.lock().unwrap(), [[1, 2, 3]]);
    let again = batch(&committer, &[Act::Write; 3]).await;
    assert_eq!(again, [Ok(10), Ok(20), Ok(30)]);
}
