//! The audit across domains: what it finds, and what it must not hold against anybody.

use credits::Defaults;

use diesel_async::SimpleAsyncConnection;
use kernel::{Ids as _, ManualClock, RandomIds};
use testkit::TestDb;

use crate::{
    database,
    operations::{consume, run, signed_up, writes},
};

/// Two users with some history: six changes of "a", and one of "b".
async fn history(db: &TestDb, clock: &ManualClock) {
    let user = testkit::user("a");
    signed_up(db, clock, "a", "50").await;
    signed_up(db, clock, "b", "50").await;
    let writes = writes(db, clock);
    let hold_id = RandomIds.uuid();
    let charge = consume(user.clone(), "5");
    let actions = [
        credits::Action::Hold {
            hold_id,
            amount: "20".parse().unwrap(),
            mode: credits::HoldMode::Exact,
            ttl: time::Duration::MINUTE,
        },
        credits::Action::Capture { hold_id, amount: Some("7".parse().unwrap()), usage_record_id: None },
        credits::Action::Refund {
            transaction_id: charge.transaction_id,
            amount: None,
            reason: "it broke".to_owned(),
        },
        credits::Action::Recharge {
            amount: "0.000001".parse().unwrap(),
            reference_id: None,
            scope: credits::ReferenceScope::User,
        },
        credits::Action::Adjust {
            amount: "1".parse().unwrap(),
            adjustment: credits::Adjustment::Down { grant_id: None },
            reason: "by hand".to_owned(),
        },
    ];
    assert!(run(&writes, charge).await.result.is_ok());
    for action in actions {
        let command = credits::Command { action, ..consume(user.clone(), "1") };
        assert!(run(&writes, command).await.result.is_ok());
    }
}

/// Whose events do not tell the journal after this was done to the outbox; it is undone again.
async fn found_after(conn: &mut pg::PgConnection, damage: &str) -> Vec<String> {
    conn.batch_execute("BEGIN").await.unwrap();
    conn.batch_execute(damage).await.unwrap();
    let found = pg::audit::run(conn, flows::audits::AUDITS).await.unwrap();
    conn.batch_execute("ROLLBACK").await.unwrap();
    found.into_iter().map(|found| found.subject).collect()
}

/// Statements of a fault, told of the changes of "a" by their number.
const FAULTS: &[&str] = &[
    "DELETE FROM webhooks.events WHERE user_id = 'a' AND id = {1}",
    "DELETE FROM webhooks.events WHERE user_id = 'a' AND id = {3}",
    "DELETE FROM webhooks.events WHERE user_id = 'a' AND id = {6}",
    "DELETE FROM webhooks.events WHERE user_id = 'a' AND event_type LIKE 'credit%'",
    "INSERT INTO webhooks.events (user_id, event_type, payload, created_at) \
     SELECT user_id, event_type, payload, created_at FROM webhooks.events WHERE user_id = 'a' AND id = {3}",
    "INSERT INTO webhooks.events (user_id, event_type, payload, created_at) \
     SELECT user_id, event_type, payload, created_at FROM webhooks.events WHERE user_id = 'a' AND id = {6}",
    "DELETE FROM webhooks.events WHERE user_id = 'a' AND id = {2}; \
     INSERT INTO webhooks.events (user_id, event_type, payload, created_at) SELECT 'a', event_type, payload, created_at \
     FROM webhooks.events WHERE user_id = 'a' AND id = {3}",
    "UPDATE webhooks.events SET user_id = 'a' WHERE user_id = 'b' AND event_type = 'credit_granted'",
    "UPDATE webhooks.events SET payload = payload || '{\"amount\": 1.5}' WHERE user_id = 'a' AND id = {3}",
    "UPDATE webhooks.events SET payload = payload || '{\"balance_after\": 1.5}' WHERE user_id = 'a' AND id = {3}",
    "UPDATE webhooks.events SET payload = payload - 'transaction_id' WHERE user_id = 'a' AND id = {3}",
    "UPDATE webhooks.events SET event_type = 'credit_expired' WHERE user_id = 'a' AND id = {3}",
    "UPDATE webhooks.events SET created_at = created_at + interval '1 s' WHERE user_id = 'a' AND id = {3}",
];

#[tokio::test]
async fn a_lost_a_doubled_and_a_misplaced_event_are_found() {
    let (db, clock) = (database().await, testkit::clock());
    history(&db, &clock).await;
    let mut conn = db.connect().await;
    let told = webhooks::newest(&mut conn, &testkit::user("a"), 100).await.unwrap();
    let credit = told.iter().rev().filter(|event| event.event_type.starts_with("credit_"));
    let ids: Vec<i64> = credit.map(|event| event.id).collect();
    assert_eq!(ids.len(), 6);
    for fault in FAULTS {
        let damage = ids.iter().enumerate().fold((*fault).to_owned(), |sql, (place, id)| {
            sql.replace(&format!("{{{}}}", place + 1), &id.to_string())
        });
        let found = found_after(&mut conn, &damage).await;
        assert!(found.contains(&"a".to_owned()), "{damage}: {found:?}");
    }
    assert_eq!(found_after(&mut conn, "SELECT").await, Vec::<String>::new());
}

#[tokio::test]
async fn what_the_outbox_cannot_know_is_not_asked_of_it() {
    let (mut db, clock) = (database().await, testkit::clock());
    // Booked before anybody wrote events: the account of "a", and all of "c".
    let book = async |command: credits::Command| {
        let mut tx = pg::Tx::begin(db.pool()).await.unwrap();
        let done = credits::execute(&mut tx, &clock, Defaults::default(), &[command]).await.unwrap();
        assert!(done.outcomes[0].result.is_ok());
        tx.commit().await.unwrap();
    };
    for name in ["a", "c"] {
        let action = credits::Action::Open { initial: "100".parse().unwrap() };
        book(credits::Command { action, ..consume(testkit::user(name), "1") }).await;
    }
    book(consume(testkit::user("a"), "1")).await;
    testkit::audit_now(&db);
    history(&db, &clock).await;
    testkit::audit_now(&db);
    let mut conn = db.connect().await;
    // The oldest events of a user may be gone.
    let aged = "DELETE FROM webhooks.events WHERE id <= (SELECT min(id) + 3 FROM webhooks.events WHERE user_id = 'a')";
    assert_eq!(found_after(&mut conn, aged).await, Vec::<String>::new());
    // But who has begun to write events goes on.
    book(consume(testkit::user("b"), "1")).await;
    assert_eq!(found_after(&mut conn, "SELECT").await, ["b"]);
    db.forgo_audits();
}
