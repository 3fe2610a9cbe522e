//! The outbox on a real database.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

use std::{collections::BTreeSet, sync::Arc};

use kernel::Clock as _;
use pg::Tx;
use testkit::TestDb;
use webhooks::{BalanceChange, EventKind, NewEvent, Receiver, Receivers, Wanted};

async fn database() -> TestDb {
    TestDb::create(&[webhooks::MIGRATIONS], &[webhooks::AUDITS]).await
}

const EVERYTHING: Receiver = Receiver { only_user_id: None, event_types: None };

/// Sets what the receiver of the tests wants, and returns what is wanted then.
async fn wanted(db: &TestDb, receiver: Option<&Receiver>) -> Arc<Wanted> {
    Tx::run(db.pool(), async |tx| {
        webhooks::configure(tx, &testkit::clock(), "tests", receiver).await?;
        Receivers::default().wanted(tx.shared()).await
    })
    .await
    .unwrap()
}

fn event(user: &str, number: i32) -> NewEvent {
    NewEvent {
        user_id: testkit::user(user),
        kind: EventKind::CreditConsumed(BalanceChange {
            amount: format!("{number}.5").parse().unwrap(),
            balance_after: "1".parse().unwrap(),
            transaction_id: "txn_x".to_owned(),
            description: None,
        }),
        at: testkit::clock().now(),
    }
}

#[tokio::test]
async fn events_are_kept_in_order_and_only_with_their_cause() {
    let db = database().await;
    let wanted = wanted(&db, Some(&EVERYTHING)).await;
    let tx = Tx::begin(db.pool()).await.unwrap();
    let batch: Vec<NewEvent> =
        (1..=50).map(|number| event(if number % 2 == 0 { "a" } else { "b" }, number)).collect();
    webhooks::enqueue(&tx, &wanted, batch).await.unwrap();
    tx.commit().await.unwrap();
    let tx = Tx::begin(db.pool()).await.unwrap();
    webhooks::enqueue(&tx, &wanted, vec![event("a", 99)]).await.unwrap();
    tx.rollback().await;

    let mut conn = db.pool().get().await.unwrap();
    let kept = webhooks::newest(&mut conn, &testkit::user("a"), 500).await.unwrap();
    let amounts: Vec<&str> =
        kept.iter().map(|event| event.payload.as_json().split(',').next().unwrap()).collect();
    assert_eq!(kept.len(), 25);
    assert_eq!((amounts[0], amounts[24]), (r#"{"amount": 50.5"#, r#"{"amount": 2.5"#));
    assert!(kept.windows(2).all(|pair| pair[0].id > pair[1].id));
    assert_eq!(kept[0].at, testkit::clock().now());
    assert_eq!(webhooks::newest(&mut conn, &testkit::user("a"), 3).await.unwrap().len(), 3);
}

#[tokio::test]
async fn no_events_are_no_statement() {
    let db = database().await;
    let wanted = wanted(&db, Some(&EVERYTHING)).await;
    let tx = Tx::begin(db.pool()).await.unwrap();
    webhooks::enqueue(&tx, &wanted, Vec::new()).await.unwrap();
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn only_wanted_events_are_written() {
    let db = database().await;
    let types = |name: &str| Some(BTreeSet::from([name.to_owned()]));
    let of_a = Some(testkit::user("a"));
    for (receiver, events) in [
        (None, 0),
        (Some(EVERYTHING), 2),
        (Some(Receiver { only_user_id: of_a.clone(), event_types: None }), 1),
        (Some(Receiver { only_user_id: None, event_types: types("credit_consumed") }), 2),
        (Some(Receiver { only_user_id: None, event_types: types("credit_granted") }), 0),
        (Some(Receiver { only_user_id: of_a, event_types: types("credit_consumed") }), 1),
    ] {
        let wanted = wanted(&db, receiver.as_ref()).await;
        assert_eq!(wanted.is_empty(), receiver.is_none());
        let before = db.ask("SELECT count(*) FROM webhooks.events").await;
        let tx = Tx::begin(db.pool()).await.unwrap();
        webhooks::enqueue(&tx, &wanted, vec![event("a", 1), event("b", 1)]).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(db.ask("SELECT count(*) FROM webhooks.events").await - before, events, "{receiver:?}");
    }
}

#[tokio::test]
async fn a_change_is_seen_by_every_copy_and_waits_for_transactions_that_do_not_know_it() {
    let db = database().await;
    let (old, other) = (Receivers::default(), db.pool_of(1));
    let tx = Tx::begin(&other).await.unwrap();
    assert!(old.wanted(tx.shared()).await.unwrap().is_empty());
    let configure = async || {
        let set =
            async |tx: &mut Tx| webhooks::configure(tx, &testkit::clock(), "tests", Some(&EVERYTHING)).await;
        Tx::run(db.pool(), set).await
    };
    assert!(matches!(configure().await, Err(pg::DbError::LockTimeout(_))));
    assert_eq!(db.ask("SELECT count(*) FROM webhooks.receivers").await, 0);
    tx.commit().await.unwrap();
    assert!(configure().await.unwrap());
    let tx = Tx::begin(&other).await.unwrap();
    assert!(!old.wanted(tx.shared()).await.unwrap().is_empty());
    tx.commit().await.unwrap();
    // The same again is no change; another wish ends the one before.
    let again = async |receiver: &Receiver| {
        let tx =
            async |tx: &mut Tx| webhooks::configure(tx, &testkit::clock(), "tests", Some(receiver)).await;
        Tx::run(db.pool(), tx).await.unwrap()
    };
    assert!(!again(&EVERYTHING).await);
    assert!(again(&Receiver { only_user_id: Some(testkit::user("a")), event_types: None }).await);
    assert!(!again(&Receiver { only_user_id: Some(testkit::user("a")), event_types: None }).await);
    assert_eq!(db.ask("SELECT count(*) FROM webhooks.receivers WHERE wanted_until IS NULL").await, 1);
    assert_eq!(db.ask("SELECT count(*) FROM webhooks.receivers").await, 2);
}

#[tokio::test]
async fn nobody_wants_anything_only_if_that_is_known_and_there_is_no_receiver_at_all() {
    let db = database().await;
    let receivers = Receivers::default();
    let none_of = async |receiver: Option<Receiver>| {
        Tx::run(db.pool(), async |tx| {
            webhooks::configure(tx, &testkit::clock(), "tests", receiver.as_ref()).await?;
            receivers.wanted(tx.shared()).await
        })
        .await
        .unwrap();
        let stamp = format!("SELECT {}::text", webhooks::STAMP);
        let stamp = testkit::ask_texts(&mut *db.connect().await, &stamp).await.unwrap().remove(0);
        receivers.none().map(|none| none.to_string() == stamp)
    };
    assert_eq!(receivers.none(), None);
    assert_eq!(none_of(None).await, Some(true));
    assert_eq!(
        none_of(Some(Receiver { only_user_id: Some(testkit::user("a")), event_types: None })).await,
        None
    );
    assert_eq!(none_of(Some(EVERYTHING)).await, None);
    assert_eq!(none_of(None).await, Some(true));
}
