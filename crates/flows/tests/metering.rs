//! Usage that is charged: record, charge and event are one commit, or there is none of them.

use std::collections::BTreeMap;

use credits::{Payer, Refusal};
use flows::{
    CallerCheck, CommandRefusal, MeterRefusal, Recorded, Replay, UsageCommand, UsageOutcome, Writes,
};
use kernel::{Actor, Clock as _, Credits, IdempotencyKey, Ids as _, ManualClock, Page, RandomIds, UserId};
use pg::Tx;
use testkit::TestDb;
use time::Duration;
use tokio::task::JoinSet;
use usage::{
    NewPrice, Offer, RecordFilter, UsageInput, UsageRefusal,
    rating::{Key, Rate, TokenClass},
};
use uuid::Uuid;

use crate::{
    database,
    operations::{consume, run, run_under, signed_up, uncharged, writes},
};

/// A call that states what it costs.
fn worth(name: &str, amount: &str) -> UsageCommand {
    let mut used = charged(UsageInput::new(testkit::user(name), "ai_chat"));
    used.input.credits_charged = Some(amount.parse().unwrap());
    used
}

/// A call whose model has a price, if anyone put one.
pub fn call(name: &str) -> UsageCommand {
    charged(UsageInput {
        model_name: Some("gpt-4".to_owned()),
        provider: Some("openai".to_owned()),
        prompt_tokens: Some(800),
        completion_tokens: Some(450),
        ..UsageInput::new(testkit::user(name), "ai_chat")
    })
}

fn charged(input: UsageInput) -> UsageCommand {
    UsageCommand { from: Some(Payer::Available), ..uncharged(input) }
}

fn event(metered: UsageCommand, id: &str) -> UsageCommand {
    let mut metered = metered;
    metered.input.event_id = Some(id.to_owned());
    metered
}

fn keyed(metered: UsageCommand, key: &str, asked: u8) -> UsageCommand {
    UsageCommand { idempotency: Some(IdempotencyKey::new(key, [asked; 32]).unwrap()), ..metered }
}

async fn meter(writes: &Writes, metered: UsageCommand) -> UsageOutcome {
    writes.usage(metered, CallerCheck::Done).await.unwrap().unwrap()
}

pub async fn metered(writes: &Writes, metered: UsageCommand) -> Recorded {
    meter(writes, metered).await.result.unwrap()
}

/// Prices of gpt-4: 1,500 and 4,500 credits for a million tokens in and out, from now on.
pub async fn put_price(db: &TestDb, clock: &ManualClock) {
    let rate = |charge_pico| Rate { charge_pico, cost_pico: 30_000_000 };
    let rates =
        BTreeMap::from([(TokenClass::Input, rate(1_500_000_000)), (TokenClass::Output, rate(4_500_000_000))]);
    let price = NewPrice {
        key: Key { provider: "openai".to_owned(), model: "gpt-4".to_owned(), service_tier: String::new() },
        min_context: 0,
        valid_from: None,
        offer: Offer::Rates(rates),
        source: "a test".to_owned(),
    };
    let mut tx = Tx::begin(db.pool()).await.unwrap();
    let put = usage::prices::put(&mut tx, clock, Actor::Admin, &[price]).await;
    assert!(put.unwrap().is_ok());
    tx.commit().await.unwrap();
}

async fn records_of(db: &TestDb, user: &UserId) -> Vec<usage::Record> {
    let mut conn = db.pool().get().await.unwrap();
    let all = usage::list(&mut conn, user, &RecordFilter::default(), &Page::first(500)).await;
    all.unwrap().items
}

async fn left(db: &TestDb, clock: &ManualClock, user: &UserId) -> (String, String) {
    let mut conn = db.pool().get().await.unwrap();
    let account = credits::account(&mut conn, clock, user).await.unwrap().unwrap();
    (account.balance.posted.to_string(), account.balance.held.to_string())
}

async fn hold(writes: &Writes, user: &UserId, amount: &str) -> Uuid {
    let hold_id = RandomIds.uuid();
    let request = credits::Command {
        action: credits::Action::Hold {
            hold_id,
            amount: amount.parse().unwrap(),
            mode: credits::HoldMode::Exact,
            ttl: Duration::HOUR,
        },
        ..consume(user.clone(), "1")
    };
    assert!(run(writes, request).await.result.is_ok());
    hold_id
}

