//! Users are erased in every domain, while others write.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use credits::{Action, Adjustment, HoldMode, NewGrant, NewGrantKind};
use diesel_async::SimpleAsyncConnection as _;
use flows::{
    CallerCheck,
    erasure::{self, Erasure},
    sign_up,
};
use identity::{audit::AuditActor, erasures, users};
use kernel::{Actor, CallerClass, Clock as _, FreeForm, Ids as _, ManualClock, RandomIds, UserId};
use pg::{DbError, Tx};
use testkit::TestDb;
use time::{Duration, OffsetDateTime};
use tokio::task::JoinSet;
use usage::UsageInput;

use crate::{
    database,
    operations::{message, session_in, signed_up, uncharged, writes},
    request,
};

const CANARY: &str = "canary";

fn form() -> FreeForm {
    FreeForm::stored(r#"{"c": "canary"}"#.to_owned())
}

fn command(user_id: &UserId, caller: CallerClass, action: Action) -> credits::Command {
    credits::Command {
        user_id: user_id.clone(),
        actor: if caller == CallerClass::User { Actor::User } else { Actor::Service },
        caller,
        nonce: RandomIds.uuid(),
        description: Some(CANARY.to_owned()),
        metadata: form(),
        action,
    }
}

fn recorded(user_id: &UserId) -> UsageInput {
    let text = || Some(CANARY.to_owned());
    UsageInput {
        session_id: text(),
        trace_id: text(),
        billing_metadata: Some(form()),
        request_data: Some(form()),
        response_data: Some(form()),
        ..UsageInput::new(user_id.clone(), "ai_chat")
    }
}

pub fn asked(user_id: &UserId) -> Erasure {
    let actor = AuditActor::User(user_id.clone());
    Erasure { user_id: user_id.clone(), actor, request_id: "r".to_owned() }
}

pub async fn erase(db: &TestDb, clock: &ManualClock, user_id: &UserId) -> Option<OffsetDateTime> {
    erasure::run(db.pool(), clock, &RandomIds, None, &asked(user_id)).await.unwrap()
}

/// The number of texts of a user that are left, of rows that hold some, and of things that may change the balance later.
async fn left(db: &TestDb, user_id: &UserId) -> i64 {
    let of = format!("user_id = '{user_id}'");
    let counts = [
        format!("SELECT count(*) AS n FROM credits.entries WHERE {of} AND (description IS NOT NULL
            OR metadata IS NOT NULL AND metadata <> '{{\"reason\": \"user erased\"}}')"),
        format!("SELECT count(*) FROM credits.grants WHERE {of} AND (num_nonnulls(description, metadata) > 0 OR booked_seq IS NULL)"),
        format!("SELECT count(*) FROM credits.holds WHERE {of} AND (num_nonnulls(description, metadata) > 0 OR state = 'open')"),
        format!("SELECT count(*) FROM credits.budgets WHERE {of}"),
        format!("SELECT count(*) FROM credits.accounts WHERE {of} AND (posted > 0 OR num_nonnulls(next_due_at, low_balance_at) > 0)"),
        format!("SELECT count(*) FROM usage.records WHERE {of} AND num_nonnulls(session_id, trace_id, event_id, billing_metadata,
            request_data, response_data) > 0"),
        format!("SELECT count(*) FROM usage.dedupe WHERE {of}"),
        format!("SELECT count(*) FROM usage.dedupe_shared WHERE {of}"),
        format!("SELECT count(*) FROM sessions.sessions WHERE {of}"),
        format!("SELECT count(*) FROM sessions.messages WHERE {of}"),
        format!("SELECT count(*) FROM sessions.search_segments WHERE {of}"),
        format!("SELECT count(*) FROM sessions.search_postings WHERE {of}"),
        format!("SELECT count(*) FROM idempotency.answers WHERE {of}"),
        format!("SELECT count(*) FROM webhooks.events WHERE {of} AND payload::text LIKE '%canary%'"),
        format!("SELECT count(*) FROM identity.users WHERE {of}"),
        format!("SELECT count(*) FROM identity.identities WHERE {of}"),
        format!("SELECT count(*) FROM identity.erased_users WHERE {of} AND finished_at IS NULL"),
    ];
    db.ask(&format!("SELECT sum(n)::bigint FROM ({}) AS counts", counts.join(" UNION ALL "))).await
}

pub async fn balance(db: &TestDb, clock: &ManualClock, user_id: &UserId) -> credits::Balance {
    let conn = db.connect().await;
    credits::balances(&conn, clock, std::slice::from_ref(user_id)).await.unwrap()[0].unwrap()
}

/// Everything that a user can have.
async fn fill(db: &TestDb, clock: &ManualClock, user: &UserId) {
    let writes = writes(db, clock);
    let day = Duration::DAY;
    let grant = |effective: Option<Duration>, expires: Option<Duration>| {
        Action::Grant(NewGrant {
            effective_at: effective.map(|after| clock.now() + after),
            expires_at: expires.map(|after| clock.now() + after),
            reference_id: Some(RandomIds.uuid().to_string()),
            ..NewGrant::new(NewGrantKind::Promo, "7".parse().unwrap())
        })
    };
    let hold = |amount: &str| Action::Hold {
        hold_id: RandomIds.uuid(),
        amount: amount.parse().unwrap(),
        mode: HoldMode::Exact,
        ttl: credits::HOLD_TTL_DEFAULT,
    };
    let consume = || Action::Consume { amount: "2".parse().unwrap(), usage_record_id: None };
    for (caller, action) in [
        (CallerClass::Service, grant(None, None)),
        (CallerClass::Service, grant(None, Some(day))),
        (CallerClass::Service, grant(Some(day), None)),
        (CallerClass::Service, grant(Some(day), Some(day * 2))),
        (CallerClass::Service, hold("3")),
        (CallerClass::User, hold("4")),
        (CallerClass::User, consume()),
        (CallerClass::Service, consume()),
    ] {
        let key = kernel::IdempotencyKey::new(RandomIds.uuid().to_string(), [1; 32]).unwrap();
        let done = writes.ledger(command(user, caller, action), Some(key), CallerCheck::Exists).await;
        done.unwrap().unwrap().result.unwrap();
    }
    for event_id in ["canary 1", "canary 2"] {
        let input = UsageInput { event_id: Some(event_id.to_owned()), ..recorded(user) };
        writes.usage(uncharged(input), CallerCheck::Exists).await.unwrap().unwrap().result.unwrap();
    }
    let session = session_in(db.pool(), clock, user).await;
    for _ in 0..3 {
        writes.message(message(session, CANARY)).await.unwrap().unwrap();
    }
    let horizon = sessions::search::horizon(&mut *db.connect().await, user).await.unwrap().unwrap();
    let size = sessions::SegmentSize { messages: 2, bytes: 1_000, steps: 1 };
    let indexed =
        Tx::decide(db.pool(), async |tx| sessions::search::add_segment(tx, &horizon, size).await).await;
    indexed.unwrap().unwrap();
    let budget = credits::NewBudget {
        period: credits::BudgetPeriod::Day,
        zone: "UTC".to_owned(),
        limit: "500".parse().unwrap(),
    };
    let set =
        Tx::run(db.pool(), async |tx| credits::set_budgets(tx, user, std::slice::from_ref(&budget)).await);
    set.await.unwrap().unwrap();
    let mut conn = db.connect().await;
    credits::set_low_balance_at(&mut conn, user, Some("1".parse().unwrap())).await.unwrap();
}

#[tokio::test]
async fn an_erase_leaves_no_text_no_credit_and_nothing_that_comes_later() {
    let (db, clock, user) = (database().await, testkit::clock(), testkit::user("a"));
    for name in ["a", "b"] {
        signed_up(&db, &clock, name, "100").await;
        fill(&db, &clock, &testkit::user(name)).await;
    }
    let neighbour = left(&db, &testkit::user("b")).await;
    let entries =
        "SELECT count(*) FROM credits.entries WHERE user_id = 'a' AND type NOT IN ('release', 'adjust')";
    let before = db.ask(entries).await;

    assert!(erase(&db, &clock, &user).await.is_some());
    assert_eq!(left(&db, &user).await, 0);
    // The books go on: two scheduled grants were booked, two holds released, and the rest written off in one entry.
    assert_eq!(db.ask(entries).await, before + 2);
    let written =
        |kind: &str| format!("SELECT count(*) FROM credits.entries WHERE user_id = 'a' AND type = '{kind}'");
    assert_eq!((db.ask(&written("release")).await, db.ask(&written("adjust")).await), (2, 1));
    assert_eq!(db.ask("SELECT count(*) FROM usage.records WHERE user_id = 'a'").await, 2);
    let told = |kind: &str| {
        format!("SELECT count(*) FROM webhooks.events WHERE user_id = 'a' AND event_type = '{kind}'")
    };
    assert_eq!((db.ask(&told("user_deleted")).await, db.ask(&told("credit_adjusted")).await), (1, 1));
    let audited = "SELECT count(*) FROM identity.audit_events WHERE user_id = 'a' AND action = 'user.erased' AND address IS NULL";
    assert_eq!(db.ask(audited).await, 1);
    assert_eq!(left(&db, &testkit::user("b")).await, neighbour, "the neighbour has everything");

    // Nothing comes later, and a repeat finds nobody.
    clock.advance(Duration::DAY * 3);
    let due = credits::find_due(&mut *db.connect().await, &clock, &BTreeSet::new(), 100).await.unwrap();
    assert_eq!(due.iter().map(UserId::as_str).collect::<Vec<_>>(), ["b"]);
    assert!(balance(&db, &clock, &user).await.posted.is_zero());
    assert_eq!(erase(&db, &clock, &user).await, None);
}

#[tokio::test]
async fn a_user_who_comes_back_continues_the_account_without_a_second_grant() {
    let (db, clock, user) = (database().await, testkit::clock(), testkit::user("a"));
    signed_up(&db, &clock, "a", "100").await;
    erase(&db, &clock, &user).await.unwrap();
    signed_up(&db, &clock, "a", "100").await;
    let back = balance(&db, &clock, &user).await;
    assert_eq!(
        (back.posted.to_string(), back.lifetime_granted.to_string()),
        ("0.0".to_owned(), "100.0".to_owned())
    );
    // And again.
    fill_little(&db, &clock, &user).await;
    erase(&db, &clock, &user).await.unwrap();
    assert_eq!(left(&db, &user).await, 0);
}

async fn fill_little(db: &TestDb, clock: &ManualClock, user: &UserId) {
    let adjust =
        Action::Adjust { amount: "5".parse().unwrap(), adjustment: Adjustment::Up, reason: "r".to_owned() };
    let writes = writes(db, clock);
    let done = writes.ledger(command(user, CallerClass::Service, adjust), None, CallerCheck::Exists).await;
    done.unwrap().unwrap().result.unwrap();
}

/// An erase whose process ended after its first commit: nothing is accepted for the user, who cannot come back before another
/// process has ended the erase.
#[tokio::test]
async fn an_erase_that_was_interrupted_is_ended_by_another_process() {
    let (db, clock, user) = (database().await, testkit::clock(), testkit::user("a"));
    signed_up(&db, &clock, "a", "100").await;
    fill(&db, &clock, &user).await;
    let begun = erasure::begin(db.pool(), &clock, None, &asked(&user)).await.unwrap();
    assert!(begun.is_some() && left(&db, &user).await > 0);

    let writes = writes(&db, &clock);
    let grant = Action::Grant(NewGrant::new(NewGrantKind::Promo, "1".parse().unwrap()));
    let refused =
        writes.ledger(command(&user, CallerClass::Service, grant), None, CallerCheck::Exists).await.unwrap();
    assert_eq!(refused.unwrap_err(), flows::CallerRejected::Unknown);
    // A plain charge still finds the credit: its texts go with the others.
    let plain = Action::Consume { amount: "1".parse().unwrap(), usage_record_id: None };
    drop(writes.ledger(command(&user, CallerClass::Service, plain), None, CallerCheck::Known).await.unwrap());
    let back = sign_up::run(db.pool(), &clock, &RandomIds, &request("a", "100")).await;
    assert!(matches!(back, Err(DbError::Contention(_))), "{back:?}");

    let second = db.second_pool();
    // Interrupted once more, in the middle.
    let part = async |tx: &mut Tx| pg::personal::erase_in(tx, credits::PERSONAL_DATA, user.as_str()).await;
    Tx::run(&second, part).await.unwrap();
    // The process that began it may still be at work.
    assert_eq!(erasure::finish_all(&second, &clock, &RandomIds).await.unwrap(), 0);
    clock.advance(Duration::minutes(2));
    assert_eq!(erasure::finish_all(&second, &clock, &RandomIds).await.unwrap(), 1);
    assert_eq!(left(&db, &user).await, 0);
    assert_eq!(erasure::finish_all(&second, &clock, &RandomIds).await.unwrap(), 0);
    signed_up(&db, &clock, "a", "100").await;
}

/// Writers of all kinds, on two processes, do not notice that a user is erased in the middle: what they are told was done before, or was
/// refused, and nothing of it is left.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_writers_leave_nothing_behind() {
    let (db, clock) = (Arc::new(database().await), testkit::clock());
    for round in 0..6 {
        let name = format!("user{round}");
        let user = testkit::user(&name);
        signed_up(&db, &clock, &name, "100000").await;
        let is_erased = Arc::new(AtomicBool::new(false));
        let mut writers = JoinSet::new();
        for kind in 0..8 {
            let (db, clock, user, is_erased) =
                (Arc::clone(&db), clock.clone(), user.clone(), Arc::clone(&is_erased));
            writers.spawn(async move {
                let pool = db.second_pool();
                let writes =
                    flows::Writes::start(pool.clone(), Arc::new(clock.clone()), credits::Defaults::default());
                let (mut done, mut after) = (0_u32, 0);
                while after < 3 {
                    if is_erased.load(Ordering::Acquire) {
                        after += 1;
                    }
                    done += u32::from(write(kind, &writes, &pool, &clock, &user).await);
                }
                done
            });
        }
        let mut deadline = testkit::Deadline::new();
        while db.ask(&format!("SELECT least(count(*), 20) FROM usage.records WHERE user_id = '{user}'")).await
            < 20
        {
            assert!(deadline.allows_another(), "nothing is recorded");
        }
        erase(&db, &clock, &user).await.unwrap();
        is_erased.store(true, Ordering::Release);
        let done: u32 = writers.join_all().await.iter().sum();
        assert!(done > 0);
        assert_eq!(left(&db, &user).await, 0, "round {round}");
    }
}

