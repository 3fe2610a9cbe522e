//! The traits of the domains, as a sibling service in the same process uses them.

use std::{collections::BTreeSet, sync::Arc};

use credits::{
    Change, GrantFilter, HoldFilter, HoldMode, HoldStatus, Ledger, LedgerError, NewGrant, NewGrantKind,
    Refusal, Request, TransactionFilter,
};
use flows::LocalClient;
use kernel::{CallError, Credits, Failure as _, ManualClock, Page, RandomIds};
use pg::Pool;
use testkit::{TestDb, user};
use time::Duration;
use usage::{
    Correction, Meter, RecordFilter, Replay, Selection, SeriesQuery, Unit, UsageInput, UsageRefusal, Zone,
};

use crate::{
    database,
    operations::{signed_up, writes},
};

fn client(db: &TestDb, pool: Pool, clock: &ManualClock) -> LocalClient {
    LocalClient::new(writes(db, clock), pool, Arc::new(clock.clone()), Arc::new(RandomIds))
}

fn amount(text: &str) -> Credits {
    text.parse().unwrap()
}

fn consume(text: &str) -> Change {
    Change::Consume { amount: amount(text), usage_record_id: None }
}

async fn changes_and_lists(ledger: &impl Ledger) {
    let request = || Request::new(user("a"));
    let keyed = |key: &str| request().with_key(key);
    let charged = ledger.change(keyed("k"), consume("10")).await.unwrap();
    let again = ledger.change(keyed("k"), consume("10")).await.unwrap();
    assert_eq!(again, charged);
    let other = ledger.change(keyed("k"), consume("11")).await.unwrap_err();
    assert_eq!(other.code(), "IdempotencyConflictException");
    let invalid = ledger.change(keyed(""), consume("1")).await;
    assert!(matches!(invalid, Err(LedgerError::InvalidKey(_))));
    let poor = ledger.change(request(), consume("1000")).await.unwrap_err();
    assert_eq!(poor.code(), "InsufficientCreditsException");

    let recharge = Change::Recharge { amount: amount("5"), reference_id: Some("pi_1".to_owned()) };
    ledger.change(keyed("k1"), recharge.clone()).await.unwrap();
    assert!(ledger.change(request(), recharge).await.unwrap().replayed);
    let grant = Change::Grant(NewGrant::new(NewGrantKind::Promo, amount("2")));
    ledger.change(keyed("k2"), grant).await.unwrap();
    let hold = || Change::Hold { amount: amount("20"), mode: HoldMode::Exact, ttl: Duration::HOUR };
    let first = ledger.change(keyed("k3"), hold()).await.unwrap().hold.unwrap();
    let second = ledger.change(keyed("k4"), hold()).await.unwrap().hold.unwrap();
    let capture = Change::Capture { hold_id: first.hold_id, amount: Some(amount("3")) };
    ledger.change(keyed("k5"), capture).await.unwrap();
    ledger.change(keyed("k6"), Change::Release { hold_id: second.hold_id }).await.unwrap();
    let transaction_id = charged.entry.unwrap().transaction_id;
    let refund = Change::Refund { transaction_id, amount: Some(amount("4")), reason: "late".to_owned() };
    let refunded = ledger.change(keyed("k7"), refund).await.unwrap();
    // 100 - 10 + 5 + 2 - 3 + 4
    assert_eq!(refunded.balance.posted, amount("98"));

    assert_eq!(ledger.account(&user("a")).await.unwrap().balance, refunded.balance);
    let unknown = ledger.account(&user("nobody")).await;
    assert!(matches!(unknown, Err(CallError::Refused(Refusal::UserNotFound { .. }))));
    let unknown = ledger.change(Request::new(user("nobody")), consume("1")).await;
    assert!(matches!(unknown, Err(CallError::Refused(Refusal::UserNotFound { .. }))));
    let holds = ledger.holds(&user("a"), HoldFilter::All, &Page::first(9)).await.unwrap();
    let statuses: Vec<_> = holds.items.iter().map(|hold| hold.status).collect();
    assert_eq!(statuses, [HoldStatus::Released, HoldStatus::Captured]);
    let grants = ledger.grants(&user("a"), GrantFilter::default(), &Page::first(9)).await.unwrap();
    assert_eq!(grants.items.len(), 3);
    let filter = TransactionFilter::default();
    let entries = ledger.transactions(&user("a"), &filter, &Page::first(20)).await.unwrap();
    assert_eq!(entries.items.len(), 6);
}