#[tokio::test]
async fn a_charge_and_its_record_name_one_another() {
    let (db, clock, user) = (database().await, testkit::clock(), testkit::user("a"));
    signed_up(&db, &clock, "a", "100").await;
    put_price(&db, &clock).await;
    let writes = writes(&db, &clock);
    let stated = metered(&writes, worth("a", "5.5")).await;
    let priced = metered(&writes, call("a")).await;
    assert_eq!(stated.record.credits_charged.to_string(), "5.5");
    assert_eq!(stated.record.calculation_method, usage::UNKNOWN);
    // 800 x 0.0015 + 450 x 0.0045
    assert_eq!(priced.record.credits_charged.to_string(), "3.225");
    assert_eq!(priced.record.cost_usd.to_string(), "0.0375");
    assert_eq!(priced.record.calculation_method, usage::PRICE_LIST);
    assert_eq!(priced.balance.unwrap().posted.to_string(), "91.275");
    let mut stored = records_of(&db, &user).await;
    stored.reverse();
    assert_eq!(stored, [stated.record.clone(), priced.record.clone()]);
    let mut conn = db.pool().get().await.unwrap();
    for record in &stored {
        let transaction = record.charge.unwrap().transaction_id;
        let name = credits::TransactionName::Transaction(transaction);
        let entry = credits::find_transaction(&mut conn, &user, name).await.unwrap().unwrap();
        assert_eq!((entry.usage_record_id, entry.amount), (Some(record.id), record.credits_charged));
    }
    let events = webhooks::newest(&mut conn, &user, 2).await.unwrap();
    assert!(events.iter().all(|event| event.event_type == "credit_consumed"));
}

#[tokio::test]
async fn a_refused_charge_records_nothing() {
    let (db, clock, user) = (database().await, testkit::clock(), testkit::user("a"));
    signed_up(&db, &clock, "a", "5").await;
    let writes = writes(&db, &clock);
    let refused = meter(&writes, event(worth("a", "5.000001"), "e1")).await;
    assert!(matches!(refused.result, Err(MeterRefusal::Ledger(Refusal::InsufficientCredits { .. }))));
    let unpriced = meter(&writes, event(call("a"), "e2")).await;
    assert_eq!(
        unpriced.result,
        Err(MeterRefusal::Usage(UsageRefusal::PriceNotFound {
            provider: Some("openai".to_owned()),
            model_name: Some("gpt-4".to_owned()),
            token_class: None,
        }))
    );
    // Not even an amount of nothing is guessed.
    let unclear = charged(UsageInput::new(user.clone(), "ai_chat"));
    assert!(matches!(
        meter(&writes, unclear).await.result,
        Err(MeterRefusal::Usage(UsageRefusal::PriceNotFound { .. }))
    ));
    let stranger = meter(&writes, worth("stranger", "1")).await;
    assert!(matches!(stranger.result, Err(MeterRefusal::Ledger(Refusal::UserNotFound { .. }))));
    assert!(records_of(&db, &user).await.is_empty());
    assert_eq!(left(&db, &clock, &user).await.0, "5.0");
    // Their events are not used up.
    assert!(metered(&writes, event(worth("a", "5"), "e1")).await.record.charge.is_some());
    let recorded = metered(&writes, uncharged(event(call("a"), "e2").input)).await;
    assert_eq!(recorded.record.calculation_method, usage::UNRATED);
}

#[tokio::test]
async fn a_price_without_a_rate_for_what_was_used_is_no_price() {
    let (db, clock) = (database().await, testkit::clock());
    signed_up(&db, &clock, "a", "100").await;
    put_price(&db, &clock).await;
    let writes = writes(&db, &clock);
    let mut cached = call("a");
    cached.input.cached_prompt_tokens = Some(1);
    let refused = meter(&writes, cached.clone()).await.result.unwrap_err();
    let MeterRefusal::Usage(UsageRefusal::PriceNotFound { token_class, .. }) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(token_class, Some(TokenClass::CacheRead));
    let free = metered(&writes, uncharged(cached.input)).await;
    assert_eq!(free.record.calculation_method, usage::UNRATED);
    let mut more = call("a");
    more.input.cached_prompt_tokens = Some(801);
    assert_eq!(meter(&writes, more).await.result, Err(MeterRefusal::Usage(UsageRefusal::PartExceedsWhole)));
}

#[tokio::test]
async fn nothing_is_charged_for_nothing() {
    let (db, clock, user) = (database().await, testkit::clock(), testkit::user("a"));
    signed_up(&db, &clock, "a", "5").await;
    let writes = writes(&db, &clock);
    let free = metered(&writes, worth("a", "0")).await;
    assert_eq!((free.record.charge, free.record.credits_charged), (None, Credits::ZERO));
    assert_eq!(free.balance.unwrap().posted.to_string(), "5.0");
    // Without a request to charge nothing is deducted, whatever is stated, with a key or without.
    for used in [worth("a", "3"), keyed(worth("a", "3"), "k", 1)] {
        let noted = metered(&writes, UsageCommand { from: None, ..used }).await;
        assert_eq!((noted.record.charge, noted.balance), (None, None));
    }
    assert_eq!(left(&db, &clock, &user).await.0, "5.0");
    assert_eq!(records_of(&db, &user).await.len(), 3);
}