/// One write for a user; true if it was accepted.
async fn write(
    kind: u32,
    writes: &flows::Writes,
    pool: &pg::Pool,
    clock: &ManualClock,
    user: &UserId,
) -> bool {
    let amount = "1".parse().unwrap();
    let key = kernel::IdempotencyKey::new(RandomIds.uuid().to_string(), [1; 32]).unwrap();
    let (caller, action, key) = match kind {
        0 => (CallerClass::Service, Action::Consume { amount, usage_record_id: None }, None),
        1 => (CallerClass::User, Action::Consume { amount, usage_record_id: None }, Some(key)),
        2 => (CallerClass::Service, Action::Grant(NewGrant::new(NewGrantKind::Promo, amount)), Some(key)),
        3 => {
            let hold_id = RandomIds.uuid();
            let ttl = credits::HOLD_TTL_DEFAULT;
            (CallerClass::User, Action::Hold { hold_id, amount, mode: HoldMode::Exact, ttl }, None)
        }
        4 | 5 => {
            let event_id = RandomIds.uuid().to_string();
            let input = UsageInput { event_id: Some(event_id), ..recorded(user) };
            let done = writes.usage(uncharged(input), CallerCheck::Exists).await.unwrap();
            return done.is_ok_and(|outcome| outcome.result.is_ok());
        }
        _ => {
            let session = Tx::run(pool, async |tx| match users::hold(tx.conn(), user).await? {
                true => sessions::create(tx, clock, &crate::operations::new_session(user)).await.map(Some),
                false => Ok(None),
            });
            let Some(session) = session.await.unwrap() else {
                return false;
            };
            let mut accepted = false;
            for _ in 0..3 {
                accepted |= writes.message(message(session.session_id, CANARY)).await.unwrap().is_ok();
            }
            return accepted;
        }
    };
    let check = match caller {
        CallerClass::Service => CallerCheck::Known,
        CallerClass::User => crate::operations::DUE,
    };
    let done = writes.ledger(command(user, caller, action), key, check).await.unwrap();
    done.is_ok_and(|outcome| outcome.result.is_ok())
}

