//! The audits find what they are for.

use diesel_async::SimpleAsyncConnection;
use testkit::{clock, user};
use usage::UsageInput;

use crate::support::{Correction, correct, database, event, record};

/// Statements that break one rule each, in the order of the audits, and the number of further rules they break.
const BREAKS: [&str; 19] = [
    "INSERT INTO usage.records (id, user_id, occurred_at, recorded_at, event_type, tokens_used, prompt_tokens,
                                completion_tokens, credits_charged, cost_usd, calculation_method, size_bytes)
     VALUES (1, 'c', now(), now(), 'twice', 0, 0, 0, 0, 0, 'unknown', 12)",
    "INSERT INTO usage.records (id, user_id, occurred_at, recorded_at, event_type, tokens_used, prompt_tokens,
                                completion_tokens, credits_charged, cost_usd, calculation_method, size_bytes)
     VALUES (99, 'c', now(), now(), 'never drawn', 0, 0, 0, 0, 0, 'unknown', 18)",
    "UPDATE usage.records SET recorded_at = occurred_at - interval '5 minutes 1 second' WHERE id = 1",
    "UPDATE usage.records SET prompt_tokens = 1000000000001 WHERE id = 1",
    "UPDATE usage.records SET size_bytes = size_bytes + 1 WHERE id = 1",
    "UPDATE usage.rollups_15m SET tokens_used = tokens_used + 1 WHERE user_id = 'a'",
    "DELETE FROM usage.rollup_deltas",
    "INSERT INTO usage.rollups_all_hours
     SELECT 4, '2026-01-15 12:00:00+00', 'x', '', '', '', 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0",
    "DELETE FROM usage.presence_deltas WHERE user_id = 'b'",
    "INSERT INTO usage.presence SELECT 4, '2026-01-15 12:00:00+00', 'x', '', '', '', 0, 1::bit(1024)",
    "UPDATE usage.records SET price_id = 7, quantities = '{\"input\": 1}' WHERE id = 1",
    "UPDATE usage.records SET event_id = 'e1' WHERE user_id = 'b'",
    "UPDATE usage.dedupe SET record_id = record_id + 1",
    "UPDATE usage.dedupe SET event_id = 'other' WHERE event_id = 'e1'",
    "UPDATE usage.records SET provider = 'other' WHERE correction_of IS NOT NULL",
    "INSERT INTO usage.prices (provider, model, valid_from, source, actor, created_at)
     VALUES ('openai', 'without a rate', now(), 'test', 'admin', now())",
    "WITH late AS (
         INSERT INTO usage.prices (provider, model, valid_from, source, actor, created_at)
         VALUES ('openai', 'late', now() - interval '1 microsecond', 'test', 'admin', now()) RETURNING id)
     INSERT INTO usage.price_rates SELECT id, 'input', 1, 1 FROM late",
    "INSERT INTO usage.model_aliases VALUES ('', 'short', 'openai', 'without a price', 'test', now())",
    "DELETE FROM usage.price_book",
];

#[tokio::test]
async fn each_audit_finds_what_breaks_its_rule() {
    assert_eq!(BREAKS.len(), usage::AUDITS.len());
    for (audit, sql) in usage::AUDITS.iter().zip(BREAKS) {
        let mut db = database().await;
        db.forgo_audits();
        let named = UsageInput { event_id: Some("e1".to_owned()), ..UsageInput::new(user("a"), "ai_chat") };
        let stored = record(&db, &clock(), &[named.complete(), event(&user("b")), event(&user("b"))]).await;
        let correction = Correction {
            user_id: user("a"),
            record_id: stored[0].id,
            reason: "wrong".to_owned(),
            replacement: None,
        };
        correct(&db, &clock(), &correction).await.unwrap();
        let mut conn = db.pool().get().await.unwrap();
        assert_eq!(pg::audit::run(&mut conn, usage::AUDITS).await.unwrap(), []);
        conn.batch_execute(sql).await.unwrap();
        let found = pg::audit::run(&mut conn, usage::AUDITS).await.unwrap();
        assert!(
            found.iter().any(|violation| violation.rule == audit.rule),
            "{} is not found: {found:?}",
            audit.rule
        );
    }
}
