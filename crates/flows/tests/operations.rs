//! Operations of several domains that wait together.

use std::{collections::BTreeSet, sync::Arc};

use credits::Defaults;
use diesel_async::SimpleAsyncConnection as _;
use flows::{
    BalanceReads, CallerCheck, CallerRejected, LedgerOutcome, StatusReads, UsageCommand, Writes, sign_up,
};
use futures_util::join;
use identity::{Activity, StatusQuery, users::UserChange};
use kernel::{Actor, CallerClass, Credits, FreeForm, Ids as _, ManualClock, RandomIds, Scope, Usd, UserId};
use pg::{Pool, Tx};
use sessions::{ImportanceScore, MessageStatus, NewMessage, NewSession, Role, SessionRefusal};
use testkit::TestDb;
use tokio::task::JoinSet;
use usage::UsageInput;
use uuid::Uuid;

use crate::{database, request};

/// Users who act by a token of another issuer.
pub const DUE: CallerCheck = CallerCheck::Due { login_id: None };

pub fn consume(user_id: UserId, amount: &str) -> credits::Command {
    credits::Command {
        user_id,
        actor: Actor::User,
        caller: CallerClass::User,
        nonce: RandomIds.uuid(),
        description: None,
        metadata: FreeForm::empty(),
        action: credits::Action::Consume { amount: amount.parse().unwrap(), usage_record_id: None },
    }
}

pub async fn signed_up(db: &TestDb, clock: &ManualClock, name: &str, initial: &str) {
    let request = request(name, initial);
    let done = sign_up::run(db.pool(), clock, &RandomIds, &request).await;
    assert!(done.unwrap().unwrap().created);
}

pub fn new_session(user: &UserId) -> NewSession {
    NewSession {
        user_id: user.clone(),
        session_id: RandomIds.uuid(),
        title: None,
        conversation_data: FreeForm::empty(),
        metadata: FreeForm::empty(),
        expires_at: None,
    }
}

async fn session(db: &TestDb, clock: &ManualClock, user: &UserId) -> Uuid {
    session_in(db.pool(), clock, user).await
}

pub async fn session_in(pool: &Pool, clock: &ManualClock, user: &UserId) -> Uuid {
    let mut tx = Tx::begin(pool).await.unwrap();
    let made = sessions::create(&mut tx, clock, &new_session(user)).await.unwrap();
    tx.commit().await.unwrap();
    made.session_id
}

pub fn writes(db: &TestDb, clock: &ManualClock) -> Writes {
    Writes::start(db.pool().clone(), Arc::new(clock.clone()), Defaults::default())
}

/// What was used, for nothing but the record.
pub fn uncharged(input: UsageInput) -> UsageCommand {
    UsageCommand {
        input: UsageInput { recorded_by: CallerClass::User, ..input },
        from: None,
        actor: Actor::User,
        nonce: RandomIds.uuid(),
        idempotency: None,
    }
}

/// Runs a command for somebody whose standing is known.
pub async fn run(writes: &Writes, command: credits::Command) -> LedgerOutcome {
    let done = writes.ledger(command, None, CallerCheck::Done).await;
    done.unwrap().unwrap()
}

/// Runs a command under a key, as a request that `asks` for something.
pub async fn run_under(writes: &Writes, command: credits::Command, key: &str, asks: u8) -> LedgerOutcome {
    let key = kernel::IdempotencyKey::new(key, [asks; 32]).unwrap();
    writes.ledger(command, Some(key), CallerCheck::Done).await.unwrap().unwrap()
}

