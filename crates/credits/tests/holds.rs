//! Holds on PostgreSQL: what they show, that nothing leaks, and that one resolution wins.

use credits::{
    Action, Applied, Command, Defaults, EntryKind, HoldFilter, HoldStatus, HoldView, NewGrant, NewGrantKind,
    Refusal, TransactionFilter, TransactionName, account, holds, sweep, transactions,
};
use futures_util::future::join_all;
use kernel::{Actor, Clock, Credits, FreeForm, Page, Start, SystemClock, UserId};
use pg::{Pool, Tx};
use testkit::TestDb;
use time::Duration;
use uuid::Uuid;

use crate::support::{
    capture, command, consume, credits, database, done, execute, hold, open, refund, release, run,
    transaction_id,
};

/// Runs each command in a transaction of its own, all at the same time, from two pools.
async fn all_at_once(db: &TestDb, commands: Vec<Command>) -> Vec<Result<Applied, Refusal>> {
    let pools = [db.pool_of(10), db.pool_of(10)];
    let tasks = commands.into_iter().enumerate().map(|(number, command)| {
        let pool: Pool = pools[number % 2].clone();
        tokio::spawn(async move { run(&pool, &SystemClock, &[command]).await.remove(0) })
    });
    join_all(tasks).await.into_iter().map(Result::unwrap).collect()
}

async fn list(db: &TestDb, clock: &dyn Clock, user: &UserId, filter: HoldFilter) -> Vec<credits::HoldView> {
    let mut conn = db.connect().await;
    let page = Page::first(500);
    holds(&mut conn, clock, user, filter, &page).await.unwrap().items
}