#[tokio::test]
async fn usage_settles_the_hold_that_was_made_for_it() {
    let (db, clock, user) = (database().await, testkit::clock(), testkit::user("a"));
    signed_up(&db, &clock, "a", "100").await;
    let writes = writes(&db, &clock);
    for (amount, charged, uncollected, rest) in [
        ("12.5", true, "0.0", "87.5"),
        ("20", true, "0.0", "67.5"),
        ("0", false, "0.0", "67.5"),
        // The hold and all that is available pay for it, and 2.5 are missing.
        ("70", true, "2.5", "0.0"),
    ] {
        let from = Some(Payer::Hold(hold(&writes, &user, "20").await));
        let used = metered(&writes, UsageCommand { from, ..worth("a", amount) }).await;
        assert_eq!(used.record.credits_charged, amount.parse().unwrap());
        assert_eq!(used.record.charge.is_some(), charged);
        assert_eq!(used.record.credits_uncollected.to_string(), uncollected);
        assert_eq!(left(&db, &clock, &user).await, (rest.to_owned(), "0.0".to_owned()));
        // A hold pays once.
        let again = meter(&writes, UsageCommand { from, ..worth("a", amount) }).await.result;
        assert!(matches!(again, Err(MeterRefusal::Ledger(Refusal::HoldNotOpen { .. }))));
    }
    assert_eq!(records_of(&db, &user).await.len(), 4);
}

#[tokio::test]
async fn an_event_is_charged_once_and_told_again() {
    let (db, clock, user) = (database().await, testkit::clock(), testkit::user("a"));
    signed_up(&db, &clock, "a", "100").await;
    let writes = writes(&db, &clock);
    let first = metered(&writes, event(worth("a", "10"), "e1")).await;
    let again = metered(&writes, event(worth("a", "10"), "e1")).await;
    assert_eq!(again.record, first.record);
    assert_eq!((first.replay, again.replay), (usage::Replay::First, usage::Replay::ByEvent));
    assert_eq!(again.balance.unwrap().posted.to_string(), "90.0");
    // Also when it is only recorded, and with a key of its own.
    let noted = metered(&writes, uncharged(event(worth("a", "10"), "e1").input)).await;
    assert_eq!((noted.record, noted.balance), (first.record.clone(), None));
    let with_key = keyed(event(worth("a", "10"), "e1"), "k", 1);
    for replay in [Replay::First, Replay::ByKey] {
        let told = meter(&writes, with_key.clone()).await;
        assert_eq!(told.replay, replay);
        let told = told.result.unwrap();
        assert_eq!((told.record, told.replay), (first.record.clone(), usage::Replay::ByEvent));
    }
    let conflict =
        |id: &str| Err(MeterRefusal::Usage(UsageRefusal::UsageConflict { event_id: id.to_owned() }));
    let other = meter(&writes, event(worth("a", "11"), "e1")).await.result;
    assert_eq!(other, conflict("e1"));
    // What was only recorded is not charged by sending it again; nobody is told that it was.
    let noted = uncharged(event(worth("a", "3"), "e2").input);
    metered(&writes, noted).await;
    assert_eq!(meter(&writes, event(worth("a", "3"), "e2")).await.result, conflict("e2"));
    // A repeat is known for longer than its time would be accepted.
    let mut timed = event(worth("a", "0"), "e3");
    timed.input.occurred_at = Some(clock.now());
    let early = metered(&writes, timed.clone()).await;
    clock.advance(Duration::days(36));
    assert_eq!(metered(&writes, timed).await.record, early.record);
    assert_eq!(left(&db, &clock, &user).await.0, "90.0");
}

