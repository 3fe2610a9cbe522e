//! Balances and the listing of transactions.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
};

use credits::{
    Action, BudgetPeriod, Direction, Entry, GrantFilter, HoldFilter, HoldStatus, NewGrant, NewGrantKind,
    TransactionFilter, TransactionKind, TransactionName, balances, transactions,
};
use diesel::connection::InstrumentationEvent;
use diesel_async::{AsyncConnection, AsyncPgConnection, SimpleAsyncConnection};
use kernel::{Clock, Credits, ManualClock, Page, Start, SystemClock, UserId};
use pg::{Pool, Tx};
use testkit::TestDb;
use time::Duration;

use crate::{
    budgets::{budget, set},
    global_references::shared_names,
    support::{capture, command, consume, credits, database, entry, hold, open, recharge, refund, run},
};

async fn list(conn: &mut AsyncPgConnection, user: &UserId, filter: TransactionFilter) -> Vec<Entry> {
    transactions(conn, user, &filter, &Page::first(500)).await.unwrap().items
}

fn seqs(entries: &[Entry]) -> Vec<i64> {
    entries.iter().map(|entry| entry.seq).collect()
}

/// An account with a grant, a recharge, ten consumes a minute apart, and an expiry.
async fn history(db: &TestDb, clock: &ManualClock) -> UserId {
    let user = testkit::user("auth0|busy");
    run(db.pool(), clock, &[open(&user, credits(100))]).await;
    let promo = NewGrant {
        expires_at: Some(clock.now() + Duration::seconds(330)),
        ..NewGrant::new(NewGrantKind::Promo, credits(50))
    };
    run(
        db.pool(),
        clock,
        &[command(&user, Action::Grant(promo)), recharge(&user, credits(20), Some("pi_1"))],
    )
    .await;
    for _ in 0..10 {
        clock.advance(Duration::minutes(1));
        run(db.pool(), clock, &[consume(&user, credits(1))]).await;
    }
    user
}

#[tokio::test]
async fn balances_come_in_the_order_asked_and_count_what_is_due() {
    let (db, clock) = (database().await, testkit::clock());
    let (one, two, none) = (testkit::user("one"), testkit::user("two"), testkit::user("none"));
    let promo = NewGrant {
        expires_at: Some(clock.now() + Duration::hours(1)),
        ..NewGrant::new(NewGrantKind::Promo, credits(5))
    };
    let later = NewGrant {
        effective_at: Some(clock.now() + Duration::hours(2)),
        ..NewGrant::new(NewGrantKind::Plan, credits(7))
    };
    let batch = [
        open(&one, credits(1)),
        open(&two, credits(2)),
        command(&one, Action::Grant(promo.clone())),
        command(&one, Action::Grant(later)),
        command(&two, Action::Grant(promo)),
        consume(&two, credits(5)),
    ];
    assert!(run(db.pool(), &clock, &batch).await.iter().all(Result::is_ok));
    let conn = db.connect().await;
    let asked = [two.clone(), none, one.clone(), two];
    let shown = async |expected: [i64; 3]| {
        let found = balances(&conn, &clock, &asked).await.unwrap();
        let posted: Vec<_> = found.iter().map(|balance| balance.map(|balance| balance.posted)).collect();
        assert_eq!(
            posted,
            [Some(credits(expected[0])), None, Some(credits(expected[1])), Some(credits(expected[0]))]
        );
        assert_eq!(found[2].unwrap().lifetime_granted, credits(expected[2]));
        assert_eq!(found[2].unwrap().available(), credits(expected[1]));
        clock.advance(Duration::hours(1));
    };
    shown([2, 6, 6]).await;
    shown([2, 1, 6]).await;
    shown([2, 8, 13]).await;
    assert_eq!(balances(&conn, &SystemClock, &[]).await.unwrap(), []);
    assert_eq!(db.ask("SELECT max(entry_seq) FROM credits.accounts").await, 3); // reading books nothing
}

#[tokio::test]
async fn transactions_are_listed_newest_first_and_chain() {
    let (db, clock) = (database().await, testkit::clock());
    let user = history(&db, &clock).await;
    let mut conn = db.connect().await;
    let all = list(&mut conn, &user, TransactionFilter::default()).await;
    assert_eq!(seqs(&all), (1..=14).rev().collect::<Vec<_>>());
    assert!(all.windows(2).all(|pair| pair[0].balance_before == pair[1].balance_after));
    assert_eq!(all[0].balance_after, credits(115)); // 170 granted, 10 spent, 45 expired
    assert_eq!((all[13].direction(), all[0].direction()), (Some(Direction::Credit), Some(Direction::Debit)));
    assert!(list(&mut conn, &testkit::user("nobody"), TransactionFilter::default()).await.is_empty());
}

