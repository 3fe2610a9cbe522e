//! Random usage, charged in every way: together it ends as one by one, and the sums of usage are those of the ledger.

use std::collections::{BTreeMap, BTreeSet};

use credits::Payer;
use flows::{CallerCheck, Correct, Replacement, UsageCommand, Writes};
use kernel::{Actor, CallerClass, IdempotencyKey, Ids as _, ManualClock, Page, RandomIds, SeededIds, UserId};
use testkit::TestDb;
use usage::{RecordFilter, UsageInput};
use uuid::Uuid;

use crate::{
    database,
    operations::{consume, run, signed_up, uncharged, writes},
};

const USERS: [&str; 3] = ["a", "b", "c"];

/// Numbers that follow from a seed.
struct Choices(SeededIds);

impl Choices {
    fn below(&self, bound: u64) -> u64 {
        (self.0.uuid().as_u64_pair().1 << 2 >> 2) % bound
    }
}

/// Uses of three users, among them repeats of events and keys, conflicts, and more than there is.
fn uses(choices: &Choices, holds: &[Uuid]) -> Vec<UsageCommand> {
    (0..40)
        .map(|_| {
            let user = testkit::user(USERS[choices.below(3) as usize]);
            let mut used = uncharged(UsageInput::new(user, "ai_chat"));
            let micro = i64::try_from(choices.below(4) * 7_500_001).unwrap();
            used.input.credits_charged = Some(kernel::Credits::from_micro(micro));
            used.input.tokens_used = Some(i64::try_from(choices.below(100)).unwrap());
            if choices.below(3) > 0 {
                used.input.event_id = Some(format!("e{}", choices.below(20)));
            }
            used.from = match choices.below(6) {
                0 => None,
                1 => Some(Payer::Hold(holds[choices.below(holds.len() as u64) as usize])),
                2 => Some(Payer::AsFarAsItGoes),
                _ => Some(Payer::Available),
            };
            if choices.below(3) == 0 {
                let asked = [u8::try_from(choices.below(2)).unwrap(); 32];
                let key = format!("k{}", choices.below(10));
                used.idempotency = Some(IdempotencyKey::new(key, asked).unwrap());
            }
            used
        })
        .collect()
}

/// Each user has 60 credits, 10 of them held, under the same ids in every database.
async fn opened(db: &TestDb, clock: &ManualClock, holds: &[Uuid]) -> Writes {
    let writes = writes(db, clock);
    for (name, hold_id) in USERS.iter().zip(holds) {
        signed_up(db, clock, name, "60").await;
        let held = credits::Command {
            action: credits::Action::Hold {
                hold_id: *hold_id,
                amount: "10".parse().unwrap(),
                mode: credits::HoldMode::Exact,
                ttl: time::Duration::HOUR,
            },
            ..consume(testkit::user(name), "1")
        };
        assert!(run(&writes, held).await.result.is_ok());
    }
    writes
}

async fn meter(writes: &Writes, used: UsageCommand) -> String {
    let done = writes.usage(used, CallerCheck::Done).await.unwrap().unwrap();
    let told = done.result.map(|recorded| {
        let record = recorded.record;
        (
            recorded.replay,
            record.credits_charged,
            record.credits_uncollected,
            record.charge.map(|charge| charge.seq),
            recorded.balance.map(|balance| balance.posted),
        )
    });
    format!("{:?} {told:?}", done.replay)
}

async fn records_of(db: &TestDb, user: &UserId) -> Vec<usage::Record> {
    let mut conn = db.pool().get().await.unwrap();
    let all = usage::list(&mut conn, user, &RecordFilter::default(), &Page::first(500)).await;
    all.unwrap().items
}

/// What the ledger took for usage and gave back with corrections, in micro-credits.
async fn metered(db: &TestDb, user: &UserId) -> i64 {
    let mut conn = db.pool().get().await.unwrap();
    let filter = credits::TransactionFilter::default();
    let all = credits::transactions(&mut conn, user, &filter, &Page::first(500)).await.unwrap();
    let of = |entry: &credits::Entry| match entry.kind {
        credits::EntryKind::Consume | credits::EntryKind::Capture => entry.amount.micro(),
        credits::EntryKind::Refund => -entry.amount.micro(),
        _ => 0,
    };
    all.items.iter().map(of).sum()
}

