//! What `gateway ledger verify` finds of usage and its charges.

use testkit::TestDb;

use crate::{
    database,
    metering::{call, metered, put_price},
    operations::{signed_up, writes},
};

/// The rules that `flows::verify` finds broken, with the user and the entry of each.
async fn drifts(db: &TestDb) -> Vec<(String, Option<String>, Option<i64>)> {
    let mut verification = flows::verify::Verification::default();
    while verification.advance(db.pool()).await.unwrap() {}
    let found = verification.report().violations.into_iter();
    found.map(|one| (one.rule[..one.rule.find(':').unwrap()].to_owned(), one.user_id, one.seq)).collect()
}

#[tokio::test]
async fn the_audit_names_a_charge_without_its_record_and_one_of_another_amount() {
    let (mut db, clock) = (database().await, testkit::clock());
    put_price(&db, &clock).await;
    for name in ["a", "b", "c"] {
        signed_up(&db, &clock, name, "100").await;
    }
    let writes = writes(&db, &clock);
    for name in ["a", "b", "c"] {
        metered(&writes, call(name)).await;
    }
    assert_eq!(drifts(&db).await, []);
    db.forgo_audits();
    let mut conn = db.connect().await;
    let damage = async |conn: &mut pg::PgConnection, sql: &str| {
        diesel_async::SimpleAsyncConnection::batch_execute(conn, sql).await.unwrap();
    };
    let found = |rule: &str, user: &str, seq| (rule.to_owned(), Some(user.to_owned()), seq);
    // Each with the roll-ups that belong to it, so that only the rule in question is broken.
    damage(
        &mut conn,
        "UPDATE usage.records SET charge_seq = NULL, charge_transaction = NULL WHERE user_id = 'a'; \
         UPDATE usage.rollups_15m SET credits_deducted = 0 WHERE user_id = 'a'; \
         UPDATE usage.rollup_deltas SET credits_deducted = 0 WHERE id = (SELECT min(id) FROM usage.rollup_deltas)",
    )
    .await;
    assert_eq!(drifts(&db).await, [found("flows U2", "a", Some(2))]);
    damage(
        &mut conn,
        "UPDATE usage.records SET charge_transaction = gen_random_uuid() WHERE user_id = 'c'; \
         UPDATE usage.records SET quantities = '{\"input\": 801, \"output\": 450}' WHERE user_id = 'b'",
    )
    .await;
    assert_eq!(
        drifts(&db).await,
        [found("usage U5", "b", None), found("flows U2", "a", Some(2)), found("flows U2", "c", Some(2)),]
    );
}
