//! The audit across domains: what it finds, and what it must not hold against anybody.

use std::{collections::BTreeSet, sync::Arc};

use credits::Defaults;
use diesel_async::SimpleAsyncConnection;
use flows::Writes;
use kernel::{Clock, Ids as _, ManualClock, RandomIds, SystemClock};
use testkit::TestDb;
use webhooks::Receiver;

use crate::{
    EVERYTHING, database,
    operations::{consume, run, signed_up, writes},
    receive,
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
            transaction_id: credits::core::transaction_id(2, charge.nonce).unwrap(),
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
async fn only_events_that_were_wanted_are_missed() {
    let (mut db, clock) = (database().await, testkit::clock());
    receive(&db, &clock, None).await;
    // Nobody wants events of this.
    history(&db, &clock).await;
    assert_eq!(db.ask("SELECT count(*) FROM webhooks.events").await, 0);
    testkit::audit_now(&db);
    let later = |from: time::Duration| {
        clock.advance(from);
        &clock
    };
    let of_a = Receiver { only_user_id: Some(testkit::user("a")), event_types: None };
    let consumed = BTreeSet::from(["credit_consumed".to_owned()]);
    let of_charges = Receiver { only_user_id: None, event_types: Some(consumed) };
    let writes = writes(&db, &clock);
    let mut written = 0;
    for (receiver, events) in [(Some(&of_a), 2), (Some(&of_charges), 2), (None, 0)] {
        receive(&db, later(time::Duration::MINUTE), receiver).await;
        clock.advance(time::Duration::MINUTE);
        for name in ["a", "b"] {
            assert!(run(&writes, consume(testkit::user(name), "1")).await.result.is_ok());
            let action = credits::Action::Recharge {
                amount: "3".parse().unwrap(),
                reference_id: None,
                scope: credits::ReferenceScope::User,
            };
            let recharge = credits::Command { action, ..consume(testkit::user(name), "1") };
            assert!(run(&writes, recharge).await.result.is_ok());
        }
        written += events;
        assert_eq!(db.ask("SELECT count(*) FROM webhooks.events").await, written, "{receiver:?}");
    }
    testkit::audit_now(&db);
    let mut conn = db.connect().await;
    // A transaction that does not write events is found while they are wanted, and only then.
    let book = async |name: &str| {
        let mut tx = pg::Tx::begin(db.pool()).await.unwrap();
        let command = consume(testkit::user(name), "1");
        let done = credits::execute(&mut tx, &clock, Defaults::default(), &[command]).await.unwrap();
        assert!(done.outcomes[0].result.is_ok());
        tx.commit().await.unwrap();
    };
    book("a").await;
    assert_eq!(found_after(&mut conn, "SELECT").await, Vec::<String>::new());
    receive(&db, later(time::Duration::MINUTE), Some(&of_charges)).await;
    book("b").await;
    assert_eq!(found_after(&mut conn, "SELECT").await, ["b"]);
    db.forgo_audits();
}

const ENTRIES: &str = "SELECT count(*) FROM credits.entries";

/// Receivers come and go while charges are booked from two pools: no charge lacks its event, as the audit at the end shows.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_event_is_lost_when_receivers_change_under_load() {
    let db = database().await;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let system = ManualClock::at(SystemClock.now());
    receive(&db, &system, None).await;
    for name in ["a", "b", "c"] {
        let request = crate::request(name, "1000");
        flows::sign_up::run(db.pool(), &SystemClock, &RandomIds, &request).await.unwrap().unwrap();
    }
    let charge = async |writes: Writes, name: &'static str| {
        for _ in 0..60 {
            assert!(run(&writes, consume(testkit::user(name), "1")).await.result.is_ok());
        }
    };
    let writes = [db.pool_of(2), db.pool_of(2)]
        .map(|pool| Writes::start(pool, Arc::clone(&clock), Defaults::default()));
    let charges = ["a", "b", "c", "a", "b", "c"].into_iter().zip(writes.iter().cycle());
    let charges: Vec<_> = charges.map(|(name, writes)| tokio::spawn(charge(writes.clone(), name))).collect();
    let mut wanted = true;
    while charges.iter().any(|charge| !charge.is_finished()) {
        let receiver = wanted.then_some(&EVERYTHING);
        let change =
            pg::Tx::run(db.pool(), async |tx| webhooks::configure(tx, &SystemClock, "tests", receiver).await);
        match change.await {
            Ok(is_change) => assert!(is_change),
            // A batch took long: another attempt helps.
            Err(pg::DbError::LockTimeout(_)) => continue,
            Err(error) => panic!("{error:?}"),
        }
        wanted = !wanted;
        // Some batches see these receivers before the next change.
        let booked = db.ask(ENTRIES).await;
        while db.ask(ENTRIES).await == booked && charges.iter().any(|charge| !charge.is_finished()) {}
    }
    for charge in charges {
        charge.await.unwrap();
    }
    let (events, entries) = (db.ask("SELECT count(*) FROM webhooks.events").await, db.ask(ENTRIES).await);
    assert!(0 < events && events < entries, "{events} events of {entries} entries");
}
