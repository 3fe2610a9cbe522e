//! `gateway ledger verify`: on any database, next to a gateway, and what it says of damage.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::net::{TcpListener, TcpStream};

use super::gateway_process::{Gateway, command, database, folder, run};
use crate::prelude::*;

const VERIFY: [&str; 3] = ["ledger", "verify", "--json"];

/// The exit code, the printed object and what was complained about.
pub fn verify(folder: &Path, variables: &[(&str, &str)]) -> (Option<i32>, Value, String) {
    let (status, out, error) = run(command(folder, variables).args(VERIFY));
    let report = serde_json::from_str(&out).unwrap_or(Value::Null);
    (status.code(), report, error)
}

async fn damage(db: &TestDb, statements: &str) {
    db.run_as_superuser(statements).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clean_ledger_and_an_edited_one_are_told_apart() {
    let mut db = database().await;
    let folder = folder();
    let url = db.url().to_owned();
    let variables = [("DATABASE_URL", url.as_str())];
    let gateway = Gateway::start(folder.path(), &variables).await;
    for user in ["a", "b", "c"] {
        gateway.ensure(user).await;
        gateway.consume(user, 10).expect(200).await;
        gateway.consume(user, 20).expect(200).await;
    }
    let (code, report, error) = verify(folder.path(), &variables);
    assert_eq!((code, error.as_str()), (Some(0), ""));
    report.has(json!({"clean": true, "accounts": 3, "entries": 9, "violations": [], "violations_found": 0}));
    assert!(report["duration_ms"].is_u64() && report["rows_per_second"].is_u64(), "{report}");

    db.forgo_audits();
    damage(
        &db,
        "ALTER TABLE credits.entries DISABLE TRIGGER USER; \
         UPDATE credits.entries SET amount = amount - 1000000, balance_after = balance_after + 1000000 \
         WHERE user_id = 'b' AND seq = 2; \
         ALTER TABLE credits.entries ENABLE TRIGGER USER; \
         UPDATE credits.accounts SET lifetime_granted = 1 WHERE user_id = 'c'",
    )
    .await;
    let (code, report, error) = verify(folder.path(), &variables);
    assert_eq!(code, Some(3), "{error}");
    let first = &report["violations"][0];
    first.has(json!({"account": "b", "seq": 3, "rule": "credits L2: each entry continues the one before"}));
    assert!(first["detail"].text().contains("the one before (2) ended with 991 credits"), "{first}");
    let rules = report["violations"].list();
    assert_eq!(report["violations_found"], rules.len());
    assert!(
        rules.iter().any(|of| of["account"] == "c"
            && of["seq"].is_null()
            && of["rule"].text().contains("L18")
            && of["detail"] == "0.000001 credits; grants: 1000 credits"),
        "{report}"
    );
    assert!(error.contains("account b, entry 3, credits L2") && error.lines().count() == 1, "{error}");

    let (status, out, error) = run(command(folder.path(), &variables).args(&VERIFY[..2]));
    assert_eq!(status.code(), Some(3), "{error}");
    assert!(
        out.starts_with("3 accounts with 9 entries and 0 usage records in ")
            && out.contains("account c, credits L18"),
        "{out}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn usage_that_was_edited_is_told_by_user_and_quarter() {
    let mut db = database().await;
    let clock = testkit::clock();
    let event = |user: &str| {
        usage::UsageInput {
            credits_charged: Some("0.000099".parse().unwrap()),
            cost_usd: Some("0.000000005".parse().unwrap()),
            ..usage::UsageInput::new(user.parse().unwrap(), "ai_chat")
        }
        .complete()
    };
    let mut tx = pg::Tx::begin(db.pool()).await.unwrap();
    usage::record(&mut tx, &clock, &[event("a"), event("b")]).await.unwrap();
    tx.commit().await.unwrap();
    let url = db.url().to_owned();
    let (folder, variables) = (folder(), [("DATABASE_URL", url.as_str())]);
    let (code, report, error) = verify(folder.path(), &variables);
    assert_eq!((code, &report["usage_records"]), (Some(0), &json!(2)), "{error}");

    db.forgo_audits();
    damage(&db, "DELETE FROM usage.records WHERE user_id = 'b'").await;
    let (code, report, error) = verify(folder.path(), &variables);
    assert_eq!((code, &report["violations_found"]), (Some(3), &json!(1)), "{error}");
    let first = &report["violations"][0];
    first.has(json!({"account": "b", "seq": null, "at": "2026-01-15T12:00:00.000000Z"}));
    assert!(
        error.contains("account b, usage U1: ")
            && error.contains("2026-01-15 12:00")
            && error.contains("0.000099 credits, 0 deducted and 0.000000005 USD too many"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_audit_runs_beside_a_gateway_and_without_one_and_beside_another_audit() {
    let folder = folder();
    let mut gateway = Gateway::start(folder.path(), &[]).await;
    gateway.ensure("a").await;
    gateway.consume("a", 1).expect(200).await;
    let address = folder.path().join("data/postgres.url");
    assert_eq!(fs::metadata(&address).unwrap().permissions().mode() & 0o777, 0o600);
    two_at_once(folder.path(), 2);
    gateway.consume("a", 1).expect(200).await;

    // A kill leaves the address behind: it is not believed, and the audit starts the server.
    gateway.signal("-KILL");
    gateway.wait();
    assert!(address.exists());
    let (code, report, error) = verify(folder.path(), &[]);
    assert_eq!((code, &report["entries"]), (Some(0), &json!(3)), "{error}");
    assert!(!address.exists() && !folder.path().join("data/postgres/postmaster.pid").exists());

    let mut gateway = Gateway::start(folder.path(), &[]).await;
    gateway.stop();
    assert!(!address.exists(), "a clean stop takes it away");
    fs::write(&address, "postgresql://user_service@%2Fnowhere/user_service\n").unwrap();
    two_at_once(folder.path(), 3);
}

fn two_at_once(folder: &Path, entries: u64) {
    let audits =
        [folder.to_owned(), folder.to_owned()].map(|folder| std::thread::spawn(move || verify(&folder, &[])));
    for audit in audits {
        let (code, report, error) = audit.join().unwrap();
        assert_eq!((code, &report["entries"]), (Some(0), &json!(entries)), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_made_or_migrated_by_an_audit() {
    let folder = folder();
    let (code, report, error) = verify(folder.path(), &[]);
    assert_eq!((code, report), (Some(1), Value::Null));
    assert!(error.contains("there is no database in ./data"), "{error}");
    assert!(!folder.path().join("data").exists());

    let db = TestDb::create(&[], &[]).await;
    let (code, report, error) = verify(folder.path(), &[("DATABASE_URL", db.url())]);
    assert_eq!((code, report), (Some(1), Value::Null));
    assert!(error.contains("gateway migrate"), "{error}");
    let missing = pg::migrate::pending(db.pool(), gateway::app::MIGRATIONS).await;
    assert_eq!(missing.unwrap().len(), pg::migrate::merge(gateway::app::MIGRATIONS).len());

    let nowhere = [("DATABASE_URL", "postgresql://a:hunter2@127.0.0.1:1/b")];
    let (code, _told, error) = verify(folder.path(), &nowhere);
    assert_eq!(code, Some(1));
    assert!(error.contains("127.0.0.1:1/b") && !error.contains("hunter2"), "{error}");
    let (code, _told, error) = verify(folder.path(), &[("LEDGER_VERIFY_HOURS", "often")]);
    assert_eq!(code, Some(2));
    assert!(error.contains("LEDGER_VERIFY_HOURS"), "{error}");
}

/// Last line of an audit of a range.
const COMMIT: &[u8] = b"SELECT; COMMIT";

/// The address of a network behind which every second audit of a range loses its connection; and how many were lost.
async fn losing_network(proxy: &Proxy) -> (String, Arc<AtomicUsize>) {
    let (credentials, rest) = proxy.url().split_once('@').unwrap();
    let (address, database) = rest.split_once('/').unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("{credentials}@{}/{database}", listener.local_addr().unwrap());
    let (address, ranges) = (address.to_owned(), Arc::new(AtomicUsize::new(0)));
    let count = Arc::clone(&ranges);
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let server = TcpStream::connect(&address).await.unwrap();
            tokio::spawn(forward(client, server, Arc::clone(&count)));
        }
    });
    (url, ranges)
}

async fn forward(mut client: TcpStream, mut server: TcpStream, ranges: Arc<AtomicUsize>) {
    let (mut from_client, mut to_client) = client.split();
    let (mut from_server, mut to_server) = server.split();
    let forth = async {
        let mut buffer = vec![0; 1 << 16];
        loop {
            let count = from_client.read(&mut buffer).await.unwrap_or(0);
            let sent = &buffer[..count];
            let ends_range = sent.windows(COMMIT.len()).any(|part| part == COMMIT);
            let is_lost = ends_range && ranges.fetch_add(1, Ordering::SeqCst) % 2 == 1;
            if count == 0 || is_lost || to_server.write_all(sent).await.is_err() {
                return;
            }
        }
    };
    let back = tokio::io::copy(&mut from_server, &mut to_client);
    tokio::select! {
        () = forth => {}
        _ = back => {}
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_audit_goes_on_however_often_the_connection_is_lost_as_long_as_it_advances() {
    let mut db = database().await;
    db.forgo_audits();
    let accounts = "INSERT INTO credits.accounts (user_id, as_of, created_at) \
        SELECT 'u' || number, now(), now() FROM generate_series(1, 301) AS number";
    db.run(accounts).await;
    let proxy = Proxy::start(&db).await;
    let (url, ranges) = losing_network(&proxy).await;
    let folder = folder();
    let verified = tokio::task::spawn_blocking(move || verify(folder.path(), &[("DATABASE_URL", &url)]));
    let (code, report, error) = verified.await.unwrap();
    assert_eq!((code, &report["accounts"]), (Some(0), &json!(301)), "{error}");
    let lost = ranges.load(Ordering::SeqCst) / 2;
    assert!(lost > 4, "the connection was lost {lost} times");
}