#[tokio::test]
async fn kinds_are_filtered() {
    let (db, clock) = (database().await, testkit::clock());
    let user = history(&db, &clock).await;
    let mut conn = db.connect().await;
    for (kind, expected) in [
        (TransactionKind::Grant, vec![2, 1]),
        (TransactionKind::Recharge, vec![3]),
        (TransactionKind::Consume, vec![14, 13, 12, 11, 10, 8, 7, 6, 5, 4]),
        (TransactionKind::Expire, vec![9]),
        (TransactionKind::Refund, vec![]),
        (TransactionKind::Adjust, vec![]),
    ] {
        let found =
            list(&mut conn, &user, TransactionFilter { kind: Some(kind), ..TransactionFilter::default() })
                .await;
        assert_eq!(seqs(&found), expected, "{kind}");
        assert!(found.iter().all(|entry| entry.kind.transaction_kind() == Some(kind)));
        assert_eq!(kind.as_str().parse(), Ok(kind));
    }
    assert!("hold".parse::<TransactionKind>().is_err());
}

#[tokio::test]
async fn dates_are_inclusive_at_both_ends() {
    let (db, clock) = (database().await, testkit::clock());
    let user = history(&db, &clock).await;
    let mut conn = db.connect().await;
    let all = list(&mut conn, &user, TransactionFilter::default()).await;
    let mut instants: Vec<_> = all.iter().map(|entry| entry.created_at).collect();
    instants.extend([testkit::instant() - Duration::DAY, testkit::instant() + Duration::DAY]);
    let tick = Duration::microseconds(1);
    instants.extend(instants.clone().into_iter().flat_map(|at| [at - tick, at + tick]));
    for from in &instants {
        for to in [None, Some(all[0].created_at), Some(all[6].created_at), Some(*from)] {
            let filter = TransactionFilter { from: Some(*from), to, ..TransactionFilter::default() };
            let inside =
                |entry: &&Entry| entry.created_at >= *from && to.is_none_or(|to| entry.created_at <= to);
            let expected: Vec<i64> = all.iter().filter(inside).map(|entry| entry.seq).collect();
            assert_eq!(seqs(&list(&mut conn, &user, filter.clone()).await), expected, "{filter:?}");
        }
        let filter = TransactionFilter { to: Some(*from), ..TransactionFilter::default() };
        let expected = all.iter().filter(|entry| entry.created_at <= *from).count();
        assert_eq!(list(&mut conn, &user, filter).await.len(), expected);
    }
}

#[tokio::test]
async fn pages_continue_without_gap_or_repeat_while_entries_come() {
    let (db, clock) = (database().await, testkit::clock());
    let user = history(&db, &clock).await;
    let mut conn = db.connect().await;
    let (mut seen, mut start) = (Vec::new(), Start::Offset(0));
    loop {
        let page = Page::new(4, start).unwrap();
        let slice = transactions(&mut conn, &user, &TransactionFilter::default(), &page).await.unwrap();
        assert!(slice.items.len() <= 4);
        seen.extend(seqs(&slice.items));
        run(db.pool(), &clock, &[consume(&user, credits(1))]).await;
        match slice.next {
            Some(place) => start = Start::After(place),
            None => break,
        }
    }
    assert_eq!(seen, (1..=14).rev().collect::<Vec<_>>());
    let page = Page::new(2, Start::Offset(3)).unwrap();
    let filter = TransactionFilter { kind: Some(TransactionKind::Grant), ..TransactionFilter::default() };
    assert!(transactions(&mut conn, &user, &filter, &page).await.unwrap().items.is_empty());
}

