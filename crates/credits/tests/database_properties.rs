//! Random batches on PostgreSQL: the same as one by one, the same as in memory, and the same with a sweeper about.

use std::{
    collections::BTreeMap,
    sync::{
        LazyLock,
        atomic::{AtomicUsize, Ordering},
    },
};

use credits::{
    Action, Applied, Balance, Command, EntryKind, GrantFilter, GrantView, HoldFilter, HoldView, Outcome,
    Refusal,
    core::{AccountState, AccountStatus, Effect, EntryRef, JournalEntry},
};
use diesel::{QueryableByName, sql_types::Text};
use diesel_async::RunQueryDsl;
use kernel::{Actor, Clock, Credits, Failure, ManualClock, Page, UserId};
use pg::Tx;
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};
use testkit::TestDb;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use crate::{
    budgets::set,
    generator::{self, Limits, Names, Op, limits, op},
    memory::{EVENING, Expected, new_budgets, shown_budgets},
    support::{answers, command, database, execute},
};

/// A batch after a wait of seconds: users, and what they ask.
type Batch = (i64, Vec<(usize, Op)>);

const USERS: usize = 3;

/// Number of charges that [`spend_first`] booked by one statement.
static SPENT: AtomicUsize = AtomicUsize::new(0);

/// The numbers of commands of a case, which no other case has: ids follow from them.
const NUMBERS: usize = 1_000;

#[derive(QueryableByName)]
struct Line {
    #[diesel(sql_type = Text)]
    line: String,
}

/// Batches of all kinds of commands, and some of small charges alone: a statement books only such.
fn batches() -> impl Strategy<Value = Vec<Batch>> {
    let small = || (0..USERS, (1..8_i64).prop_map(Op::Consume));
    let batch = prop_oneof![
        3 => prop::collection::vec((0..USERS, op()), 1..12),
        2 => prop::collection::vec(small(), 1..12),
    ];
    prop::collection::vec((0..20_i64, batch), 1..8)
}

fn runner(cases: u32) -> TestRunner {
    TestRunner::new(Config { cases, failure_persistence: None, max_shrink_iters: 100, ..Config::default() })
}

fn runtime() -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(2).enable_all().build().unwrap()
}

/// Whose budgets are replaced before a batch, and by which.
type Change = Option<(usize, Limits)>;

/// L11, L19, and that the database adds nothing to the rules.
#[test]
fn batches_are_the_same_as_single_commands_and_as_the_core() {
    let runtime = runtime();
    let (together, alone, plain) =
        runtime.block_on(async { (database().await, database().await, database().await) });
    let cases = AtomicUsize::new(0);
    let changes = prop::collection::vec(prop::option::weighted(0.5, (0..USERS, limits())), 8);
    runner(60)
        .run(&(batches(), changes), |(batches, changes)| {
            let case = cases.fetch_add(1, Ordering::Relaxed);
            runtime.block_on(compare([&together, &alone, &plain], case, &batches, &changes));
            Ok(())
        })
        .unwrap();
    assert!(
        AtomicUsize::load(&SPENT, Ordering::Relaxed) > 100,
        "hardly any charge was booked by the statement: {SPENT:?}"
    );
}

/// L7 on PostgreSQL.
#[test]
fn a_sweeper_between_batches_changes_nothing_that_is_stored() {
    let runtime = runtime();
    let (alone, swept) = runtime.block_on(async { (database().await, database().await) });
    let cases = AtomicUsize::new(0);
    let sweeps = prop::collection::vec((any::<bool>(), 1..4_i64), 8);
    runner(30)
        .run(&(batches(), sweeps), |(batches, sweeps)| {
            let case = cases.fetch_add(1, Ordering::Relaxed);
            runtime.block_on(compare_swept(&alone, &swept, case, &batches, &sweeps));
            Ok(())
        })
        .unwrap();
}

fn users(case: usize) -> Vec<UserId> {
    let name = |number| testkit::user(&format!("case-{case}-{number}"));
    (0..USERS).map(name).collect()
}

/// The commands of a batch for these users, and what the core makes of them.
fn commands(
    users: &[UserId],
    names: &mut [Names],
    first: usize,
    (clock, memory): (&ManualClock, &mut Expected),
    batch: &Batch,
) -> (Vec<Command>, Vec<String>) {
    let items = batch.1.iter().enumerate();
    let command = |(place, (user, op)): (usize, &(usize, Op))| {
        let (number, names) = (first + place, &mut names[*user]);
        let command = generator::command(&users[*user], names, number, clock.now(), op);
        let (answer, transaction_id) = memory.answer(clock, &command);
        names.note(number, op);
        if let Some(id) = transaction_id {
            names.note_transaction(number, id);
        }
        (command, answer)
    };
    items.map(command).unzip()
}

