//! The audit log of the ledger: in the transaction of the change, and only of changes.

use credits::{Action, ReferenceScope};
use flows::{Audited, CallerCheck};
use identity::audit::{self, AuditActor, AuditFilter, AuditOrigin};
use kernel::{IdempotencyKey, Page};
use testkit::TestDb;

use crate::{
    database,
    operations::{consume, signed_up, writes},
};

fn staff() -> Option<Audited> {
    Some(Audited { actor: AuditActor::Key("k".into()), origin: AuditOrigin::default() })
}

fn recharge(reference_id: &str, description: &str) -> credits::Command {
    credits::Command {
        action: Action::Recharge {
            amount: "5".parse().unwrap(),
            reference_id: Some(reference_id.to_owned()),
            scope: ReferenceScope::User,
        },
        description: Some(description.to_owned()),
        ..consume(testkit::user("a"), "1")
    }
}

async fn references(db: &TestDb) -> Vec<String> {
    let mut conn = db.connect().await;
    let found = audit::list(&mut conn, &AuditFilter::default(), &Page::first(500)).await.unwrap().items;
    let mut references: Vec<String> = found
        .iter()
        .map(|event| {
            let details: serde_json::Value = serde_json::from_str(event.details.as_json()).unwrap();
            details["reference_id"].as_str().unwrap().to_owned()
        })
        .collect();
    references.sort();
    references
}

#[tokio::test]
async fn operations_that_share_a_commit_are_told_one_by_one_and_those_that_fail_are_not() {
    let (db, clock) = (database().await, testkit::clock());
    signed_up(&db, &clock, "a", "10").await;
    let writes = writes(&db, &clock);
    let run = |command, key: Option<&str>| {
        let key = key.map(|key| IdempotencyKey::new(key, [1; 32]).unwrap());
        writes.audited_ledger(command, key, CallerCheck::Done, staff())
    };
    // The third repeats the second by its reference, the fifth the fourth by its key; one is refused, and one cannot be stored.
    let (first, second, same, keyed, repeat, refused, poison, charge) = tokio::join!(
        run(recharge("one", ""), None),
        run(recharge("two", ""), None),
        run(recharge("two", ""), None),
        run(recharge("three", ""), Some("k")),
        run(recharge("three", ""), Some("k")),
        run(
            credits::Command {
                action: Action::Refund {
                    transaction_id: uuid::Uuid::nil(),
                    amount: None,
                    reason: String::new()
                },
                ..recharge("", "")
            },
            None
        ),
        run(recharge("four", "a\0b"), None),
        run(consume(testkit::user("a"), "1"), None),
    );
    for done in [first, second, same, keyed, repeat, charge] {
        assert!(done.unwrap().unwrap().result.is_ok());
    }
    assert!(refused.unwrap().unwrap().result.is_err());
    assert_eq!(poison.unwrap_err(), pg::Rejected::Failed);
    assert_eq!(references(&db).await, ["one", "three", "two"]);
    // Without a caller there is no event.
    writes.ledger(recharge("five", ""), None, CallerCheck::Done).await.unwrap().unwrap().result.unwrap();
    assert_eq!(references(&db).await.len(), 3);
}