/// With 30,000 entries and 3,000 grants behind an account, nothing that a long-lived connection runs reads past what it
/// needs: no listing, no balance, no command.
#[tokio::test]
async fn no_statement_scans_the_history() {
    let (db, user) = (database().await, testkit::user("old"));
    run(db.pool(), &testkit::clock(), &[open(&user, Credits::from_micro(30_001))]).await;
    let pool = db.pool_of(1);
    fill(&mut *db.connect().await).await;
    let texts = Arc::new(Mutex::new(BTreeSet::new()));
    let seen = Arc::clone(&texts);
    let mut conn = pool.get().await.unwrap();
    conn.set_instrumentation(move |event: InstrumentationEvent<'_>| {
        if let InstrumentationEvent::StartQuery { query, .. } = event {
            let shown = query.to_string();
            seen.lock().unwrap().insert(shown.split(" -- binds").next().unwrap_or_default().to_owned());
        }
    });
    let (from, to) = (Some(testkit::instant()), Some(testkit::instant() + Duration::hours(1)));
    for kind in TransactionKind::ALL.into_iter().map(Some).chain([None]) {
        let filter = TransactionFilter { kind, from, to, ..TransactionFilter::default() };
        list(&mut conn, &user, filter).await;
    }
    balances(&conn, &SystemClock, std::slice::from_ref(&user)).await.unwrap();
    assert_eq!(texts.lock().unwrap().len(), 9); // seven listings, the bisection, the balance
    drop(conn);
    let commands = [recharge(&user, credits(1), Some("pi_1")), consume(&user, Credits::from_micro(2))];
    run(&pool, &testkit::clock(), &commands).await;
    let hot = std::mem::take(&mut *texts.lock().unwrap());
    everything_else(&pool, &user).await;
    let mut rest = std::mem::take(&mut *texts.lock().unwrap());
    rest.retain(|text| !hot.contains(text));

    let mut conn = db.connect().await;
    conn.batch_execute("SET plan_cache_mode = force_generic_plan").await.unwrap();
    // The lock, two reads, and what is booked; what is only inserted reads nothing.
    assert_eq!(check_plans(&mut conn, &hot).await, 13, "{hot:#?}");
    // Tables that are nearly empty here are scanned by choice, but there must be an index for when they are not.
    conn.batch_execute("SET enable_seqscan = off").await.unwrap();
    assert_eq!(check_plans(&mut conn, &rest).await, 30);
}

/// Whatever else the ledger may be asked.
async fn everything_else(pool: &Pool, user: &UserId) {
    let clock = SystemClock;
    let charge = consume(user, Credits::from_micro(2));
    let (hold_id, held) = hold(user, Credits::from_micro(2));
    let charged = run(pool, &clock, &[charge, held]).await.remove(0).unwrap();
    let charge = entry(&charged).transaction_id;
    shared_names(pool, user).await;
    let charges =
        [capture(user, hold_id, None), refund(user, charge, None), consume(user, Credits::from_micro(1))];
    assert!(run(pool, &clock, &charges).await.iter().all(Result::is_ok));
    let mut conn = pool.get().await.unwrap();
    credits::account(&mut conn, &clock, user).await.unwrap();
    for filter in [GrantFilter::Open, GrantFilter::Used, GrantFilter::Expired, GrantFilter::All] {
        let page = Page::first(50);
        credits::grants(&mut conn, &clock, user, filter, &page).await.unwrap();
    }
    for filter in HoldStatus::ALL.map(HoldFilter::Only).into_iter().chain([HoldFilter::All]) {
        let page = Page::first(50);
        credits::holds(&mut conn, &clock, user, filter, &page).await.unwrap();
    }
    let of_hold = TransactionFilter { hold_id: Some(hold_id), ..TransactionFilter::default() };
    assert_eq!(list(&mut conn, user, of_hold).await.len(), 1);
    let of_reference =
        TransactionFilter { reference_id: Some("pi_1".to_owned()), ..TransactionFilter::default() };
    assert_eq!(list(&mut conn, user, of_reference).await.len(), 1);
    for name in [TransactionName::Id(1), TransactionName::Transaction(charge)] {
        let found = credits::find_transaction(&mut conn, user, name).await.unwrap();
        assert!(found.is_some());
    }
    let wanted = [(user.clone(), charge)].into();
    assert_eq!(credits::trace(&conn, &wanted).await.unwrap().len(), 1);
    assert_eq!(credits::entries_at(&conn, &[(user.clone(), 1)].into()).await.unwrap().len(), 1);
    drop(conn);
    with_budgets(pool, user).await;
    let mut tx = Tx::begin(pool).await.unwrap();
    credits::sweep(&mut tx, &clock, credits::Defaults::default(), 10).await.unwrap();
    tx.commit().await.unwrap();
}

async fn with_budgets(pool: &Pool, user: &UserId) {
    let clock = SystemClock;
    let budgets = BudgetPeriod::ALL.map(|period| budget(period, "Europe/Berlin", 9));
    set(pool, user, &budgets).await.unwrap();
    let charge = consume(user, Credits::from_micro(1));
    assert!(run(pool, &clock, &[charge]).await[0].is_ok());
    let mut conn = pool.get().await.unwrap();
    let found = credits::budgets(&mut conn, &clock, user).await.unwrap().unwrap();
    assert_eq!(found.len(), 3);
}