async fn compare(dbs: [&TestDb; 3], case: usize, batches: &[Batch], changes: &[Change]) {
    let [together, alone, plain] = dbs;
    let (clock, users) = (ManualClock::at(EVENING), users(case));
    let mut names = vec![Names::default(); USERS];
    let mut memory = Expected::default();
    let mut number = case * NUMBERS;
    for user in &users {
        let opening = generator::command(user, &Names::default(), number, clock.now(), &Op::Open(70));
        for db in dbs {
            execute(db.pool(), &clock, std::slice::from_ref(&opening)).await;
        }
        memory.answer(&clock, &opening);
        number += 1;
    }
    for (batch, change) in batches.iter().zip(changes) {
        if let Some((user, limits)) = change {
            let new = new_budgets(limits);
            for db in dbs {
                set(db.pool(), &users[*user], &new).await.unwrap();
            }
            memory.set_budgets(&users[*user], &new);
        }
        clock.advance(Duration::seconds(batch.0));
        let (commands, in_memory) = commands(&users, &mut names, number, (&clock, &mut memory), batch);
        let mut one_by_one = Vec::new();
        for command in &commands {
            one_by_one.extend(answers(alone.pool(), &clock, std::slice::from_ref(command)).await);
        }
        let batched = execute(together.pool(), &clock, &commands).await;
        assert_eq!(words(&batched.outcomes), words(&one_by_one));
        assert_eq!(words(&batched.outcomes), in_memory);
        assert_eq!(words(&spend_first(plain, &clock, &commands).await), in_memory);
        number += batch.1.len();
    }
    assert_eq!(stored(together, &users).await, stored(alone, &users).await);
    assert_eq!(stored(together, &users).await, stored(plain, &users).await);
    for user in &users {
        check_reads(together, &clock, user, memory.states.get(user)).await;
    }
}

static SPEND: LazyLock<String> = LazyLock::new(|| {
    credits::spend_text(credits::Guards {
        edition: "'00000000-0000-0000-0000-000000000000'::uuid",
        may_act: "false",
    })
});

/// Runs a batch with what one statement can book of it first.
async fn spend_first(db: &TestDb, clock: &ManualClock, commands: &[Command]) -> Vec<Outcome> {
    let is_plain = |command: &Command| credits::PlainCharge::new(command, false).is_some();
    let apart = |command: &&Command| {
        let own = commands.iter().filter(|other| other.user_id == command.user_id);
        own.clone().all(is_plain)
    };
    let (plain, mut rest): (Vec<&Command>, Vec<&Command>) = commands.iter().partition(apart);
    let charges: Vec<_> =
        plain.iter().filter_map(|command| credits::PlainCharge::new(command, false)).collect();
    let conn = db.pool().get().await.unwrap();
    let spent = credits::spend(&conn, clock, &SPEND, Uuid::nil(), &charges).await.unwrap();
    drop(conn);
    let mut outcomes = BTreeMap::new();
    for (command, outcome) in plain.into_iter().zip(spent) {
        match outcome {
            Some(outcome) => drop(outcomes.insert(command.nonce, outcome)),
            None => rest.push(command),
        }
    }
    SPENT.fetch_add(outcomes.len(), Ordering::Relaxed);
    let rest: Vec<Command> = rest.into_iter().cloned().collect();
    for (command, outcome) in rest.iter().zip(answers(db.pool(), clock, &rest).await) {
        outcomes.insert(command.nonce, outcome);
    }
    commands.iter().map(|command| outcomes.remove(&command.nonce).unwrap()).collect()
}

async fn compare_swept(
    alone: &TestDb,
    swept: &TestDb,
    case: usize,
    batches: &[Batch],
    sweeps: &[(bool, i64)],
) {
    let clock = testkit::clock();
    let users = users(case);
    let (mut names, mut memory) = (vec![Names::default(); USERS], Expected::default());
    let mut number = case * NUMBERS;
    for batch in batches {
        let sweeper = &sweeps[number % sweeps.len()];
        for _ in 0..batch.0 {
            clock.advance(Duration::SECOND);
            if sweeper.0 {
                let mut tx = Tx::begin(swept.pool()).await.unwrap();
                credits::sweep(&mut tx, &clock, credits::Defaults::default(), sweeper.1).await.unwrap();
                tx.commit().await.unwrap();
            }
        }
        let (commands, in_memory) = commands(&users, &mut names, number, (&clock, &mut memory), batch);
        for db in [alone, swept] {
            assert_eq!(words(&answers(db.pool(), &clock, &commands).await), in_memory);
        }
        number += batch.1.len();
    }
    clock.advance(Duration::minutes(1));
    let due: Vec<Command> = users.iter().map(|user| command(user, Action::ApplyDue)).collect();
    for db in [alone, swept] {
        for user in &users {
            let shown = reads(db, &clock, user).await;
            assert_eq!(shown, reads(swept, &clock, user).await);
        }
        execute(db.pool(), &clock, &due).await;
    }
    assert_eq!(stored(alone, &users).await, stored(swept, &users).await);
}

