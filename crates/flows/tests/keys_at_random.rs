//! Random commands under few keys: together they end as one by one, and every repeat answers as the first time.

use std::sync::Arc;

use credits::{Action, Command, HoldMode, NewGrant, NewGrantKind, ReferenceScope};
use flows::{CallerCheck, CommandRefusal, LedgerOutcome, Replay, Writes, pruning};
use futures_util::future::join_all;
use kernel::{Actor, CallerClass, Credits, IdempotencyKey, Ids as _, ManualClock, SeededIds};
use testkit::TestDb;
use time::Duration;
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::{
    database,
    keys::{command, repeat},
    operations::{signed_up, writes},
};

const USERS: [&str; 3] = ["a", "b", "c"];

/// Numbers that follow from a seed.
struct Choices(SeededIds);

impl Choices {
    fn below(&self, bound: u64) -> u64 {
        (self.0.uuid().as_u64_pair().1 << 2 >> 2) % bound
    }
}

/// A command and its key, if it has one.
type Request = (Command, Option<IdempotencyKey>);

/// Requests of three users in both classes: charges, payments, gifts, holds and what becomes of them, many of them refused. Equal
/// requests have equal fingerprints.
fn requests(choices: &Choices, count: u64) -> Vec<Request> {
    let id = |number: u64| Uuid::from_u128(u128::from(number) + 1);
    (0..count)
        .map(|number| {
            let user = testkit::user(USERS[usize::try_from(choices.below(3)).unwrap()]);
            let amount = Credits::from_micro(i64::try_from(1 + choices.below(30)).unwrap() * 1_000_000);
            let hold_id = id(choices.below(8));
            let kind = choices.below(8);
            let action = match kind {
                0 | 1 => Action::Consume { amount, usage_record_id: None },
                2 => Action::ConsumeUncollected { amount, usage_record_id: None },
                3 => {
                    let reference_id = Some(format!("pi_{}", choices.below(4)));
                    Action::Recharge { amount, reference_id, scope: ReferenceScope::User }
                }
                // The same id twice fails the batch, so each hold has its own.
                4 => {
                    let (hold_id, ttl) = (id(1_000 + number), Duration::seconds(20));
                    Action::Hold { hold_id, amount, mode: HoldMode::Clamp, ttl }
                }
                5 => Action::Capture { hold_id, amount: None, usage_record_id: None },
                6 => Action::Grant(NewGrant::new(NewGrantKind::Promo, amount)),
                _ => Action::Release { hold_id },
            };
            let (actor, caller) = match choices.below(2) {
                0 => (Actor::User, CallerClass::User),
                _ => (Actor::Service, CallerClass::Service),
            };
            let nonce = id(100_000 + number);
            let command = Command { actor, caller, nonce, ..command(&user, action) };
            let fingerprint = [u8::try_from(kind / 3).unwrap(); 32];
            let key = (choices.below(2) == 0).then(|| format!("k{}", choices.below(6)));
            (command, key.map(|key| IdempotencyKey::new(key, fingerprint).unwrap()))
        })
        .collect()
}

async fn opened(db: &TestDb, clock: &ManualClock) -> Writes {
    for name in USERS {
        signed_up(db, clock, name, "60").await;
    }
    let writes = writes(db, clock);
    for number in 0..8_usize {
        let hold_id = Uuid::from_u128(u128::try_from(number).unwrap() + 1);
        let amount = Credits::from_micro(2_000_000);
        let action = Action::Hold { hold_id, amount, mode: HoldMode::Exact, ttl: Duration::HOUR };
        let held = command(&testkit::user(USERS[number % 3]), action);
        ask(&writes, (held, None)).await.result.unwrap();
    }
    writes
}

async fn ask(writes: &Writes, (command, key): Request) -> LedgerOutcome {
    writes.ledger(command, key, CallerCheck::Done).await.unwrap().unwrap()
}

/// The outcome without the ids that the database gave.
fn word(outcome: &LedgerOutcome) -> String {
    let mut outcome = outcome.clone();
    if let Ok(applied) = &mut outcome.result
        && let Some(entry) = &mut applied.entry
    {
        entry.id = 0;
    }
    format!("{outcome:?}")
}

fn is_remembered(outcome: &LedgerOutcome) -> bool {
    match &outcome.result {
        Ok(_) => true,
        Err(CommandRefusal::Ledger(refusal)) => refusal.is_remembered(),
        Err(CommandRefusal::Key(_)) => false,
    }
}