#[tokio::test]
async fn together_is_as_one_by_one_and_usage_sums_up_to_what_was_charged() {
    for seed in [1, 2, 3, 4, 5, 6] {
        let choices = Choices(SeededIds::new(seed));
        let (together, single, clock) = (database().await, database().await, testkit::clock());
        let holds: Vec<Uuid> = USERS.iter().map(|_| RandomIds.uuid()).collect();
        let uses = uses(&choices, &holds);
        let writes = opened(&together, &clock, &holds).await;
        let at_once = uses.iter().map(|used| meter(&writes, used.clone()));
        let at_once = futures_util::future::join_all(at_once).await;
        let writes_single = opened(&single, &clock, &holds).await;
        for (nth, used) in uses.iter().enumerate() {
            let alone = meter(&writes_single, used.clone()).await;
            assert_eq!(at_once[nth], alone, "seed {seed}, use {nth}: {used:?}");
        }
        for (db, writes, nth) in [(&together, &writes, 0), (&single, &writes_single, 1)] {
            correct_some(db, writes, seed + nth).await;
            for user in USERS.map(testkit::user) {
                sums_agree(db, &user).await;
            }
        }
    }
}

/// Takes every third record back, all of them together and each twice; half of them have another one in their stead.
async fn correct_some(db: &TestDb, writes: &Writes, seed: u64) {
    let choices = Choices(SeededIds::new(seed));
    let mut corrections = Vec::new();
    for user in USERS.map(testkit::user) {
        for record in records_of(db, &user).await {
            if choices.below(3) > 0 {
                continue;
            }
            let micro = i64::try_from(choices.below(50_000_000)).unwrap();
            let replacement = (choices.below(2) == 0).then(|| Replacement {
                input: UsageInput {
                    credits_charged: Some(kernel::Credits::from_micro(micro)),
                    ..UsageInput::new(user.clone(), "ai_chat")
                },
                is_charged: choices.below(2) == 0,
            });
            for _ in 0..2 {
                let correction = Correct { replacement: replacement.clone(), ..correction(&user, record.id) };
                corrections.push((record.clone(), correction));
            }
        }
    }
    let done = corrections.iter().map(|(_, correction)| writes.correct(db.pool(), correction.clone()));
    let done = futures_util::future::join_all(done).await;
    let mut corrected = BTreeSet::new();
    for (done, (record, correction)) in done.into_iter().zip(&corrections) {
        let id = record.id;
        match done.unwrap().result {
            Ok(done) => {
                assert!(corrected.insert(id), "a record is taken back once");
                assert_eq!(done.correction.correction_of, Some(id));
                assert_eq!(done.refund.is_some(), record.charge.is_some());
                assert_eq!(done.replacement.is_some(), correction.replacement.is_some());
            }
            Err(refusal) => assert_eq!(refusal, usage::UsageRefusal::AlreadyCorrected { id }.into()),
        }
    }
    assert_eq!(corrected.len() * 2, corrections.len());
}

fn correction(user: &UserId, record_id: i64) -> Correct {
    Correct {
        user_id: user.clone(),
        record_id,
        reason: "wrong".to_owned(),
        replacement: None,
        actor: Actor::Admin,
        caller: CallerClass::Service,
        refund_nonce: RandomIds.uuid(),
        charge_nonce: RandomIds.uuid(),
        idempotency: None,
        audited: None,
    }
}

/// What was charged for the records of a user, less what was taken back, is what the ledger took.
async fn sums_agree(db: &TestDb, user: &UserId) {
    let records = records_of(db, user).await;
    let by_id: BTreeMap<i64, &usage::Record> = records.iter().map(|record| (record.id, record)).collect();
    let is_charged = |record: &usage::Record| match record.correction_of {
        Some(id) => by_id[&id].charge.is_some(),
        None => record.charge.is_some(),
    };
    let charged: i64 = records
        .iter()
        .filter(|record| is_charged(record))
        .map(|record| record.credits_charged.micro() - record.credits_uncollected.micro())
        .sum();
    assert_eq!(charged, metered(db, user).await);
    let mut conn = db.pool().get().await.unwrap();
    let stats = usage::stats(&mut conn, user, &RecordFilter::default()).await.unwrap();
    let all: i64 = records.iter().map(|record| record.credits_charged.micro()).sum();
    assert_eq!(stats.total_credits_charged, kernel::CreditsSum::from_micro(all.into()));
    assert_eq!(stats.total_credits_deducted, kernel::CreditsSum::from_micro(charged.into()));
}

