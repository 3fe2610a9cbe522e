//! The audit in the background: what it reports, and that it begins by itself.

use std::{sync::Arc, time::Duration};

use flows::{jobs::JobRunner, ledger_audit, sign_up};
use kernel::{Clock, RandomIds};
use testkit::TestDb;
use time::OffsetDateTime;
use tokio::sync::mpsc;

use crate::{database, request};

async fn with_accounts(count: u32) -> TestDb {
    let (db, clock) = (database().await, testkit::clock());
    for number in 0..count {
        let request = request(&format!("user-{number}"), "10");
        sign_up::run(db.pool(), &clock, &RandomIds, &request).await.unwrap().unwrap();
    }
    db
}

#[tokio::test]
async fn an_audit_reports_what_it_checked_and_what_has_drifted() {
    let mut db = with_accounts(3).await;
    let clock = testkit::clock();
    let report = ledger_audit::run(db.pool(), &clock).await.unwrap();
    assert_eq!((report.accounts, report.entries), (3, 3));
    assert!(report.is_clean());

    db.forgo_audits();
    db.run_as_superuser("UPDATE credits.accounts SET posted = posted + 1 WHERE user_id = 'user-1'").await;
    let report = ledger_audit::run(db.pool(), &clock).await.unwrap();
    assert!(!report.is_clean());
    assert_eq!(report.violations[0].user_id.as_deref(), Some("user-1"));
}

#[tokio::test]
async fn usage_is_audited_behind_the_ledger() {
    let mut db = with_accounts(2).await;
    let clock = testkit::clock();
    let new = usage::UsageInput::new("user-1".parse().unwrap(), "ai_chat").complete();
    let mut tx = pg::Tx::begin(db.pool()).await.unwrap();
    usage::record(&mut tx, &clock, &[new]).await.unwrap();
    tx.commit().await.unwrap();
    let report = ledger_audit::run(db.pool(), &clock).await.unwrap();
    assert_eq!((report.accounts, report.entries, report.records), (2, 2, 1));
    assert!(report.is_clean());

    db.forgo_audits();
    db.run_as_superuser(
        "UPDATE credits.accounts SET posted = posted + 1 WHERE user_id = 'user-0'; \
         UPDATE usage.rollups_15m SET cost_usd = 1; DELETE FROM usage.rollup_deltas",
    )
    .await;
    let report = ledger_audit::run(db.pool(), &clock).await.unwrap();
    assert_eq!(usize::try_from(report.found).unwrap(), report.violations.len());
    let users: Vec<Option<&str>> = report.violations.iter().map(|of| of.user_id.as_deref()).collect();
    assert_eq!(users.first(), Some(&Some("user-0")));
    assert_eq!(&users[users.len() - 2..], [Some("user-1"), None]);
    let [of_user, of_all] = &report.violations[users.len() - 2..] else {
        panic!("{report:?}");
    };
    assert_eq!(of_user.at, Some(clock.now()));
    assert!(of_user.to_string().starts_with("account user-1, usage U1: "), "{of_user}");
    assert!(of_all.to_string().starts_with("all users, usage U1: "), "{of_all}");
}

#[tokio::test]
async fn a_database_that_is_gone_is_no_clean_ledger() {
    let db = with_accounts(1).await;
    let pool = db.second_pool();
    pool.close();
    ledger_audit::run(&pool, &testkit::clock()).await.unwrap_err();
}

#[tokio::test]
async fn it_begins_by_itself_and_comes_again() {
    let db = with_accounts(1).await;
    let (asked, mut ends) = mpsc::unbounded_channel();
    let clock: Arc<dyn Clock> = Arc::new(Asked(asked));
    let job = ledger_audit::job(&db.second_pool(), &clock, Duration::ZERO, Duration::ZERO);
    // Once when the job is made, so that an alarm works before the first end.
    ends.recv().await.unwrap();
    let jobs = JobRunner::start([job], &(Arc::new(testkit::clock()) as Arc<dyn Clock>));
    for _ in 0..2 {
        ends.recv().await.unwrap();
    }
    drop(jobs);
}

/// A clock that tells when it is asked: an audit asks once, at its end.
struct Asked(mpsc::UnboundedSender<()>);

impl Clock for Asked {
    fn now(&self) -> OffsetDateTime {
        self.0.send(()).unwrap();
        testkit::instant()
    }
}
