//! The outbox on a real database.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

use kernel::Clock as _;
use pg::Tx;
use testkit::TestDb;
use webhooks::{BalanceChange, EventKind, NewEvent};

async fn database() -> TestDb {
    TestDb::create(&[webhooks::MIGRATIONS], &[webhooks::AUDITS]).await
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
    let tx = Tx::begin(db.pool()).await.unwrap();
    let batch: Vec<NewEvent> =
        (1..=50).map(|number| event(if number % 2 == 0 { "a" } else { "b" }, number)).collect();
    webhooks::enqueue(&tx, &batch).await.unwrap();
    tx.commit().await.unwrap();
    let tx = Tx::begin(db.pool()).await.unwrap();
    webhooks::enqueue(&tx, &[event("a", 99)]).await.unwrap();
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
    let tx = Tx::begin(db.pool()).await.unwrap();
    webhooks::enqueue(&tx, &[]).await.unwrap();
    tx.commit().await.unwrap();
}
