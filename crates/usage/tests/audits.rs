//! The audits find what they are for.

use diesel_async::SimpleAsyncConnection;
use testkit::{clock, user};

use crate::support::{database, event, record};

#[tokio::test]
async fn each_audit_finds_what_breaks_its_rule() {
    let mut db = database().await;
    db.forgo_audits();
    record(&db, &clock(), &[event(&user("a")), event(&user("b"))]).await;
    let mut conn = db.pool().get().await.unwrap();
    assert_eq!(pg::audit::run(&mut conn, usage::AUDITS).await.unwrap(), []);
    conn.batch_execute(
        "INSERT INTO usage.records (id, user_id, occurred_at, recorded_at, event_type, tokens_used, prompt_tokens,
                                    completion_tokens, credits_charged, cost_usd, calculation_method)
         VALUES (1, 'c', now(), now(), 'twice', 0, 0, 0, 0, 0, 'unknown'),
                (99, 'c', now(), now(), 'never drawn', 0, 0, 0, 0, 0, 'unknown'),
                (nextval('usage.record_ids'), 'c', now() + interval '5 minutes 1 second', now(), 'too early',
                 0, 0, 0, 0, 0, 'unknown'),
                (nextval('usage.record_ids'), 'c', now(), now(), 'too many', 0, 1000000000001, 0, 0, 0, 'unknown')",
    )
    .await
    .unwrap();
    let found = pg::audit::run(&mut conn, usage::AUDITS).await.unwrap();
    let rules: Vec<&str> = found.iter().map(|violation| violation.rule).collect();
    let expected: Vec<&str> = usage::AUDITS.iter().map(|audit| audit.rule).collect();
    assert_eq!(rules, expected);
}
