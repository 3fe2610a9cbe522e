//! Recording, one by one and in batches.

use kernel::{Clock, Credits, FreeForm, Usd};
use pg::{DbError, Tx};
use testkit::{clock, user};
use time::Duration;
use usage::{NewRecord, Record, RecordFilter, TOKENS_MAX, UsageInput};

use crate::support::{all, database, event, page, record, try_record};

fn full() -> NewRecord {
    UsageInput {
        endpoint: Some("/api/chat/completion".to_owned()),
        session_id: Some("sess_abc123def456".to_owned()),
        trace_id: Some("trace_xyz789abc".to_owned()),
        model_name: Some("gpt-4".to_owned()),
        provider: Some("openai".to_owned()),
        tool_name: Some("chat_service".to_owned()),
        operation_name: Some("generate_response \"é\" \\ , {} NULL".to_owned()),
        credits_charged: Some("5.5".parse().unwrap()),
        cost_usd: Some("0.011".parse().unwrap()),
        calculation_method: Some("gpt4_pricing".to_owned()),
        tokens_used: Some(1250),
        prompt_tokens: Some(800),
        completion_tokens: Some(450),
        billing_metadata: Some(FreeForm::object(r#"{"n": 1.10, "big": 12345678901234567890123}"#).unwrap()),
        request_data: Some(FreeForm::object(r#"{"prompt": ["é", "\"", null]}"#).unwrap()),
        response_data: Some(FreeForm::object("{ }").unwrap()),
        ..UsageInput::new(user("auth0|a"), "ai_chat")
    }
    .complete()
}

/// Events that differ in everything that may be absent.
fn mixed() -> Vec<NewRecord> {
    let bare = UsageInput::new(user("b"), "api_call");
    let most = UsageInput {
        credits_charged: Some(Credits::MAX),
        cost_usd: Some(Usd::MAX),
        prompt_tokens: Some(TOKENS_MAX),
        completion_tokens: Some(TOKENS_MAX),
        ..UsageInput::new(user("auth0|a"), "")
    };
    vec![full(), bare.complete(), event(&user("auth0|a")), most.complete(), full()]
}

#[tokio::test]
async fn what_is_read_back_is_what_was_answered() {
    let db = database().await;
    let stored = record(&db, &clock(), &[full()]).await;
    let read = page(&db, &user("auth0|a"), &RecordFilter::default(), &kernel::Page::first(1)).await.items;
    // jsonb writes with a space behind colon and comma, shorter members first, and keeps digits.
    let expected = Record {
        billing_metadata: FreeForm::object(r#"{"n": 1.10, "big": 12345678901234567890123}"#).unwrap(),
        response_data: FreeForm::empty(),
        ..stored[0].clone()
    };
    assert_eq!(read, [expected]);
    assert_eq!(read[0].occurred_at, clock().now());
}

#[tokio::test]
async fn a_batch_is_what_one_by_one_is() {
    let (batch, single) = (database().await, database().await);
    let at_once = record(&batch, &clock(), &mixed()).await;
    let mut one_by_one = Vec::new();
    for one in mixed() {
        one_by_one.extend(record(&single, &clock(), &[one]).await);
    }
    assert_eq!(at_once, one_by_one);
    for name in ["auth0|a", "b"] {
        let filter = RecordFilter::default();
        let listed = all(&batch, &user(name), &filter, 2).await;
        assert_eq!(listed, all(&single, &user(name), &filter, 2).await);
        assert_eq!(
            crate::support::stats(&batch, &user(name), &filter).await,
            crate::support::stats(&single, &user(name), &filter).await
        );
        let mut order: Vec<i64> =
            at_once.iter().filter(|one| one.user_id == user(name)).map(|one| one.id).collect();
        order.reverse();
        assert_eq!(listed.iter().map(|one| one.id).collect::<Vec<_>>(), order);
    }
}

#[tokio::test]
async fn ids_rise_in_the_order_of_a_large_batch() {
    let db = database().await;
    let new: Vec<NewRecord> =
        (0..1_000).map(|n| NewRecord { tokens_used: n, ..event(&user(&format!("u{}", n % 7))) }).collect();
    let stored = record(&db, &clock(), &new).await;
    assert!(stored.is_sorted_by(|one, next| one.id < next.id));
    assert!(stored.iter().zip(&new).all(|(one, given)| one.tokens_used == given.tokens_used));
    let listed = all(&db, &user("u3"), &RecordFilter::default(), 100).await;
    assert!(listed.iter().all(|one| stored.iter().any(|answered| answered == one)));
    assert_eq!(listed.len(), 143);
}

#[tokio::test]
async fn nothing_is_recorded_without_commit_or_without_events() {
    let db = database().await;
    let mut tx = Tx::begin(db.pool()).await.unwrap();
    assert_eq!(usage::record(&mut tx, &clock(), &[]).await.unwrap(), []);
    usage::record(&mut tx, &clock(), &mixed()).await.unwrap();
    tx.rollback().await;
    assert_eq!(all(&db, &user("auth0|a"), &RecordFilter::default(), 10).await, []);
}

#[tokio::test]
async fn what_the_rules_never_make_is_refused_by_the_table() {
    let db = database().await;
    let fine = event(&user("a"));
    for (broken, name) in [
        (NewRecord { prompt_tokens: -1, ..fine.clone() }, "records_counts"),
        (NewRecord { credits_charged: Credits::from_micro(-1), ..fine.clone() }, "records_amounts"),
        (NewRecord { cost_usd: Usd::from_nano(-1), ..fine.clone() }, "records_amounts"),
        (NewRecord { model_name: Some(String::new()), ..fine.clone() }, "records_dimensions"),
    ] {
        let refused = try_record(db.pool(), &clock(), &[fine.clone(), broken]).await;
        assert!(
            matches!(&refused, Err(DbError::Constraint { constraint, .. }) if constraint == name),
            "{refused:?}"
        );
    }
    assert_eq!(all(&db, &user("a"), &RecordFilter::default(), 10).await, []);
}

#[tokio::test]
async fn recording_from_many_connections_loses_nothing() {
    let db = database().await;
    let clock = clock();
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let (pool, clock) = (db.pool().clone(), clock.clone());
            tokio::spawn(async move {
                for _ in 0..10 {
                    clock.advance(Duration::MICROSECOND);
                    let new = [event(&user("a")), event(&user("b"))];
                    try_record(&pool, &clock, &new).await.unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    for name in ["a", "b"] {
        assert_eq!(all(&db, &user(name), &RecordFilter::default(), 500).await.len(), 80);
    }
}