/// The transaction of a batch that has read the user; one with commands of the ledger knows the receivers.
async fn batch_that_read(db: &TestDb, user: &UserId, has_commands: bool) -> Tx {
    let batch = Tx::begin(db.pool()).await.unwrap();
    let acting = identity::Acting { user_id: user.clone(), login_id: None };
    let status = match has_commands {
        true => {
            webhooks::Receivers::default().wanted(batch.shared()).await.unwrap();
            users::acting(batch.shared(), &[&acting]).await.unwrap()
        }
        false => users::acting_to_write(batch.shared(), &[&acting]).await.unwrap(),
    };
    assert!(status[0].is_some());
    batch
}

/// A batch that has read the user before they were removed, and writes after it: the erase waits for it, without a lock that others
/// would queue after, and not for those that begin later.
#[tokio::test]
async fn operations_that_have_read_the_user_are_waited_for() {
    for has_commands in [false, true] {
        erase_while_a_batch_goes_on(has_commands).await;
    }
}

async fn erase_while_a_batch_goes_on(has_commands: bool) {
    let (db, clock, user) = (database().await, testkit::clock(), testkit::user("a"));
    signed_up(&db, &clock, "a", "100").await;
    signed_up(&db, &clock, "b", "100").await;
    let batch = batch_that_read(&db, &user, has_commands).await;
    let mut erased = Box::pin(erase(&db, &clock, &user));
    let mut looks = 0;
    while looks < 20 {
        tokio::select! {
            biased;
            _ = &mut erased => panic!("the erase did not wait"),
            users = db.ask("SELECT count(*) FROM identity.users") => looks += i32::from(users == 1),
        }
    }
    // Nothing queues after the erase: others begin at once, and are not waited for.
    let later = batch_that_read(&db, &testkit::user("b"), has_commands).await;
    write_answer(&batch, &user).await;
    batch.commit().await.unwrap();
    assert!(erased.await.is_some());
    assert_eq!(left(&db, &user).await, 0);
    later.commit().await.unwrap();
}