#[tokio::test]
async fn a_key_is_answered_as_the_first_time() {
    let (db, clock, user) = (database().await, testkit::clock(), testkit::user("a"));
    signed_up(&db, &clock, "a", "100").await;
    let writes = writes(&db, &clock);
    let mut first = Vec::new();
    for (nth, used) in requests("a").into_iter().enumerate() {
        let key = format!("k{nth}");
        first.push(meter(&writes, keyed(used, &key, 1)).await);
    }
    // A refusal stays one, also once it could be done.
    put_price(&db, &clock).await;
    let more = credits::Command {
        action: credits::Action::Recharge {
            amount: "1000".parse().unwrap(),
            reference_id: None,
            scope: credits::ReferenceScope::User,
        },
        ..consume(user.clone(), "1")
    };
    assert!(run(&writes, more).await.result.is_ok());
    clock.advance(Duration::MINUTE);
    let (before, count) = (left(&db, &clock, &user).await, records_of(&db, &user).await.len());
    for (nth, used) in requests("a").into_iter().enumerate() {
        let key = format!("k{nth}");
        let again = meter(&writes, keyed(used.clone(), &key, 1)).await;
        assert_eq!((&again.result, again.at), (&first[nth].result, first[nth].at), "{nth}");
        assert_eq!(again.replay, Replay::ByKey);
        let other = meter(&writes, keyed(used, &key, 2)).await.result;
        assert!(matches!(other, Err(MeterRefusal::Key(_))));
    }
    assert_eq!(left(&db, &clock, &user).await, before);
    assert_eq!(records_of(&db, &user).await.len(), count);
    // The key is one of the account: another command cannot have it.
    let spend = run_under(&writes, consume(user.clone(), "1"), "k0", 9).await;
    assert!(matches!(spend.result, Err(CommandRefusal::Key(_))));
    // Long after, what was recorded is still known; what was refused may be tried again.
    clock.advance(Duration::days(8));
    let pruned = flows::pruning::run(db.pool(), &clock, Duration::WEEK).await.unwrap();
    assert_eq!((pruned.successes, pruned.refusals), (3, 3));
    for (nth, used) in requests("a").into_iter().enumerate().take(3) {
        let again = meter(&writes, keyed(used, &format!("k{nth}"), 1)).await;
        let (again, first) = (again.result.unwrap(), first[nth].result.as_ref().unwrap());
        assert_eq!(again.record, first.record);
    }
}

/// Three that are recorded, and three that are refused for what is stored.
fn requests(name: &str) -> [UsageCommand; 6] {
    [
        worth(name, "10"),
        uncharged(worth(name, "1").input),
        event(worth(name, "0"), "e0"),
        worth(name, "95"),
        call(name),
        event(worth(name, "1"), "e0"),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_senders_in_two_processes_charge_each_event_once() {
    let (db, clock, user) = (database().await, testkit::clock(), testkit::user("a"));
    signed_up(&db, &clock, "a", "1000").await;
    let other =
        Writes::start(db.second_pool(), std::sync::Arc::new(clock.clone()), credits::Defaults::default());
    let processes = [writes(&db, &clock), other];
    let mut senders = JoinSet::new();
    for sender in 0..120_usize {
        let writes = processes[sender % 2].clone();
        senders.spawn(async move {
            let id = format!("e{}", sender % 7);
            let used = event(worth("a", "1"), &id);
            // Some only record, which takes no lock of the account: whoever comes first decides whether it is charged.
            let used = if sender % 5 == 0 { uncharged(used.input) } else { used };
            meter(&writes, used).await.result
        });
    }
    let done: Vec<_> = senders.join_all().await;
    let refused = done.iter().filter_map(|one| one.as_ref().err());
    for refusal in refused {
        // What was only recorded first is not charged by sending it again.
        let conflict = matches!(refusal, MeterRefusal::Usage(UsageRefusal::UsageConflict { .. }));
        assert!(conflict, "{refusal:?}");
    }
    let firsts = done.iter().flatten().filter(|one| one.replay == usage::Replay::First).count();
    assert_eq!(firsts, 7);
    let records = records_of(&db, &user).await;
    let paid = records.iter().filter(|record| record.charge.is_some()).count();
    let rest = Credits::from_micro(1_000_000_000 - 1_000_000 * i64::try_from(paid).unwrap());
    assert_eq!((records.len(), left(&db, &clock, &user).await.0), (7, rest.to_string()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_charged_at_once_never_exceeds_what_is_there() {
    let (db, clock, user) = (database().await, testkit::clock(), testkit::user("a"));
    signed_up(&db, &clock, "a", "50").await;
    let writes = writes(&db, &clock);
    let mut callers = JoinSet::new();
    for turn in 0..60 {
        let (writes, user) = (writes.clone(), user.clone());
        callers.spawn(async move {
            match turn % 3 {
                0 => run(&writes, consume(user, "3")).await.result.is_ok(),
                _ => meter(&writes, worth("a", "3")).await.result.is_ok(),
            }
        });
    }
    let done = callers.join_all().await.into_iter().filter(|done| *done).count();
    assert_eq!((done, left(&db, &clock, &user).await.0), (16, "2.0".to_owned()));
    assert!(clock.now() > time::OffsetDateTime::UNIX_EPOCH);
}