/// The outcomes without what must differ between users: ids, and the transaction ids of due items.
fn words(outcomes: &[Outcome]) -> Vec<String> {
    let word = |outcome: &Outcome| match &outcome.result {
        Ok(applied) => applied_word(applied, outcome.at),
        Err(refusal) => refused(refusal, outcome.at),
    };
    outcomes.iter().map(word).collect()
}

pub fn refused(refusal: &Refusal, at: OffsetDateTime) -> String {
    let details = match refusal {
        // Of a scheduled grant, and so of one user.
        Refusal::ReferenceConflict { .. } | Refusal::UserNotFound { .. } => Vec::new(),
        refusal => refusal.details(),
    };
    format!("{} {details:?} at {at}", refusal.code())
}

fn applied_word(applied: &Applied, at: OffsetDateTime) -> String {
    let entry = applied.entry.as_ref().map(|entry| Brief {
        seq: entry.seq,
        kind: entry.kind,
        amount: entry.amount,
        before: entry.balance_before,
        after: entry.balance_after,
        at: entry.created_at,
        command: (entry.actor != Actor::System).then_some(entry.transaction_id),
    });
    let (hold, grant) = (applied.hold.as_ref(), applied.grant.as_ref());
    word(entry, hold, grant, applied.balance, applied.uncollected, applied.replayed, at)
}

pub fn effect_word(state: &AccountState, effect: &Effect, now: OffsetDateTime) -> String {
    let made = |seq: i64| state.journal().iter().find(|entry| entry.seq == seq).unwrap();
    let brief = |entry: &JournalEntry| Brief {
        seq: entry.seq,
        kind: entry.kind,
        amount: entry.amount,
        before: entry.balance_before,
        after: entry.balance_after,
        at: entry.created_at,
        command: (entry.actor != Actor::System).then_some(entry.transaction_id),
    };
    let entry = match effect.entry {
        EntryRef::Nothing => None,
        EntryRef::Before(_) => panic!("nothing was stored before"),
        EntryRef::Now(seq) => Some(brief(made(seq))),
    };
    let at = now.max(state.account.as_of);
    let (hold, grant) = (effect.hold.as_deref(), effect.grant.as_deref());
    word(entry, hold, grant, effect.balance, effect.uncollected, effect.replayed, at)
}

#[derive(Debug)]
#[expect(dead_code, reason = "only shown")]
struct Brief {
    seq: i64,
    kind: EntryKind,
    amount: Credits,
    before: Credits,
    after: Credits,
    at: OffsetDateTime,
    command: Option<Uuid>,
}

fn word(
    entry: Option<Brief>,
    hold: Option<&HoldView>,
    grant: Option<&GrantView>,
    balance: Balance,
    uncollected: Credits,
    replayed: bool,
    at: OffsetDateTime,
) -> String {
    let hold = hold.map(|hold| HoldView { metadata: kernel::FreeForm::empty(), ..hold.clone() });
    let grant = grant.map(|grant| GrantView {
        transaction_id: None,
        metadata: kernel::FreeForm::empty(),
        ..grant.clone()
    });
    format!("{entry:?} {hold:?} {grant:?} {balance:?} {uncollected} {replayed} at {at}")
}

/// Everything that is stored about the users, but for what must differ.
async fn stored(db: &TestDb, users: &[UserId]) -> Vec<Vec<String>> {
    let mut all = Vec::new();
    for user in users {
        let mut conn = db.pool().get().await.unwrap();
        let lines: Vec<Line> = pg::sql(
            "SELECT line FROM ( \
             SELECT 1 AS part, 0 AS a, '' AS b, (to_jsonb(t) - 'user_id')::text AS line FROM credits.accounts t \
               WHERE user_id = $1 \
             UNION ALL SELECT 2, id, '', (to_jsonb(t) - 'user_id' - 'transaction_id')::text FROM credits.current_grants t \
               WHERE user_id = $1 \
             UNION ALL SELECT 3, seq, '', (to_jsonb(t) - 'user_id' - 'id' - 'booked_at' - CASE actor WHEN 'system' \
               THEN 'transaction_id' ELSE '' END)::text FROM credits.entries t WHERE user_id = $1 \
             UNION ALL SELECT 4, seq, grant_id::text, (to_jsonb(t) - 'user_id')::text FROM credits.entry_grants t \
               WHERE user_id = $1 \
             UNION ALL SELECT 5, entry_seq, '', (to_jsonb(t) - 'user_id')::text FROM credits.holds t WHERE user_id = $1 \
             UNION ALL SELECT 7, 0, period, (to_jsonb(t) - 'user_id')::text FROM credits.budgets t WHERE user_id = $1 \
             ) AS lines ORDER BY part, a, b",
        )
        .bind::<Text, _>(user.as_str())
        .load(&mut conn)
        .await
        .unwrap();
        all.push(lines.into_iter().map(|line| line.line).collect());
    }
    all
}