/// A row of the user.
async fn write_answer(tx: &Tx, user: &UserId) {
    let mut conn = tx.shared();
    let text = format!(
        "INSERT INTO idempotency.answers (user_id, key, fingerprint, created_at, answer, caller)
         VALUES ('{user}', 'late', sha256('x'), now(), '{{}}', 'user')"
    );
    conn.batch_execute(&text).await.unwrap();
}

/// A process whose erase was overtaken: another one has ended it, and the user came back. Nothing of the new life is lost, nor of
/// another erase left out.
#[tokio::test]
async fn an_erase_that_is_late_leaves_alone_who_came_back() {
    let (db, clock, user) = (database().await, testkit::clock(), testkit::user("a"));
    signed_up(&db, &clock, "a", "100").await;
    let erased_at = erasure::begin(db.pool(), &clock, None, &asked(&user)).await.unwrap().unwrap();
    let late = erasures::Begun { user_id: user.clone(), erased_at };
    erasure::finish(db.pool(), &clock, &RandomIds, &late).await.unwrap();
    signed_up(&db, &clock, "a", "100").await;
    fill(&db, &clock, &user).await;
    let (before, rows) = (balance(&db, &clock, &user).await, left(&db, &user).await);
    assert!(!before.posted.is_zero());

    erasure::finish(db.pool(), &clock, &RandomIds, &late).await.unwrap();
    assert_eq!(balance(&db, &clock, &user).await, before);
    assert_eq!(left(&db, &user).await, rows);
    // The user goes once more, by a clock that stands still.
    let again = erasure::begin(db.pool(), &clock, None, &asked(&user)).await.unwrap().unwrap();
    assert!(again > erased_at);
    erasure::finish(db.pool(), &clock, &RandomIds, &late).await.unwrap();
    assert!(left(&db, &user).await > 0, "not ended by the first one");
    clock.advance(Duration::minutes(2));
    assert_eq!(erasure::finish_all(db.pool(), &clock, &RandomIds).await.unwrap(), 1);
    assert_eq!(left(&db, &user).await, 0);
}