#[tokio::test]
async fn a_refused_correction_is_remembered_and_locks_no_account() {
    let (db, clock) = (database().await, testkit::clock());
    let hold_id = RandomIds.uuid();
    let writes = opened(&db, &clock, &[hold_id, RandomIds.uuid(), RandomIds.uuid()]).await;
    clock.advance(time::Duration::hours(2));
    let request = Correct {
        idempotency: Some(IdempotencyKey::new("k", [1; 32]).unwrap()),
        ..correction(&testkit::user("a"), 1)
    };
    // Somebody else works on the account: what moves no credit does not wait for them.
    let mut other = pg::Tx::begin(db.pool()).await.unwrap();
    let theirs = std::collections::BTreeSet::from([request.user_id.clone()]);
    assert!(credits::blocked(&mut other, &theirs).await.unwrap().is_empty());
    let first = writes.correct(db.pool(), request.clone()).await.unwrap();
    assert!(first.result.is_err());
    let again = writes.correct(db.pool(), request.clone()).await.unwrap();
    assert_eq!((again.result, again.at, again.replay), (first.result, first.at, flows::Replay::ByKey));
    other.rollback().await;
    // What became due meanwhile is booked and reported by the next request of the account.
    let mut conn = db.pool().get().await.unwrap();
    let newest = async |conn: &mut pg::PgConnection| {
        webhooks::newest(conn, &testkit::user("a"), 2).await.unwrap().remove(0).event_type
    };
    assert_eq!(newest(&mut conn).await, "credit_granted");
    run(&writes, consume(request.user_id.clone(), "1000")).await.result.unwrap_err();
    assert_eq!(newest(&mut conn).await, "hold_expired");
}

/// The refund of a correction is done in memory before the charge of its replacement is refused.
#[tokio::test]
async fn a_correction_that_is_refused_half_way_gives_nothing_back_and_its_neighbours_are_done() {
    let (db, clock) = (database().await, testkit::clock());
    signed_up(&db, &clock, "a", "100").await;
    let (writes, user) = (writes(&db, &clock), testkit::user("a"));
    let mut used = uncharged(UsageInput::new(user.clone(), "ai_chat"));
    used.input.credits_charged = Some("10".parse().unwrap());
    used.from = Some(Payer::Available);
    let record = writes.usage(used, CallerCheck::Done).await.unwrap().unwrap().result.unwrap().record;
    let replaced = |credits: i64| Correct {
        replacement: Some(Replacement {
            input: UsageInput {
                credits_charged: Some(kernel::Credits::from_micro(credits * 1_000_000)),
                ..UsageInput::new(user.clone(), "ai_chat")
            },
            is_charged: true,
        }),
        idempotency: Some(IdempotencyKey::new("k", [1; 32]).unwrap()),
        ..correction(&user, record.id)
    };
    // More than any balance, which the ledger refuses.
    let (before, refused, after) = tokio::join!(
        run(&writes, consume(user.clone(), "1")),
        writes.correct(db.pool(), replaced(2_000_000_000)),
        run(&writes, consume(user.clone(), "2")),
    );
    assert!(before.result.is_ok() && after.result.is_ok());
    let refused = refused.unwrap();
    let refusal = refused.result.unwrap_err();
    assert_eq!((refusal.failure().code(), refused.replay), ("ValidationException", flows::Replay::First));
    assert_eq!(metered(&db, &user).await, 13_000_000);
    assert_eq!(records_of(&db, &user).await.len(), 1);
    let corrected = writes.correct(db.pool(), replaced(4)).await.unwrap();
    let corrected = corrected.result.unwrap();
    assert_eq!(corrected.refund.unwrap().amount, "10".parse().unwrap());
    assert_eq!(metered(&db, &user).await, 7_000_000);
    let mut conn = db.pool().get().await.unwrap();
    let events = webhooks::newest(&mut conn, &user, 10).await.unwrap();
    let types: Vec<_> = events.iter().map(|event| event.event_type.as_str()).collect();
    let charge = "credit_consumed";
    assert_eq!(types, [charge, "credit_refunded", charge, charge, charge, "credit_granted", "user_created"]);
}