/// Every keyed request answers the same again, whatever has happened since.
async fn check_repeats(writes: &Writes, requests: &[Request], outcomes: &[LedgerOutcome]) {
    for (request, outcome) in requests.iter().zip(outcomes) {
        if request.1.is_some() && is_remembered(outcome) {
            assert_eq!(ask(writes, request.clone()).await, repeat(outcome), "{request:?}");
        }
    }
}

/// L12.
#[tokio::test]
async fn together_is_as_one_by_one_and_repeats_are_as_the_first_time() {
    for seed in 1..7 {
        let choices = Choices(SeededIds::new(seed));
        let (together, single, clock) = (database().await, database().await, testkit::clock());
        let (at_once, alone) = (opened(&together, &clock).await, opened(&single, &clock).await);
        for round in 0..4 {
            clock.advance(Duration::seconds(9));
            let requests: Vec<Request> = requests(&choices, 30)
                .into_iter()
                .map(|(command, key)| {
                    // New holds and transactions in each round.
                    let other = |id: Uuid| Uuid::from_u128(id.as_u128() + (round << 64));
                    let action = match command.action {
                        Action::Hold { hold_id, amount, mode, ttl } => {
                            Action::Hold { hold_id: other(hold_id), amount, mode, ttl }
                        }
                        action => action,
                    };
                    let nonce = other(command.nonce);
                    (Command { nonce, action, ..command }, key)
                })
                .collect();
            let batch = requests.iter().map(|request| ask(&at_once, request.clone()));
            let outcomes = join_all(batch).await;
            let mut one_by_one = Vec::new();
            for request in &requests {
                one_by_one.push(ask(&alone, request.clone()).await);
            }
            let words = |all: &[LedgerOutcome]| all.iter().map(word).collect::<Vec<_>>();
            assert_eq!(words(&outcomes), words(&one_by_one), "seed {seed}, round {round}");
            check_repeats(&at_once, &requests, &outcomes).await;
            check_repeats(&alone, &requests, &one_by_one).await;
        }
        for user in USERS.map(testkit::user) {
            let (mut one, mut other) =
                (together.pool().get().await.unwrap(), single.pool().get().await.unwrap());
            assert_eq!(
                credits::account(&mut one, &clock, &user).await.unwrap().map(|account| account.balance),
                credits::account(&mut other, &clock, &user).await.unwrap().map(|account| account.balance)
            );
        }
    }
}

/// L12 between two processes, while answers are pruned: each key has one effect.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_with_the_same_keys_have_one_effect_a_key() {
    let (db, clock) = (database().await, testkit::clock());
    let one = opened(&db, &clock).await;
    let two = Writes::start(db.second_pool(), Arc::new(clock.clone()), credits::Defaults::default());
    let mut senders = JoinSet::new();
    for sender in 0..8_u64 {
        let writes = if sender % 2 == 0 { one.clone() } else { two.clone() };
        senders.spawn(async move {
            let choices = Choices(SeededIds::new(100 + sender));
            let mut done = Vec::new();
            for round in 0..40_u128 {
                let user = testkit::user(USERS[usize::try_from(choices.below(3)).unwrap()]);
                let amount = Credits::from_micro(1_000);
                let action = Action::Consume { amount, usage_record_id: None };
                let id = (u128::from(sender) << 64) + round + 1;
                let command = Command { nonce: Uuid::from_u128(id), ..command(&user, action) };
                let key = IdempotencyKey::new(format!("k{}", choices.below(40)), [1; 32]).unwrap();
                let name = (user, key.key().to_owned());
                let outcome = ask(&writes, (command, Some(key))).await;
                done.push((name, outcome.replay, outcome.result.unwrap().entry.unwrap().transaction_id));
            }
            done
        });
    }
    for _ in 0..20 {
        clock.advance(Duration::SECOND);
        pruning::run(db.pool(), &clock, Duration::SECOND).await.unwrap();
    }
    let done: Vec<_> = senders.join_all().await.into_iter().flatten().collect();
    let mut firsts = std::collections::BTreeMap::new();
    for (name, replay, transaction_id) in &done {
        if *replay == Replay::First {
            assert_eq!(firsts.insert(name.clone(), *transaction_id), None, "{name:?} had two effects");
        }
    }
    assert!(done.iter().all(|(name, _, transaction_id)| firsts.get(name) == Some(transaction_id)));
    assert!(firsts.len() > 60, "{}", firsts.len());
}