/// A chunk meets rows that another transaction deletes: those after them are not left out.
#[tokio::test]
async fn rows_that_go_meanwhile_do_not_end_an_erase() {
    let (db, clock, user) = (database().await, testkit::clock(), testkit::user("a"));
    signed_up(&db, &clock, "a", "100").await;
    db.run(
        "INSERT INTO idempotency.answers (user_id, key, fingerprint, created_at, answer, caller)
         SELECT 'a', to_char(n, 'FM00000'), sha256('x'), now(), '{}', 'user' FROM generate_series(1, 6000) AS n",
    )
    .await;
    let pruning = Tx::begin(db.pool()).await.unwrap();
    let mut conn = pruning.shared();
    conn.batch_execute("DELETE FROM idempotency.answers WHERE key < '00500'").await.unwrap();
    let end = async {
        db.wait_for_waiting(1).await;
        pruning.commit().await.unwrap();
    };
    let (erased, ()) = tokio::join!(erase(&db, &clock, &user), end);
    assert!(erased.is_some());
    assert_eq!(db.ask("SELECT count(*) FROM idempotency.answers").await, 0);
}

#[tokio::test]
async fn an_erase_that_fails_stops_no_other() {
    let (mut db, clock) = (database().await, testkit::clock());
    for name in ["a", "b", "c"] {
        signed_up(&db, &clock, name, "100").await;
        let begun = erasure::begin(db.pool(), &clock, None, &asked(&testkit::user(name))).await.unwrap();
        assert!(begun.is_some());
        clock.advance(Duration::SECOND);
    }
    db.forgo_audits();
    db.run_as_superuser(
        "ALTER TABLE credits.accounts ADD CONSTRAINT broken CHECK (user_id <> 'a' OR posted > 0)",
    )
    .await;
    clock.advance(Duration::minutes(2));
    erasure::finish_all(db.pool(), &clock, &RandomIds).await.unwrap_err();
    assert!(left(&db, &testkit::user("a")).await > 0);
    assert_eq!(left(&db, &testkit::user("b")).await + left(&db, &testkit::user("c")).await, 0);
}
