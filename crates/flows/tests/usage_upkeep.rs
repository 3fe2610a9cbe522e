//! Work beside the requests: months made ahead, sums added up.

use std::sync::Arc;

use credits::Defaults;
use flows::{CallerCheck, Writes, usage_upkeep};
use testkit::TestDb;
use usage::{RecordFilter, Stats, UsageInput};

use crate::{database, operations::uncharged};

async fn sums(db: &TestDb) -> Stats {
    let mut conn = db.pool().get().await.unwrap();
    usage::stats_all(&mut conn, &RecordFilter::default()).await.unwrap()
}

#[tokio::test]
async fn what_was_recorded_before_its_month_was_made_is_moved_and_added_up() {
    let (db, clock) = (database().await, testkit::clock());
    let writes = Writes::start(db.pool().clone(), Arc::new(clock.clone()), Defaults::default());
    for name in ["a", "b", "a"] {
        let used = uncharged(UsageInput::new(testkit::user(name), "ai_chat"));
        let done = writes.usage(used, CallerCheck::Done).await;
        assert!(done.unwrap().unwrap().result.is_ok());
    }
    let before = sums(&db).await;
    assert_eq!(before.total_records, 3);

    let months = usage_upkeep::create_months(db.pool(), &clock).await.unwrap();
    // Three records and the roll-ups of two users.
    assert_eq!((months.created.len(), months.moved), (10, 5));
    // The sums of three transactions; two users, once each.
    assert_eq!(usage_upkeep::fold_deltas(db.pool()).await.unwrap(), 5);
    assert_eq!(usage_upkeep::fold_deltas(db.pool()).await.unwrap(), 0);
    assert_eq!(sums(&db).await, before);
    let months = usage_upkeep::create_months(db.pool(), &clock).await.unwrap();
    assert_eq!(months, usage::Months::default());
}
