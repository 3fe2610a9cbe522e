//! `gateway usage retain`: what it would drop, what it drops beside a gateway, and what it leaves alone.

use std::path::Path;

use kernel::{ManualClock, SystemClock};
use usage::UsageInput;

use super::gateway_process::{Gateway, command, database, folder, run};
use crate::prelude::*;

/// The exit code, the printed object and what was complained about.
fn retain(folder: &Path, variables: &[(&str, &str)], arguments: &[&str]) -> (Option<i32>, Value, String) {
    let (status, out, error) =
        run(command(folder, variables).args(["usage", "retain", "--json"]).args(arguments));
    let report = serde_json::from_str(&out).unwrap_or(Value::Null);
    (status.code(), report, error)
}

/// Records an event when it happens.
async fn record(db: &TestDb, at: OffsetDateTime, event_id: &str) {
    let input = UsageInput {
        event_id: Some(event_id.to_owned()),
        ..UsageInput::new(testkit::user("auth0|a"), "ai_chat")
    };
    let mut tx = pg::Tx::begin(db.pool()).await.unwrap();
    let outcomes = usage::record(&mut tx, &ManualClock::at(at), &[input.complete()]).await.unwrap();
    assert!(outcomes.iter().all(Result::is_ok));
    tx.commit().await.unwrap();
}

async fn records(gateway: &Gateway, path: &str) -> Value {
    gateway.get(&format!("auth0%7Ca/usage{path}")).data().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn old_months_are_told_and_then_dropped_beside_a_gateway() {
    let (db, folder) = (database().await, folder());
    let now = SystemClock.now();
    for (at, event) in [
        (datetime!(2025-01-31 23:00 UTC), "january"),
        (datetime!(2025-09-01 0:00 UTC), "september"),
        (now - Duration::days(40), "last month or so"),
        (now, "now"),
    ] {
        record(&db, at, event).await;
    }
    // The gateway would do it after its start, and the test would not know when.
    usage::create_months(db.pool(), &SystemClock, 1).await.unwrap();
    let variables = [("DATABASE_URL", db.url())];
    let gateway = Gateway::start(folder.path(), &variables).await;
    gateway.ensure("auth0|a").await;

    let (code, report, error) = retain(folder.path(), &variables, &["--dry-run"]);
    assert_eq!((code, error.as_str()), (Some(0), ""));
    assert_eq!((&report["dry_run"], &report["months"]), (&json!(true), &json!(13)));
    let old = report["would_drop"].list();
    let names: Vec<_> = old.iter().map(|month| &month["partition"]).collect();
    assert_eq!(names, ["records_2025_01", "records_2025_09"]);
    assert!(old.iter().all(|month| month["bytes"].as_u64().unwrap() > 0), "{report}");
    let (_, text, _) = run(command(folder.path(), &variables).args(["usage", "retain", "--dry-run"]));
    assert!(text.contains("\n  records_2025_01: ") && text.lines().count() == 3, "{text}");
    assert_eq!(records(&gateway, "").await.list().len(), 4, "nothing was changed");

    assert_eq!(
        two_at_once(&db, folder.path(), &gateway).await,
        (vec![json!("records_2025_01"), json!("records_2025_09")], 2)
    );
    assert_eq!(records(&gateway, "").await.list().len(), 2);
    assert_eq!(records(&gateway, "/stats").await["total_records"], 4, "sums live on");

    let (_, text, _) = run(command(folder.path(), &variables).args(["usage", "retain", "--months", "13"]));
    assert_eq!(text, "nothing is older than this month and the 13 before it\n");
    let fewer = [("DATABASE_URL", db.url()), ("USAGE_RETENTION_MONTHS", "60")];
    let (code, report, _) = retain(folder.path(), &fewer, &[]);
    assert_eq!((code, &report["months"], &report["dropped"]), (Some(0), &json!(60), &json!([])));
}

/// Two at the same time, while the gateway goes on: the months that were dropped, and how many event ids were forgotten.
async fn two_at_once(db: &TestDb, folder: &Path, gateway: &Gateway) -> (Vec<Value>, u64) {
    let both = [(); 2].map(|()| {
        let (folder, url) = (folder.to_owned(), db.url().to_owned());
        std::thread::spawn(move || retain(&folder, &[("DATABASE_URL", &url)], &[]))
    });
    assert_eq!(records(gateway, "/stats").await["total_records"], 4);
    let (mut dropped, mut forgotten) = (Vec::new(), 0);
    for one in both {
        let (code, report, error) = one.join().unwrap();
        assert_eq!((code, &report["dry_run"]), (Some(0), &json!(false)), "{error}");
        dropped.extend(report["dropped"].list().to_vec());
        forgotten += report["event_ids_forgotten"].as_u64().unwrap();
    }
    dropped.sort_by_key(Value::to_string);
    dropped.dedup();
    (dropped, forgotten)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_done_is_said_with_its_exit_code() {
    let folder = folder();
    let (code, report, error) = retain(folder.path(), &[], &[]);
    assert_eq!((code, report), (Some(1), Value::Null));
    assert!(error.contains("there is no database in ./data"), "{error}");
    assert!(!folder.path().join("data").exists());

    let db = TestDb::create(&[], &[]).await;
    let (code, _, error) = retain(folder.path(), &[("DATABASE_URL", db.url())], &["--dry-run"]);
    assert_eq!(code, Some(1));
    assert!(error.contains("gateway migrate"), "{error}");
    let missing = pg::migrate::pending(db.pool(), gateway::app::MIGRATIONS).await.unwrap();
    assert_eq!(missing.len(), pg::migrate::merge(gateway::app::MIGRATIONS).len());

    for (variables, arguments) in [
        (vec![("USAGE_RETENTION_MONTHS", "1")], vec![]),
        (vec![("USAGE_RETENTION_MONTHS", "ever")], vec![]),
        (vec![], vec!["--months", "1"]),
        (vec![], vec!["--months", "ever"]),
    ] {
        let (code, _, error) = retain(folder.path(), &variables, &arguments);
        assert_eq!(code, Some(2), "{variables:?} {arguments:?}");
        assert!(error.contains("USAGE_RETENTION_MONTHS") || error.contains("--months"), "{error}");
    }
}