/// What all reads show, but for what must differ: pages of two, one behind the other.
async fn reads(db: &TestDb, clock: &ManualClock, user: &UserId) -> String {
    let mut conn = db.pool().get().await.unwrap();
    let mut text = format!("{:?}", credits::account(&mut conn, clock, user).await.unwrap());
    for filter in [GrantFilter::Open, GrantFilter::Used, GrantFilter::Expired, GrantFilter::All] {
        let mut page = Page::first(2);
        loop {
            let slice = credits::grants(&mut conn, clock, user, filter, &page).await.unwrap();
            text += &format!("\n{filter:?} {:?}", slice.items);
            let Some(place) = slice.next else { break };
            page = Page::new(2, kernel::Start::After(place)).unwrap();
        }
    }
    for filter in std::iter::once(HoldFilter::All).chain(credits::HoldStatus::ALL.map(HoldFilter::Only)) {
        let mut page = Page::first(2);
        loop {
            let slice = credits::holds(&mut conn, clock, user, filter, &page).await.unwrap();
            text += &format!("\n{filter:?} {:?}", slice.items);
            let Some(place) = slice.next else { break };
            page = Page::new(2, kernel::Start::After(place)).unwrap();
        }
    }
    text
}

/// Reads show now and later what the core would make of it, and write nothing.
async fn check_reads(db: &TestDb, clock: &ManualClock, user: &UserId, state: Option<&AccountState>) {
    let later = ManualClock::at(clock.now());
    let state = state.filter(|state| state.status == AccountStatus::Open);
    for _ in 0..3 {
        let mut conn = db.pool().get().await.unwrap();
        let found = credits::balances(&conn, &later, std::slice::from_ref(user)).await.unwrap();
        let account = credits::account(&mut conn, &later, user).await.unwrap();
        let page = Page::first(500);
        let grants = credits::grants(&mut conn, &later, user, GrantFilter::All, &page).await.unwrap().items;
        let holds =
            credits::holds(&mut conn, &later, user, HoldFilter::All, &Page::first(500)).await.unwrap().items;
        let Some(state) = state else {
            assert_eq!((found, account, grants, holds), (vec![None], None, vec![], vec![]));
            return;
        };
        let now = later.now().max(state.account.as_of);
        let settled = credits::core::settled(state, now).unwrap();
        assert_eq!(found, [Some(settled.account.balance())]);
        let budgets = credits::budgets(&mut conn, &later, user).await.unwrap();
        assert_eq!(budgets, Some(shown_budgets(state, now, settled.account.held)));
        let account = account.unwrap();
        assert_eq!(account.balance, settled.account.balance());
        let newest = settled.journal().last().map(|entry| entry.created_at);
        assert_eq!(account.updated_at, newest.unwrap_or(account.updated_at));

        let figures = |grant: &GrantView| (grant.grant_id, grant.remaining, grant.held, grant.status);
        let expected: Vec<_> = settled
            .grants()
            .iter()
            .map(|grant| figures(&grant.shown(&credits::core::Notes::default(), now)))
            .collect();
        assert_eq!(grants.iter().map(figures).collect::<Vec<_>>(), expected);
        let open = |grant: &&GrantView| grant.status == credits::GrantStatus::Open;
        assert!(grants.iter().filter(open).eq(&account.grants));
        assert!(grants.iter().all(|grant| grant.description.is_some()));

        let hold = |hold: &HoldView| (hold.hold_id, hold.status, hold.released, hold.resolved_at);
        let mut expected: Vec<_> = settled.holds().map(|hold| hold.shown()).collect();
        expected.sort_by_key(|hold| std::cmp::Reverse(hold.entry_seq));
        assert_eq!(holds.iter().map(hold).collect::<Vec<_>>(), expected.iter().map(hold).collect::<Vec<_>>());
        later.advance(Duration::seconds(30));
    }
}