#[tokio::test]
async fn a_hold_is_shown_from_its_making_to_its_end() {
    let (db, clock, user) = (database().await, testkit::clock(), testkit::user("auth0|one"));
    done(db.pool(), &clock, open(&user, credits(100))).await;
    let (hold_id, mut held) = hold(&user, credits(70));
    held.description = Some("a long reply".to_owned());
    held.metadata = FreeForm::object(r#"{"b":1,"a":2}"#).unwrap();
    let made = done(db.pool(), &clock, held).await;
    assert_eq!(made.balance.available(), credits(30));
    let shown = made.hold.unwrap();
    assert_eq!((shown.hold_id, shown.status), (hold_id, HoldStatus::Open));
    assert_eq!(shown.metadata.as_json(), r#"{"a": 2, "b": 1}"#);
    let listed = list(&db, &clock, &user, HoldFilter::Open).await;
    assert_eq!(listed, std::slice::from_ref(&shown));

    clock.advance(Duration::seconds(1));
    let captured = done(db.pool(), &clock, capture(&user, hold_id, Some(credits(60)))).await;
    let entry = captured.entry.unwrap();
    assert_eq!((entry.kind, entry.hold_id, entry.amount), (EntryKind::Capture, Some(hold_id), credits(60)));
    let ended = captured.hold.unwrap();
    assert_eq!((ended.description.as_deref(), &ended.metadata), (Some("a long reply"), &shown.metadata));
    assert_eq!(
        (ended.status, ended.captured, ended.released),
        (HoldStatus::Captured, credits(60), credits(10))
    );
    assert_eq!(list(&db, &clock, &user, HoldFilter::Open).await, []);
    assert_eq!(list(&db, &clock, &user, HoldFilter::All).await, [ended]);
}

#[tokio::test]
async fn reads_count_what_is_due_as_gone_and_write_nothing() {
    let (db, clock, user) = (database().await, testkit::clock(), testkit::user("someone"));
    let mut conn = db.connect().await;
    done(db.pool(), &clock, open(&user, credits(10))).await;
    let gift = NewGrant {
        expires_at: Some(clock.now() + Duration::seconds(30)),
        ..NewGrant::new(NewGrantKind::Promo, credits(5))
    };
    done(db.pool(), &clock, command(&user, Action::Grant(gift))).await;
    let (hold_id, held) = hold(&user, credits(12));
    done(db.pool(), &clock, held).await;
    let shown = account(&mut conn, &clock, &user).await.unwrap().unwrap();
    assert_eq!((shown.balance.posted, shown.balance.held), (credits(15), credits(12)));
    assert_eq!(shown.grants.len(), 2);
    assert_eq!(shown.updated_at, testkit::instant());

    clock.advance(Duration::seconds(60)); // the hold ends, and with it what it kept of the gift
    let shown = account(&mut conn, &clock, &user).await.unwrap().unwrap();
    assert_eq!((shown.balance.posted, shown.balance.held), (credits(10), Credits::ZERO));
    assert_eq!((shown.grants.len(), shown.updated_at), (1, clock.now()));
    let ended = list(&db, &clock, &user, HoldFilter::Only(HoldStatus::Expired)).await.remove(0);
    assert_eq!((ended.hold_id, ended.released), (hold_id, credits(12)));
    assert_eq!(ended.resolved_at, Some(clock.now()));
    assert_eq!(list(&db, &clock, &user, HoldFilter::Open).await, []);
    assert_eq!(db.ask("SELECT count(*) FROM credits.entries").await, 3);
    let nobody = testkit::user("nobody");
    assert_eq!(account(&mut conn, &clock, &nobody).await.unwrap(), None);
}

#[tokio::test]
async fn holds_are_listed_newest_first_page_by_page() {
    let (db, clock, user) = (database().await, testkit::clock(), testkit::user("someone"));
    done(db.pool(), &clock, open(&user, credits(100))).await;
    let mut ids = Vec::new();
    for _ in 0..7 {
        let (id, held) = hold(&user, credits(1));
        done(db.pool(), &clock, held).await;
        ids.push(id);
    }
    done(db.pool(), &clock, release(&user, ids[3])).await;
    done(db.pool(), &clock, capture(&user, ids[5], None)).await;
    let mut conn = db.connect().await;
    for (filter, expected) in [
        (HoldFilter::All, vec![6, 5, 4, 3, 2, 1, 0]),
        (HoldFilter::Open, vec![6, 4, 2, 1, 0]),
        (HoldFilter::Only(HoldStatus::Released), vec![3]),
        (HoldFilter::Only(HoldStatus::Captured), vec![5]),
        (HoldFilter::Only(HoldStatus::Expired), vec![]),
    ] {
        assert_eq!(pages(&mut conn, &clock, filter, &ids).await, expected, "{filter:?}");
    }
    clock.advance(Duration::minutes(2));
    let (id, held) = hold(&user, credits(1)); // books what has ended
    done(db.pool(), &clock, held).await;
    ids.push(id);
    clock.advance(Duration::minutes(2)); // nobody books this one
    for (filter, expected) in [
        (HoldFilter::Open, vec![]),
        (HoldFilter::Only(HoldStatus::Released), vec![3]),
        (HoldFilter::Only(HoldStatus::Expired), vec![7, 6, 4, 2, 1, 0]),
    ] {
        assert_eq!(pages(&mut conn, &clock, filter, &ids).await, expected, "{filter:?}");
    }
    let page = Page::new(2, Start::Offset(3)).unwrap();
    let expired = HoldFilter::Only(HoldStatus::Expired);
    let slice = holds(&mut conn, &clock, &user, expired, &page).await.unwrap();
    assert_eq!(places(&slice.items, &ids), [2, 1]);
}

fn places(found: &[HoldView], ids: &[Uuid]) -> Vec<usize> {
    let place = |hold: &HoldView| ids.iter().position(|id| *id == hold.hold_id).unwrap();
    found.iter().map(place).collect()
}

/// The holds of "someone" by pages of two, as places in `ids`.
async fn pages(
    conn: &mut pg::PgConnection,
    clock: &dyn Clock,
    filter: HoldFilter,
    ids: &[Uuid],
) -> Vec<usize> {
    let user = testkit::user("someone");
    let (mut seen, mut start) = (Vec::new(), Start::Offset(0));
    loop {
        let page = Page::new(2, start).unwrap();
        let slice = holds(conn, clock, &user, filter, &page).await.unwrap();
        seen.extend(places(&slice.items, ids));
        let Some(place) = slice.next else { return seen };
        start = Start::After(place);
    }
}

#[tokio::test]
async fn transactions_are_found_by_hold_reference_and_id() {
    let (db, clock, user) = (database().await, testkit::clock(), testkit::user("someone"));
    done(db.pool(), &clock, open(&user, credits(100))).await;
    let (hold_id, held) = hold(&user, credits(5));
    done(db.pool(), &clock, held).await;
    let charge = done(db.pool(), &clock, capture(&user, hold_id, Some(credits(2)))).await.entry.unwrap();
    let mut conn = db.connect().await;
    let page = Page::first(50);
    let of_hold = TransactionFilter { hold_id: Some(hold_id), ..TransactionFilter::default() };
    let found = transactions(&mut conn, &user, &of_hold, &page).await.unwrap().items;
    assert_eq!(found, std::slice::from_ref(&charge));
    let both = TransactionFilter { reference_id: Some(credits::INITIAL_REFERENCE.to_owned()), ..of_hold };
    assert_eq!(transactions(&mut conn, &user, &both, &page).await.unwrap().items, []);
    let of_reference = TransactionFilter { hold_id: None, ..both };
    let found = transactions(&mut conn, &user, &of_reference, &page).await.unwrap().items;
    assert_eq!((found.len(), found[0].seq), (1, 1));
    let wrong_kind = TransactionFilter { kind: Some(credits::TransactionKind::Consume), ..of_reference };
    assert_eq!(transactions(&mut conn, &user, &wrong_kind, &page).await.unwrap().items, []);

    for name in [TransactionName::Id(charge.id), TransactionName::Transaction(charge.transaction_id)] {
        let found = credits::find_transaction(&mut conn, &user, name).await.unwrap();
        assert_eq!(found.as_ref(), Some(&charge));
        let other = testkit::user("other");
        assert_eq!(credits::find_transaction(&mut conn, &other, name).await.unwrap(), None);
    }
    for id in [0, charge.id - 1, charge.id + 1, i64::MAX] {
        let name = TransactionName::Id(id); // a hold, a release, or nothing
        assert_eq!(credits::find_transaction(&mut conn, &user, name).await.unwrap(), None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_many_captures_of_a_hold_succeeds() {
    let (db, user) = (database().await, testkit::user("busy"));
    done(db.pool(), &SystemClock, open(&user, credits(100))).await;
    let (hold_id, held) = hold(&user, credits(50));
    done(db.pool(), &SystemClock, held).await;
    let mut commands: Vec<Command> = (0..30).map(|_| capture(&user, hold_id, Some(credits(40)))).collect();
    commands.extend((0..10).map(|_| release(&user, hold_id)));
    let outcomes = all_at_once(&db, commands).await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
    let late = |outcome: &&Result<_, Refusal>| matches!(outcome, Err(Refusal::HoldNotOpen { .. }));
    assert_eq!(outcomes.iter().filter(late).count(), 39);
    assert_eq!(db.ask("SELECT count(*) FROM credits.holds WHERE state = 'open'").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn parallel_holds_take_no_more_than_there_is() {
    let (db, user) = (database().await, testkit::user("poor"));
    done(db.pool(), &SystemClock, open(&user, credits(40))).await;
    let commands = (0..60).map(|_| hold(&user, credits(3)).1).collect();
    let outcomes = all_at_once(&db, commands).await;
    let made: Vec<Uuid> =
        outcomes.iter().filter_map(|outcome| Some(outcome.as_ref().ok()?.hold.as_ref()?.hold_id)).collect();
    assert_eq!(made.len(), 13);
    // All of them are resolved in one way or another, and nothing stays behind.
    let commands = made.iter().enumerate().map(|(number, id)| match number % 3 {
        0 => capture(&user, *id, None),
        1 => capture(&user, *id, Some(Credits::from_micro(1))),
        _ => release(&user, *id),
    });
    let outcomes = all_at_once(&db, commands.collect()).await;
    assert!(outcomes.iter().all(Result::is_ok));
    assert_eq!(db.ask("SELECT sum(held) FROM credits.accounts").await, 0);
    assert_eq!(db.ask("SELECT sum(held) FROM credits.grants").await, 0);
    assert_eq!(db.ask("SELECT posted FROM credits.accounts").await, 24_999_996);
}

#[tokio::test(flavor = "multi_thread")]
async fn parallel_refunds_never_exceed_the_charge() {
    let (db, user) = (database().await, testkit::user("cross"));
    done(db.pool(), &SystemClock, open(&user, credits(10))).await;
    let charge = consume(&user, credits(10));
    done(db.pool(), &SystemClock, charge.clone()).await;
    let commands = (0..30).map(|_| refund(&user, transaction_id(2, &charge), Some(credits(3))));
    let outcomes = all_at_once(&db, commands.collect()).await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 3);
}

#[tokio::test]
async fn a_forgotten_hold_frees_itself_and_a_sweep_books_it() {
    let (db, clock) = (database().await, testkit::clock());
    let users: Vec<UserId> = (0..5).map(|number| testkit::user(&format!("user-{number}"))).collect();
    for user in &users {
        done(db.pool(), &clock, open(user, credits(10))).await;
        done(db.pool(), &clock, hold(user, credits(10)).1).await;
    }
    let swept = async |limit| {
        let mut tx = Tx::begin(db.pool()).await.unwrap();
        let swept = sweep(&mut tx, &clock, Defaults::default(), limit).await.unwrap();
        tx.commit().await.unwrap();
        swept
    };
    assert_eq!(swept(10).await, credits::Swept::default());
    clock.advance(Duration::seconds(60));
    // Whoever comes first books it; a sweep passes over an account that is locked, and takes the others.
    let mut tx = Tx::begin(db.pool()).await.unwrap();
    credits::execute(&mut tx, &clock, Defaults::default(), &[consume(&users[0], credits(10))]).await.unwrap();
    let first = swept(3).await;
    assert_eq!((first.accounts, first.passed_over), (2, 1));
    tx.commit().await.unwrap();
    let ends = |entry: &credits::Entry| (entry.kind, entry.actor, entry.amount, entry.created_at);
    let expired = (EntryKind::Release, Actor::System, credits(10), clock.now());
    assert!(first.entries.iter().all(|entry| ends(entry) == expired && entry.hold_id.is_some()));
    assert_eq!(swept(10).await.accounts, 2);
    assert_eq!(swept(10).await, credits::Swept::default());
    assert_eq!(db.ask("SELECT sum(held) FROM credits.accounts").await, 0);
}

#[tokio::test]
async fn a_batch_tells_every_entry_and_every_fall_to_the_threshold() {
    let (db, clock, user) = (database().await, testkit::clock(), testkit::user("someone"));
    done(db.pool(), &clock, open(&user, credits(10))).await;
    let mut conn = db.connect().await;
    let set = credits::set_low_balance_at(&mut conn, &user, Some(credits(5))).await.unwrap();
    assert!(set);
    let nobody = testkit::user("nobody");
    assert!(!credits::set_low_balance_at(&mut conn, &nobody, None).await.unwrap());
    let gift = NewGrant {
        expires_at: Some(clock.now() + Duration::seconds(30)),
        ..NewGrant::new(NewGrantKind::Promo, credits(20))
    };
    done(db.pool(), &clock, command(&user, Action::Grant(gift))).await;
    clock.advance(Duration::minutes(1));
    let (hold_id, held) = hold(&user, credits(1));
    let batch = [
        held,
        consume(&user, credits(5)), // falls to 5
        consume(&user, credits(1)), // is low already
        capture(&user, hold_id, None),
        crate::support::recharge(&user, credits(10), None),
        consume(&user, credits(1_000)),
        consume(&user, credits(9)), // falls to 4
    ];
    let executed = execute(db.pool(), &clock, &batch).await;
    let kinds: Vec<_> = executed.entries.iter().map(|entry| (entry.seq, entry.kind)).collect();
    assert_eq!(
        kinds,
        [
            (3, EntryKind::Expire),
            (4, EntryKind::Hold),
            (5, EntryKind::Consume),
            (6, EntryKind::Consume),
            (7, EntryKind::Capture),
            (8, EntryKind::Recharge),
            (9, EntryKind::Consume)
        ]
    );
    assert!(executed.entries.iter().all(|entry| entry.id > 0));
    let low: Vec<_> = executed.low.iter().map(|low| (low.seq, low.balance_after, low.threshold)).collect();
    assert_eq!(low, [(5, credits(5), credits(5)), (9, credits(4), credits(5))]);
    assert_eq!(executed.low[0].transaction_id, transaction_id(5, &batch[1]));
}

#[tokio::test]
async fn an_account_without_a_threshold_has_that_of_the_caller() {
    let (db, clock) = (database().await, testkit::clock());
    let (plain, own) = (testkit::user("plain"), testkit::user("own"));
    let mut conn = db.connect().await;
    for user in [&plain, &own] {
        done(db.pool(), &clock, open(user, credits(10))).await;
    }
    credits::set_low_balance_at(&mut conn, &own, Some(credits(2))).await.unwrap();
    let fall = async |amount: i64, defaults: Defaults| {
        let mut tx = Tx::begin(db.pool()).await.unwrap();
        let batch = [consume(&own, credits(amount)), consume(&plain, credits(amount))];
        let executed = credits::execute(&mut tx, &clock, defaults, &batch).await.unwrap();
        tx.commit().await.unwrap();
        let low = executed.low.iter().map(|low| (low.user_id.clone(), low.threshold));
        low.collect::<Vec<_>>()
    };
    let at = |whole| Defaults { low_balance_at: Some(credits(whole)) };
    assert_eq!(fall(4, at(6)).await, [(plain.clone(), credits(6))]); // 10 to 6
    assert_eq!(fall(1, at(6)).await, []); // told already
    assert_eq!(fall(1, Defaults::default()).await, []); // nobody wants to hear of 4
    assert_eq!(fall(3, Defaults::default()).await, [(own.clone(), credits(2))]); // 4 to 1
    // What comes with time falls as well.
    let gift = NewGrant {
        expires_at: Some(clock.now() + Duration::seconds(30)),
        ..NewGrant::new(NewGrantKind::Promo, credits(20))
    };
    done(db.pool(), &clock, command(&plain, Action::Grant(gift))).await;
    clock.advance(Duration::minutes(1));
    let mut tx = Tx::begin(db.pool()).await.unwrap();
    let swept = sweep(&mut tx, &clock, at(6), 10).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(swept.low.len(), 1);
}

/// A clock that goes on by 61 s with every look.
struct Hurried(kernel::ManualClock);

impl Clock for Hurried {
    fn now(&self) -> time::OffsetDateTime {
        self.0.now()
    }

    fn pinned(&self) -> Option<time::OffsetDateTime> {
        let at = self.0.now();
        self.0.advance(Duration::seconds(61));
        Some(at)
    }
}

/// The hold is open when the account is looked at, and has expired when it is to be released.
#[tokio::test]
async fn an_account_is_closed_although_a_hold_expires_meanwhile() {
    let (db, clock, user) = (database().await, testkit::clock(), testkit::user("auth0|one"));
    done(db.pool(), &clock, open(&user, credits(100))).await;
    done(db.pool(), &clock, hold(&user, credits(70)).1).await;
    let hurried = Hurried(clock.clone());
    let closed =
        Tx::run(db.pool(), async |tx| credits::close(tx, &hurried, &kernel::RandomIds, &user).await).await;
    let kinds: Vec<_> = closed.unwrap().entries.iter().map(|entry| entry.kind).collect();
    assert_eq!(kinds, [EntryKind::Release, EntryKind::Adjust]);
    assert_eq!(list(&db, &clock, &user, HoldFilter::All).await[0].status, HoldStatus::Expired);
}