async fn records_and_sums(meter: &impl Meter) {
    let call = |id: &str| UsageInput {
        event_id: Some(id.to_owned()),
        credits_charged: Some(amount("1.5")),
        ..UsageInput::new(user("a"), "ai_chat")
    };
    let first = meter.record(call("e1")).await.unwrap();
    let again = meter.record(call("e1")).await.unwrap();
    assert_eq!((again.record, again.replay), (first.record.clone(), Replay::ByEvent));
    let other = UsageInput { tokens_used: Some(1), ..call("e1") };
    let refused = meter.record(other).await.unwrap_err();
    assert_eq!(refused.code(), "UsageConflictException");
    let several = UsageInput { cached_prompt_tokens: Some(1), ..call("e2") };
    let unknown = UsageInput { user_id: user("nobody"), ..call("e1") };
    let outcomes = meter.record_all(vec![call("e3"), several, unknown.clone(), call("e4")]).await;
    let codes: Vec<_> =
        outcomes.iter().map(|outcome| outcome.as_ref().map_or_else(|error| error.code(), |_| "")).collect();
    assert_eq!(codes, ["", "ValidationException", "UserNotFoundException", ""]);
    assert_eq!(meter.record(unknown).await.unwrap_err().code(), "UserNotFoundException");
    let all = RecordFilter::default();
    assert_eq!(meter.list(&user("a"), &all, &Page::first(9)).await.unwrap().items.len(), 3);
    let stats = meter.stats(&user("a"), &all).await.unwrap();
    assert_eq!((stats.total_records, stats.total_credits_charged.to_string()), (3, "4.5".to_owned()));
    let at = first.record.occurred_at;
    let query = SeriesQuery {
        start: at - Duration::DAY,
        end: at + Duration::DAY,
        unit: Unit::Day,
        zone: Zone::utc(),
        only: Selection::default(),
        group_by: BTreeSet::new(),
    };
    assert_eq!(meter.series(&user("a"), &query).await.unwrap().lines.len(), 1);
    let correction = Correction {
        user_id: user("a"),
        record_id: first.record.id,
        reason: "wrong".to_owned(),
        replacement: Some(call("e5")),
    };
    let corrected = meter.correct(correction.clone()).await.unwrap();
    assert_eq!(corrected.correction.correction_of, Some(first.record.id));
    assert_eq!(corrected.replacement.unwrap().event_id.as_deref(), Some("e5"));
    let twice = meter.correct(correction).await;
    assert!(matches!(twice, Err(CallError::Refused(UsageRefusal::AlreadyCorrected { .. }))));
}

#[tokio::test]
async fn the_traits_do_what_the_service_does() {
    let (db, clock) = (database().await, testkit::clock());
    signed_up(&db, &clock, "a", "100").await;
    let client = client(&db, db.pool().clone(), &clock);
    changes_and_lists(&client).await;
    records_and_sums(&client).await;
    let mut conn = db.connect().await;
    let events = webhooks::newest(&mut conn, &user("a"), 20).await.unwrap();
    assert!(events.iter().any(|event| event.event_type == "credit_consumed"), "{events:?}");
}

#[tokio::test]
async fn without_a_database_nothing_was_done() {
    let (db, clock) = (database().await, testkit::clock());
    signed_up(&db, &clock, "a", "100").await;
    let pool = db.second_pool();
    pool.close();
    let writes = flows::Writes::start(pool.clone(), Arc::new(clock.clone()), credits::Defaults::default());
    let gone = LocalClient::new(writes, pool, Arc::new(clock.clone()), Arc::new(RandomIds));
    let refused = gone.change(Request::new(user("a")), consume("1")).await;
    assert!(matches!(refused, Err(CallError::Unavailable(_))), "{refused:?}");
    let refused = gone.record(UsageInput::new(user("a"), "ai_chat")).await;
    assert!(matches!(refused, Err(CallError::Unavailable(_))), "{refused:?}");
    let refused = gone.stats(&user("a"), &RecordFilter::default()).await;
    assert!(matches!(refused, Err(CallError::Unavailable(_))), "{refused:?}");
    let live = client(&db, db.pool().clone(), &clock);
    assert_eq!(live.account(&user("a")).await.unwrap().balance.posted, amount("100"));
}