/// Checks the plans of all statements that read, and answers how many there are.
async fn check_plans(conn: &mut AsyncPgConnection, texts: &BTreeSet<String>) -> usize {
    let reading: Vec<_> = texts
        .iter()
        .filter(|text| text.contains('$') && (!text.starts_with("INSERT") || text.contains("RECURSIVE")))
        .filter(|text| !text.contains("pg_timezone_names")) // a function that reads files
        .collect();
    for text in &reading {
        check_plan(text, &testkit::plan(conn, text).await.unwrap());
    }
    reading.len()
}

async fn fill(conn: &mut AsyncPgConnection) {
    conn.batch_execute(
        "INSERT INTO credits.entries (user_id, seq, transaction_id, type, amount, balance_before, balance_after, \
           held_after, actor, created_at, booked_at) \
         SELECT 'old', n + 1, gen_random_uuid(), 'consume', 1, 30002 - n, 30001 - n, 0, 'user', \
           a.as_of + n * interval '1 s', a.as_of + n * interval '1 s' \
         FROM credits.accounts a, generate_series(1, 30000) AS n; \
         INSERT INTO credits.entries (user_id, seq, transaction_id, type, amount, balance_before, balance_after, \
           held_after, actor, created_at, booked_at) \
         SELECT 'old', 30001 + n, gen_random_uuid(), CASE n % 2 WHEN 1 THEN 'grant' ELSE 'expire' END, 1, \
           1 + (n + 1) % 2, 1 + n % 2, 0, 'system', a.as_of + interval '10 h', a.as_of + interval '10 h' \
         FROM credits.accounts a, generate_series(1, 6000) AS n; \
         INSERT INTO credits.grants (user_id, id, kind, paid, amount, stored_remaining, effective_at, booked_seq, created_at) \
         SELECT 'old', 1 + n, 'promo', false, 1, 0, a.as_of, 30000 + 2 * n, a.as_of \
         FROM credits.accounts a, generate_series(1, 3000) AS n; \
         INSERT INTO credits.entry_grants SELECT 'old', n + 1, 1, -1, 0 FROM generate_series(1, 30000) AS n; \
         INSERT INTO credits.entry_grants SELECT 'old', 30001 + n, 1 + (n + 1) / 2, CASE n % 2 WHEN 1 THEN 1 ELSE -1 END, 0 \
         FROM generate_series(1, 6000) AS n; \
         UPDATE credits.accounts SET posted = 1, head_remaining = 1, entry_seq = 36001, grant_seq = 3001, \
           lifetime_granted = lifetime_granted + 3000, as_of = as_of + interval '1 d'; \
         UPDATE credits.grants SET stored_remaining = 1 WHERE id = 1; \
         INSERT INTO credits.accounts (user_id, as_of, created_at) \
         SELECT 'other-' || n, now(), now() FROM generate_series(1, 3000) AS n; \
         ANALYZE credits.entries; ANALYZE credits.accounts; ANALYZE credits.grants",
    )
    .await
    .unwrap();
}

fn check_plan(text: &str, plan: &str) {
    assert!(plan.contains("Index") && !plan.contains("Seq Scan"), "{text}\n{plan}");
    let rare = ["recharge", "refund", "grant", "expire", "adjust"];
    if rare.iter().any(|kind| text.contains(&format!("= '{kind}'"))) {
        assert!(plan.contains("entries_rare"), "{text}\n{plan}");
    }
    if text.contains("INSERT INTO credits.budgets") {
        assert!(plan.contains("entries_rare") && plan.contains("entries_pkey"), "{text}\n{plan}");
    }
    if text.contains("g.user_id = ANY($1) AND g.live") {
        assert!(plan.contains("grants_live"), "{text}\n{plan}");
    }
    if text.contains("UPDATE credits.grants") {
        assert!(plan.contains("grants_pkey") && plan.contains("accounts_pkey"), "{text}\n{plan}");
    }
    if text.contains("w.place") {
        assert!(plan.contains("entries_pkey") && plan.contains("entries_unplaced"), "{text}\n{plan}");
    }
    if text.contains("AS w (user_id, reference_id)") {
        assert!(plan.contains("grants_reference"), "{text}\n{plan}");
    }
}