pub fn message(session_id: Uuid, content: &str) -> NewMessage {
    NewMessage {
        scope: Scope::Any,
        session_id,
        message_id: RandomIds.uuid(),
        role: Role::User,
        content: content.to_owned(),
        message_type: "chat".to_owned(),
        tokens_used: 1,
        cost_usd: Usd::ZERO,
        tool_calls: None,
        tool_call_id: None,
        message_metadata: FreeForm::empty(),
        is_summary_candidate: true,
        importance_score: ImportanceScore::default(),
        status: MessageStatus::Completed,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operations_of_all_domains_wait_together_and_each_gets_its_own_outcome() {
    let (db, clock, user) = (database().await, testkit::clock(), testkit::user("a"));
    signed_up(&db, &clock, "a", "50").await;
    let session = session(&db, &clock, &user).await;

    let writes = writes(&db, &clock);
    let mut callers = JoinSet::new();
    for turn in 0..60 {
        let (writes, user, session) = (writes.clone(), user.clone(), session);
        callers.spawn(async move {
            match turn % 3 {
                0 => run(&writes, consume(user, "10")).await.result.is_ok(),
                1 => {
                    let used = uncharged(UsageInput::new(user, "ai_chat"));
                    let done = writes.usage(used, CallerCheck::Done).await;
                    done.unwrap().unwrap().result.is_ok()
                }
                _ => writes.message(message(session, "hello")).await.unwrap().is_ok(),
            }
        });
    }
    let done = callers.join_all().await.into_iter().filter(|done| *done).count();
    assert_eq!(done, 45, "5 of 20 consumes can be paid; usage and messages all succeed");

    // A NUL is what the database refuses and the edge would have caught: it fails alone, its neighbours do not.
    let (poison, fine, unknown) = tokio::join!(
        writes.message(message(session, "a\0b")),
        writes.message(message(session, "fine")),
        writes.message(message(RandomIds.uuid(), "nowhere")),
    );
    assert_eq!(poison.unwrap_err(), pg::Rejected::Failed);
    assert!(fine.unwrap().is_ok());
    assert!(matches!(unknown.unwrap(), Err(SessionRefusal::NotFound { .. })));

    let balances = BalanceReads::start(db.pool().clone(), Arc::new(clock.clone()));
    assert_eq!(
        balances.ask(&user, CallerCheck::Done).await.unwrap().unwrap().map(|balance| balance.posted),
        Some(Credits::ZERO)
    );
    assert_eq!(balances.ask(&testkit::user("nobody"), CallerCheck::Done).await.unwrap().unwrap(), None);
    let statuses = StatusReads::start(db.pool().clone());
    assert!(
        statuses.ask(StatusQuery::user(&user)).await.unwrap().user.is_some_and(|status| status.is_active)
    );
    assert!(statuses.ask(StatusQuery::user(&testkit::user("nobody"))).await.unwrap().user.is_none());

    writes.flush().await;
    assert_eq!(
        writes.ledger(consume(user, "1"), None, CallerCheck::Done).await.unwrap_err(),
        pg::Rejected::Full
    );
}

/// Messages of a megabyte each would otherwise be allowed to take gigabytes while they wait.
#[tokio::test]
async fn operations_that_wait_are_bounded_in_bytes() {
    let (db, clock) = (database().await, testkit::clock());
    let (writes, nowhere) = (writes(&db, &clock), RandomIds.uuid());
    let content = "a".repeat(sessions::CONTENT_BYTES_MAX);
    // All are in the queue before the lane, on the same thread, takes the first.
    let submitted = (0..64).map(|_| writes.message(message(nowhere, &content)));
    let results = futures_util::future::join_all(submitted).await;
    let unknown = results.iter().filter(|result| matches!(result, Ok(Err(_))));
    assert_eq!(unknown.count(), 63);
    assert_eq!(results[63].as_ref().unwrap_err(), &pg::Rejected::Full);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_does_nothing_for_the_barred_and_leaves_their_neighbours_alone() {
    let (db, clock) = (database().await, testkit::clock());
    for id in ["a", "b", "admin"] {
        sign_up::run(db.pool(), &clock, &RandomIds, &request(id, "50")).await.unwrap().unwrap();
    }
    let mut tx = pg::Tx::begin(db.pool()).await.unwrap();
    let barred = UserChange::activity(Activity::Deactivated);
    identity::users::change(&mut tx, &clock, &testkit::user("b"), &barred).await.unwrap().unwrap().unwrap();
    identity::users::apply_admins(&mut tx, &clock, &[testkit::user("admin")]).await.unwrap();
    tx.commit().await.unwrap();
    let writes = writes(&db, &clock);
    let balances = BalanceReads::start(db.pool().clone(), Arc::new(clock.clone()));
    let spend = async |id: &str| {
        let command = consume(testkit::user(id), "10");
        writes.ledger(command, None, DUE).await.unwrap()
    };
    let (a, b, nobody, admin) = join!(spend("a"), spend("b"), spend("nobody"), spend("admin"));
    let actor = |done: Result<LedgerOutcome, CallerRejected>| {
        done.map(|outcome| outcome.result.unwrap().entry.unwrap().actor)
    };
    assert_eq!(actor(a), Ok(Actor::User));
    assert_eq!(actor(b), Err(CallerRejected::Disabled));
    assert_eq!(actor(nobody), Err(CallerRejected::Unknown));
    assert_eq!(actor(admin), Ok(Actor::Admin));
    let left = async |id: &str, check| {
        let asked = balances.ask(&testkit::user(id), check).await.unwrap();
        asked.map(|balance| balance.map(|balance| balance.posted.to_string()))
    };
    assert_eq!(left("a", DUE).await, Ok(Some("40.0".to_owned())));
    assert_eq!(left("b", DUE).await, Err(CallerRejected::Disabled));
    assert_eq!(left("b", CallerCheck::Done).await, Ok(Some("50.0".to_owned())));
    assert_eq!(left("nobody", DUE).await, Err(CallerRejected::Unknown));
    // Who was known a moment ago needs no other look.
    let mut conn = db.connect().await;
    conn.batch_execute("ALTER TABLE identity.users RENAME TO hidden").await.unwrap();
    assert_eq!(left("a", CallerCheck::Known).await, Ok(Some("40.0".to_owned())));
    balances.ask(&testkit::user("a"), CallerCheck::Exists).await.unwrap_err();
    conn.batch_execute("ALTER TABLE identity.hidden RENAME TO users").await.unwrap();
    let recorded = writes.usage(uncharged(UsageInput::new(testkit::user("b"), "ai_chat")), DUE);
    assert_eq!(recorded.await.unwrap().unwrap_err(), CallerRejected::Disabled);
    // By logins: of a live one, and of one that has ended, in the same batch.
    let logins = [Uuid::from_u128(1), Uuid::from_u128(2)];
    for (login_id, ended_at) in logins.iter().zip(["null", "now()"]) {
        db.run(&format!(
            "INSERT INTO identity.logins (user_id, id, refresh_digest, created_at, rotated_at, expires_at, ended_at) \
             VALUES ('a', '{login_id}', sha256('x'), '2020-01-01', '2020-01-01', '2050-01-01', {ended_at})"
        ))
        .await;
    }
    let [live, ended] = logins.map(|login_id| CallerCheck::Due { login_id: Some(login_id) });
    let spend = async |check| {
        let done = writes.ledger(consume(testkit::user("a"), "10"), None, check).await.unwrap();
        done.map(|outcome| outcome.result.unwrap().balance.posted.to_string())
    };
    let (first, second) = join!(spend(live), spend(ended));
    assert_eq!((first, second), (Ok("30.0".to_owned()), Err(CallerRejected::LoggedOut)));
    assert_eq!(left("a", ended).await, Err(CallerRejected::LoggedOut));
    assert_eq!(left("a", live).await, Ok(Some("30.0".to_owned())));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_locked_account_and_a_locked_session_hold_up_nobody_else() {
    let (db, clock) = (database().await, testkit::clock());
    for name in ["a", "b"] {
        let request = request(name, "50");
        sign_up::run(db.pool(), &clock, &RandomIds, &request).await.unwrap().unwrap();
    }
    let (a, b) = (testkit::user("a"), testkit::user("b"));
    let made = [session(&db, &clock, &a).await, session(&db, &clock, &a).await];

    let mut other = Tx::begin(db.pool()).await.unwrap();
    let (account, session) = (BTreeSet::from([a.clone()]), BTreeSet::from([made[0]]));
    assert!(credits::blocked(&mut other, &account).await.unwrap().is_empty());
    assert!(sessions::blocked(&mut other, &session).await.unwrap().is_empty());
    let mut settings = pg::PoolSettings::new(db.url());
    settings.lock_timeout = std::time::Duration::from_millis(50);
    let writes =
        Writes::start(pg::Pool::new(&settings).unwrap(), Arc::new(clock.clone()), Defaults::default());
    let (charge, words, usage, charge_b, words_b) = tokio::join!(
        writes.ledger(consume(a.clone(), "1"), None, CallerCheck::Done),
        writes.message(message(made[0], "blocked")),
        writes.usage(uncharged(UsageInput::new(a.clone(), "ai_chat")), CallerCheck::Done),
        writes.ledger(consume(b, "1"), None, CallerCheck::Done),
        writes.message(message(made[1], "free")),
    );
    assert_eq!(charge.unwrap_err(), pg::Rejected::Blocked);
    assert_eq!(words.unwrap_err(), pg::Rejected::Blocked);
    assert!(usage.unwrap().unwrap().result.is_ok());
    assert!(charge_b.unwrap().unwrap().result.is_ok());
    assert!(words_b.unwrap().is_ok());
    other.rollback().await;
    assert!(run(&writes, consume(a, "50")).await.result.is_ok());
    assert!(writes.message(message(made[0], "now")).await.unwrap().is_ok());
}

#[tokio::test]
async fn old_outcomes_are_pruned_and_old_keys_still_stand() {
    let (db, clock) = (database().await, testkit::clock());
    let request = request("a", "5");
    sign_up::run(db.pool(), &clock, &RandomIds, &request).await.unwrap().unwrap();
    let writes = writes(&db, &clock);
    let keyed =
        async |key: &str, amount| run_under(&writes, consume(testkit::user("a"), amount), key, 1).await;
    let first = keyed("paid", "2").await.result.unwrap();
    let refused = keyed("refused", "4").await.result;
    assert!(refused.is_err());
    let week = time::Duration::WEEK;
    let prune = || flows::pruning::run(db.pool(), &clock, week);
    clock.advance(week);
    assert_eq!(prune().await.unwrap(), flows::Pruned::default(), "not older than a week");
    clock.advance(time::Duration::SECOND);
    let job_clock: Arc<dyn kernel::Clock> = Arc::new(clock.clone());
    let job = flows::pruning::job(db.pool(), &job_clock, week);
    let jobs = flows::jobs::JobRunner::start([job], &job_clock);
    let conn = db.pool().get().await.unwrap();
    // The key of a refusal is free again once it is forgotten; that of a success never is.
    while keyed("refused", "1").await.result.is_err() {}
    drop(jobs);
    let again = keyed("paid", "2").await;
    assert_eq!(again.replay, flows::Replay::ByKey);
    assert_eq!(again.result.unwrap().entry, first.entry);
    let left = credits::balances(&conn, &clock, &[testkit::user("a")]).await.unwrap();
    assert_eq!(left[0].unwrap().posted, "2".parse().unwrap());
    prune().await.unwrap();
    assert_eq!(prune().await.unwrap(), flows::Pruned::default());
}

#[tokio::test]
async fn a_fall_to_the_default_threshold_is_an_event_once() {
    let (db, clock, user) = (database().await, testkit::clock(), testkit::user("a"));
    signed_up(&db, &clock, "a", "45").await;
    let defaults = Defaults { low_balance_at: Some("30".parse().unwrap()) };
    let writes = Writes::start(db.pool().clone(), Arc::new(clock.clone()), defaults);
    for amount in ["10", "5", "1"] {
        let charged = run(&writes, consume(user.clone(), amount)).await;
        assert!(charged.result.is_ok());
    }
    let mut conn = db.pool().get().await.unwrap();
    let events = webhooks::newest(&mut conn, &user, 4).await.unwrap();
    let types: Vec<_> = events.iter().map(|event| event.event_type.as_str()).collect();
    let charge = "credit_consumed";
    assert_eq!(types, [charge, "credit_low", charge, charge]);
    assert_eq!(events[1].payload.as_json(), r#"{"threshold": 30.0, "balance_after": 30.0}"#);
}
