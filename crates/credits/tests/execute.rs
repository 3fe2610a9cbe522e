//! Batches on PostgreSQL: outcomes, replays, new accounts, and the number of statements.

use std::{
    borrow::Cow,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use credits::{Action, BudgetPeriod, Command, Defaults, EntryKind, NewGrant, NewGrantKind, Refusal, execute};
use diesel::connection::InstrumentationEvent;
use diesel_async::AsyncConnection;
use kernel::{Clock, Credits, FreeForm, SystemClock, UserId};
use pg::{Pool, Tx};
use time::Duration;

use crate::{
    budgets::{budget, set},
    support::{
        capture, command, consume, credits, database, done, entry, hold, open, recharge, refund, run,
        transaction_id,
    },
};

#[tokio::test]
async fn an_account_opens_with_its_initial_grant_and_spends() {
    let (db, clock, user) = (database().await, testkit::clock(), testkit::user("auth0|one"));
    let opened = done(db.pool(), &clock, open(&user, credits(1000))).await;
    let grant = entry(&opened);
    assert_eq!((grant.kind, grant.seq, grant.amount), (EntryKind::Grant, 1, credits(1000)));
    assert_eq!(
        (grant.reference_id.as_deref(), grant.created_at),
        (Some(credits::INITIAL_REFERENCE), testkit::instant())
    );

    let mut spending = command(&user, Action::Consume { amount: credits(25), usage_record_id: Some(9) });
    spending.description = Some("api_call".to_owned());
    spending.metadata = FreeForm::object(r#"{"b":1.50,"a":[]}"#).unwrap();
    let spent = done(db.pool(), &clock, spending.clone()).await;
    let consumed = entry(&spent);
    assert_eq!((consumed.balance_before, consumed.balance_after), (credits(1000), credits(975)));
    assert_eq!((consumed.transaction_id, consumed.usage_record_id), (transaction_id(2, &spending), Some(9)));
    assert_eq!((consumed.description.as_deref(), consumed.actor), (Some("api_call"), spending.actor));
    assert_eq!(consumed.metadata.as_json(), r#"{"a": [], "b": 1.50}"#);
    assert!(consumed.id > 0 && consumed.id != grant.id);
    assert_eq!((spent.balance.posted, spent.balance.lifetime_granted), (credits(975), credits(1000)));
}

#[tokio::test]
async fn unknown_accounts_are_refused_one_by_one() {
    let (db, clock) = (database().await, testkit::clock());
    let (known, unknown) = (testkit::user("known"), testkit::user("unknown"));
    done(db.pool(), &clock, open(&known, credits(10))).await;
    let outcomes = run(
        db.pool(),
        &clock,
        &[
            consume(&unknown, credits(1)),
            consume(&known, credits(1)),
            consume(&unknown, Credits::ZERO),
            consume(&known, credits(100)),
            open(&testkit::user("negative"), Credits::from_micro(-1)),
            consume(&testkit::user("negative"), credits(1)),
            consume(&known, credits(2)),
        ],
    )
    .await;
    assert_eq!(outcomes[0], Err(Refusal::UserNotFound { user_id: unknown.clone() }));
    assert_eq!(outcomes[1].as_ref().unwrap().balance.posted, credits(9));
    assert!(matches!(outcomes[2], Err(Refusal::InvalidAmount { .. })));
    assert!(matches!(outcomes[3], Err(Refusal::InsufficientCredits { .. })));
    assert!(matches!(outcomes[4], Err(Refusal::InvalidAmount { .. })));
    assert!(matches!(outcomes[5], Err(Refusal::UserNotFound { .. })));
    assert_eq!(outcomes[6].as_ref().unwrap().balance.posted, credits(7));
    assert!(run(db.pool(), &clock, &[]).await.is_empty());
}

#[tokio::test]
async fn an_account_exists_from_its_opening_in_the_batch_on() {
    let (db, clock, user) = (database().await, testkit::clock(), testkit::user("new"));
    let batch = [
        consume(&user, credits(1)),
        open(&user, credits(5)),
        consume(&user, credits(2)),
        open(&user, credits(7)),
    ];
    let outcomes = run(db.pool(), &clock, &batch).await;
    assert!(matches!(outcomes[0], Err(Refusal::UserNotFound { .. })));
    let opened = outcomes[1].as_ref().unwrap();
    assert!(!opened.replayed);
    assert_eq!(outcomes[2].as_ref().unwrap().balance.posted, credits(3));
    let again = outcomes[3].as_ref().unwrap();
    assert!(again.replayed);
    assert_eq!(again.entry, opened.entry);
    let later = done(db.pool(), &clock, open(&user, credits(7))).await;
    assert_eq!((later.replayed, &later.entry), (true, &opened.entry));

    let empty = done(db.pool(), &clock, open(&testkit::user("empty"), Credits::ZERO)).await;
    assert_eq!((empty.entry, empty.replayed), (None, false));
    let empty = done(db.pool(), &clock, open(&testkit::user("empty"), credits(5))).await;
    assert_eq!((empty.entry, empty.replayed, empty.balance.posted), (None, true, Credits::ZERO));
}

#[tokio::test]
async fn a_reference_credits_once_in_and_across_batches() {
    let (db, clock, user) = (database().await, testkit::clock(), testkit::user("payer"));
    done(db.pool(), &clock, open(&user, Credits::ZERO)).await;
    let pay = |amount| recharge(&user, credits(amount), Some("pi_1"));
    let outcomes =
        run(db.pool(), &clock, &[pay(10), pay(10), pay(11), recharge(&user, credits(10), None)]).await;
    let first = outcomes[0].as_ref().unwrap();
    let second = outcomes[1].as_ref().unwrap();
    assert_eq!((first.replayed, second.replayed), (false, true));
    assert_eq!(first.entry, second.entry);
    let transaction_id = entry(first).transaction_id;
    assert_eq!(outcomes[2], Err(Refusal::ReferenceConflict { transaction_id }));
    assert_eq!(outcomes[3].as_ref().unwrap().balance.posted, credits(20));

    clock.advance(Duration::days(1));
    let later = run(db.pool(), &clock, &[consume(&user, credits(15)), pay(10), pay(12)]).await;
    let replayed = later[1].as_ref().unwrap();
    assert_eq!((replayed.replayed, &replayed.entry), (true, &first.entry));
    assert_eq!(replayed.balance.posted, credits(5));
    assert_eq!(later[2], Err(Refusal::ReferenceConflict { transaction_id }));
    // The reference of one user says nothing about another.
    let other = testkit::user("other");
    let outcomes =
        run(db.pool(), &clock, &[open(&other, Credits::ZERO), recharge(&other, credits(3), Some("pi_1"))])
            .await;
    assert!(!outcomes[1].as_ref().unwrap().replayed);
}

#[tokio::test]
async fn due_items_come_before_any_command_and_survive_a_refusal() {
    let (db, clock, user) = (database().await, testkit::clock(), testkit::user("someone"));
    done(db.pool(), &clock, open(&user, credits(1))).await;
    let new = NewGrant {
        effective_at: Some(clock.now() + Duration::hours(1)),
        expires_at: Some(clock.now() + Duration::hours(2)),
        reference_id: Some("gift".to_owned()),
        ..NewGrant::new(NewGrantKind::Promo, credits(50))
    };
    let scheduled = done(db.pool(), &clock, command(&user, Action::Grant(new.clone()))).await;
    assert_eq!((scheduled.entry, scheduled.balance.posted), (None, credits(1)));

    clock.advance(Duration::hours(3));
    let outcomes = run(
        db.pool(),
        &clock,
        &[consume(&user, credits(2)), command(&user, Action::Grant(new)), consume(&user, credits(1))],
    )
    .await;
    assert!(matches!(outcomes[0], Err(Refusal::InsufficientCredits { .. })));
    let gift = outcomes[1].as_ref().unwrap();
    assert!(gift.replayed);
    assert_eq!((entry(gift).seq, entry(gift).created_at), (2, testkit::instant() + Duration::hours(1)));
    assert_eq!(entry(outcomes[2].as_ref().unwrap()).seq, 4);
    assert_eq!(gift.balance.lifetime_granted, credits(51));
}

#[tokio::test]
async fn the_time_of_an_account_never_goes_back() {
    let (db, clock, user) = (database().await, testkit::clock(), testkit::user("someone"));
    done(db.pool(), &clock, open(&user, credits(10))).await;
    clock.advance(Duration::minutes(-5));
    let spent = done(db.pool(), &clock, consume(&user, credits(1))).await;
    assert_eq!(entry(&spent).created_at, testkit::instant());

    // Without a pinned clock it is the database's.
    let spent = done(db.pool(), &SystemClock, consume(&user, credits(1))).await;
    let behind = SystemClock.now() - entry(&spent).created_at;
    assert!(behind.abs() < Duration::minutes(1), "{behind}");
}

/// Runs the commands on a connection of the pool and counts the statements.
async fn statements(pool: &Pool, clock: &dyn Clock, commands: &[Command]) -> usize {
    let mut tx = Tx::begin(pool).await.unwrap();
    let count = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&count);
    tx.conn().set_instrumentation(move |event: InstrumentationEvent<'_>| {
        if let InstrumentationEvent::StartQuery { .. } = event {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    });
    let executed = execute(&mut tx, clock, credits::Defaults::default(), commands).await.unwrap();
    assert!(executed.outcomes.iter().all(|outcome| outcome.result.is_ok()));
    let counted = count.load(Ordering::Relaxed);
    tx.conn().set_instrumentation(|_: InstrumentationEvent<'_>| {});
    tx.commit().await.unwrap();
    counted
}

#[tokio::test]
async fn statements_do_not_grow_with_the_batch() {
    let (db, clock) = (database().await, testkit::clock());
    let users: Vec<UserId> = (0..129).map(|number| testkit::user(&format!("user-{number}"))).collect();
    let openings: Vec<_> = users.iter().map(|user| open(user, credits(10))).collect();
    run(db.pool(), &clock, &openings).await;
    for some in [&users[..1], &users[1..]] {
        let each = |command: fn(&UserId) -> Command| -> Vec<Command> { some.iter().map(command).collect() };
        // The lock, the grants, and what is booked.
        let charges = each(|user| consume(user, credits(1)));
        assert_eq!(statements(db.pool(), &clock, &charges).await, 3);
        // Besides, the references, and the new grants.
        let mixed = each(|user| recharge(user, credits(2), Some("pi_1")));
        let mixed: Vec<_> = charges.iter().cloned().chain(mixed).collect();
        assert_eq!(statements(db.pool(), &clock, &fresh(&mixed)).await, 5);
        // The charges.
        let refunds: Vec<_> =
            charges.iter().map(|charge| refund(&charge.user_id, transaction_id(2, charge), None)).collect();
        assert_eq!(statements(db.pool(), &clock, &refunds).await, 4);
        // The new holds.
        let holds: Vec<_> = some.iter().map(|user| hold(user, credits(1))).collect();
        let commands: Vec<_> = holds.iter().map(|(_, command)| command.clone()).collect();
        assert_eq!(statements(db.pool(), &clock, &commands).await, 4);
        // While something is held, the holds and their lines.
        assert_eq!(statements(db.pool(), &clock, &fresh(&charges)).await, 5);
        let captures: Vec<_> =
            some.iter().zip(&holds).map(|(user, (id, _))| capture(user, *id, None)).collect();
        assert_eq!(statements(db.pool(), &clock, &captures).await, 6);
        // Of accounts that have any, the budgets; and what is spent of them, if that changes.
        for user in some {
            let day = budget(BudgetPeriod::Day, "Europe/Berlin", 9);
            set(db.pool(), user, &[day]).await.unwrap();
        }
        assert_eq!(statements(db.pool(), &clock, &fresh(&charges)).await, 5);
        let due = each(|user| command(user, Action::ApplyDue));
        assert_eq!(statements(db.pool(), &clock, &due).await, 3);
    }
}

/// The same commands again, as new requests.
fn fresh(commands: &[Command]) -> Vec<Command> {
    let again =
        |command: &Command| Command { nonce: kernel::Ids::uuid(&kernel::RandomIds), ..command.clone() };
    commands.iter().map(again).collect()
}

#[tokio::test]
async fn commands_after_a_savepoint_are_forgotten_and_those_around_them_stay() {
    let (db, clock, user) = (database().await, testkit::clock(), testkit::user("a"));
    let charge = consume(&user, credits(5));
    run(db.pool(), &clock, &[open(&user, credits(100)), charge.clone()]).await;
    let commands = [1, 2, 4].map(|amount| consume(&user, credits(amount)));
    let refund = refund(&user, transaction_id(2, &charge), None);
    let mut tx = Tx::begin(db.pool()).await.unwrap();
    let locked = credits::lock(tx.conn(), &clock, commands.iter().chain([&refund])).await.unwrap();
    let mut deciding = credits::prepare(tx.conn(), Defaults::default(), locked).await.unwrap();
    let apply = |deciding: &mut credits::Deciding<'_>, command: &Command| {
        assert!(deciding.apply(Cow::Owned(command.clone())).unwrap().result.is_ok());
    };
    apply(&mut deciding, &commands[0]);
    let savepoint = deciding.savepoint(&user);
    apply(&mut deciding, &refund);
    apply(&mut deciding, &commands[1]);
    deciding.roll_back(savepoint);
    assert_eq!(deciding.count(), 1);
    apply(&mut deciding, &commands[2]);
    let saved = deciding.finish().save(&tx).await.unwrap();
    tx.commit().await.unwrap();
    let amounts: Vec<_> = saved.entries.iter().map(|entry| entry.amount).collect();
    assert_eq!(amounts, [credits(1), credits(4)]);
    assert_eq!(saved.outcomes.len(), 2);
    assert!(run(db.pool(), &clock, &[refund]).await[0].is_ok(), "nothing was given back before");
}
