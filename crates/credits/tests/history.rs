//! What a request costs does not grow with the history of the account, counted in blocks that the database touches.
//!
//! Time would measure the machine. Blocks are counted by PostgreSQL itself, for the real calls with their real values.

use std::{collections::BTreeMap, fmt::Write as _};

use credits::{
    Action, Command, GrantFilter, HoldFilter, HoldStatus, TransactionFilter, TransactionKind, TransactionName,
};
use diesel::{
    QueryableByName,
    sql_types::{BigInt, Text, Timestamptz, Uuid as SqlUuid},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use kernel::{Credits, Ids, Page, RandomIds, Start, SystemClock, UserId};
use pg::{Pool, Tx};
use testkit::{TestDb, ask};
use time::Duration;
use uuid::Uuid;

use crate::support::{capture, command, consume, database, hold, recharge, refund, run};

/// Items of a page in these tests.
const LIMIT: i64 = 20;

/// Blocks that a request may touch beyond those of a young account: each row of a page may lie in a block of its own, and
/// a tree has a level or two more.
const BLOCKS_MORE: i64 = 4 * LIMIT;

/// Likewise for a bisection of the history, which a date filter does twice: a probe for each time that the history is
/// doubled, and five blocks a probe.
const PROBE_BLOCKS: i64 = 5;

/// Blocks of tables and indexes of the ledger that were touched so far by connections that have told.
async fn touched(conn: &mut AsyncPgConnection) -> i64 {
    let sql = "SELECT sum(heap_blks_read + heap_blks_hit + coalesce(idx_blks_read + idx_blks_hit, 0) \
           + coalesce(toast_blks_read + toast_blks_hit + tidx_blks_read + tidx_blks_hit, 0)) \
         FROM pg_statio_user_tables WHERE schemaname = 'credits'";
    ask(conn, sql).await.unwrap()
}

/// A pool of one connection, whose work is measured.
struct Meter {
    pool: Pool,
    observer: pg::pool::Connection,
    costs: BTreeMap<&'static str, i64>,
}

impl Meter {
    async fn new(db: &TestDb) -> Self {
        Self { pool: db.pool_of(1), observer: db.connect().await, costs: BTreeMap::new() }
    }

    async fn told(&mut self) -> i64 {
        let mut conn = self.pool.get().await.unwrap();
        // Statistics are handed over when the statement has ended, at most once a second unless they are asked for.
        conn.batch_execute("SELECT pg_stat_force_next_flush()").await.unwrap();
        conn.batch_execute("SELECT 1").await.unwrap();
        touched(&mut self.observer).await
    }

    async fn measure(&mut self, name: &'static str, work: impl AsyncFn(&Pool)) {
        // The first run parses and plans.
        work(&self.pool).await;
        let before = self.told().await;
        work(&self.pool).await;
        let cost = self.told().await - before;
        assert!(cost > 0, "{name} touched nothing");
        self.costs.insert(name, cost);
    }

    async fn list(
        &mut self,
        name: &'static str,
        user: &UserId,
        filter: TransactionFilter,
        start: Start<i64>,
    ) {
        self.measure(name, async |pool| {
            let mut conn = pool.get().await.unwrap();
            let page = Page::new(LIMIT, start.clone()).unwrap();
            credits::transactions(&mut conn, user, &filter, &page).await.unwrap();
        })
        .await;
    }

    async fn command(&mut self, name: &'static str, make: impl Fn() -> Command) {
        self.measure(name, async |pool| {
            for result in run(pool, &SystemClock, &[make()]).await {
                result.unwrap();
            }
        })
        .await;
    }
}

/// What every request costs on the account of `user`, with `entries` behind it.
async fn costs(db: &TestDb, user: &UserId, entries: i64) -> BTreeMap<&'static str, i64> {
    let mut meter = Meter::new(db).await;
    let middle = entries / 2;
    let at = |seq: i64| testkit::instant() + Duration::seconds(seq);
    let of = |kind| TransactionFilter { kind: Some(kind), ..TransactionFilter::default() };
    let all = TransactionFilter::default;
    meter.list("first page", user, all(), Start::Offset(0)).await;
    meter.list("deep page", user, all(), Start::After(middle)).await;
    let dated = TransactionFilter { from: Some(at(middle - 40)), to: Some(at(middle)), ..all() };
    meter.list("dates", user, dated, Start::Offset(0)).await;
    let rare = of(TransactionKind::Recharge);
    meter.list("recharges", user, rare, Start::After(middle)).await;
    for (name, kind) in [
        ("consumes", TransactionKind::Consume),
        ("grants", TransactionKind::Grant),
        ("refunds", TransactionKind::Refund),
        ("expiries", TransactionKind::Expire),
        ("adjustments", TransactionKind::Adjust),
    ] {
        meter.list(name, user, of(kind), Start::Offset(0)).await;
    }
    meter
        .measure("balance", async |pool| {
            let conn = pool.get().await.unwrap();
            let users = std::slice::from_ref(user);
            credits::balances(&conn, &SystemClock, users).await.unwrap();
        })
        .await;
    meter
        .measure("account", async |pool| {
            let mut conn = pool.get().await.unwrap();
            credits::account(&mut conn, &SystemClock, user).await.unwrap();
        })
        .await;
    meter
        .measure("open grants and holds", async |pool| {
            let mut conn = pool.get().await.unwrap();
            let (open, first) = (GrantFilter::Open, Page::first(LIMIT));
            credits::grants(&mut conn, &SystemClock, user, open, &first).await.unwrap();
            let first = Page::first(LIMIT);
            credits::holds(&mut conn, &SystemClock, user, HoldFilter::All, &first).await.unwrap();
        })
        .await;
    hold_lists(&mut meter, user).await;
    let id = entry(&mut meter.observer, user, middle).await.id;
    meter
        .measure("by id", async |pool| {
            let mut conn = pool.get().await.unwrap();
            let name = TransactionName::Id(id);
            let found = credits::find_transaction(&mut conn, user, name).await.unwrap();
            assert_eq!(found.unwrap().seq, middle);
        })
        .await;
    for (name, seq) in [("by transaction", middle | 1), ("by transaction of an earlier version", middle & !1)]
    {
        let id = entry(&mut meter.observer, user, seq).await.transaction_id;
        meter
            .measure(name, async |pool| {
                let mut conn = pool.get().await.unwrap();
                let name = TransactionName::Transaction(id);
                let found = credits::find_transaction(&mut conn, user, name).await.unwrap();
                assert_eq!(found.unwrap().seq, seq);
            })
            .await;
    }
    commands(&mut meter, user).await;
    meter.costs
}

/// What lists of holds cost, of which there are many of one status only.
async fn hold_lists(meter: &mut Meter, user: &UserId) {
    for (name, filter) in [
        ("open holds", HoldFilter::Open),
        ("captured holds", HoldFilter::Only(HoldStatus::Captured)),
        ("released holds", HoldFilter::Only(HoldStatus::Released)),
        ("expired holds", HoldFilter::Only(HoldStatus::Expired)),
    ] {
        meter
            .measure(name, async |pool| {
                let mut conn = pool.get().await.unwrap();
                let first = Page::first(LIMIT);
                let found = credits::holds(&mut conn, &SystemClock, user, filter, &first).await;
                assert_eq!(found.unwrap().items.is_empty(), filter == HoldFilter::Open);
            })
            .await;
    }
}

/// What changes of the account cost.
async fn commands(meter: &mut Meter, user: &UserId) {
    let one = || Credits::from_micro(1);
    let name = || RandomIds.uuid().to_string();
    meter.command("consume", || consume(user, one())).await;
    meter.command("recharge with a reference", || recharge(user, one(), Some(&name()))).await;
    meter.command("nothing due", || command(user, Action::ApplyDue)).await;
    meter
        .measure("hold and capture", async |pool| {
            let (hold_id, held) = hold(user, one());
            for command in [held, capture(user, hold_id, None)] {
                run(pool, &SystemClock, &[command]).await.remove(0).unwrap();
            }
        })
        .await;
    let old = entry(&mut meter.observer, user, 2).await.transaction_id;
    meter.command("refund of an old charge", || refund(user, old, Some(one()))).await;
    meter
        .measure("sweep", async |pool| {
            let mut tx = Tx::begin(pool).await.unwrap();
            credits::sweep(&mut tx, &SystemClock, credits::Defaults::default(), 10).await.unwrap();
            tx.commit().await.unwrap();
        })
        .await;
}

#[derive(QueryableByName)]
struct Named {
    #[diesel(sql_type = BigInt)]
    id: i64,
    #[diesel(sql_type = SqlUuid)]
    transaction_id: Uuid,
}

async fn entry(conn: &mut AsyncPgConnection, user: &UserId, seq: i64) -> Named {
    diesel::sql_query("SELECT id, transaction_id FROM credits.entries WHERE user_id = $1 AND seq = $2")
        .bind::<Text, _>(user.as_str())
        .bind::<BigInt, _>(seq)
        .get_result(conn)
        .await
        .unwrap()
}

/// An account with this many entries, a second apart, whose books balance: a grant, a large charge, then charges of a
/// micro-credit, and among each hundred a recharge that is spent at once, and fifteen holds. These are released, but for the
/// first, which is captured, and the second, which expires.
async fn fill(conn: &mut AsyncPgConnection, user: &UserId, entries: i64) {
    let start = testkit::instant();
    for sql in [
        "INSERT INTO credits.accounts (user_id, as_of, created_at, posted, lifetime_granted, entry_seq, grant_seq) \
         SELECT $1, $3 + $2 * interval '1 s', $3, 1000000, 1000000 + ($2 + 9) - 31 * ($2 / 100), $2, 1 + $2 / 100",
        "INSERT INTO credits.grants (user_id, id, kind, paid, amount, stored_remaining, effective_at, booked_seq, reference_id, \
           created_at) \
         SELECT $1, 1, 'initial', false, 1000000 + ($2 + 9) - 32 * ($2 / 100), 1000000, $3, 1, 'initial', $3",
        "INSERT INTO credits.grants (user_id, id, kind, paid, amount, stored_remaining, effective_at, booked_seq, reference_id, \
           created_at) \
         SELECT $1, 2 + s / 100, 'purchase', true, 1, 0, $3 + s * interval '1 s', s, 'pi_' || s, $3 + s * interval '1 s' \
         FROM generate_series(50, $2, 100) AS s",
        "INSERT INTO credits.entries (user_id, seq, transaction_id, type, amount, balance_before, balance_after, \
           held_after, hold_id, reference_id, actor, created_at, booked_at) \
         SELECT $1, s, CASE s % 2 WHEN 0 THEN gen_random_uuid() \
             ELSE (lpad(to_hex(s), 12, '0') || '8' || substr(md5($1 || s), 1, 19))::uuid END, type, \
           CASE WHEN type IN ('hold', 'release') THEN 1 ELSE abs(delta) END, after - delta, after, \
           CASE type WHEN 'hold' THEN 1 ELSE 0 END, \
           CASE WHEN s % 100 BETWEEN 60 AND 89 THEN md5($1 || s - s % 2)::uuid END, \
           CASE WHEN s = 1 THEN 'initial' WHEN delta > 0 THEN 'pi_' || s END, \
           CASE s WHEN 63 THEN 'system' ELSE 'service' END, $3 + s * interval '1 s', $3 + s * interval '1 s' \
         FROM (SELECT s, type, delta, sum(delta) OVER (ORDER BY s)::bigint AS after FROM (SELECT s, type, CASE \
             WHEN s = 1 THEN 1000000 + ($2 + 9) - 32 * ($2 / 100) WHEN s = 2 THEN -10 WHEN type = 'recharge' THEN 1 \
             WHEN type IN ('hold', 'release') THEN 0 ELSE -1 END AS delta FROM (SELECT s, CASE \
               WHEN s = 1 THEN 'grant' WHEN s = 61 THEN 'capture' WHEN s % 100 = 50 THEN 'recharge' \
               WHEN s % 100 BETWEEN 60 AND 89 THEN CASE s % 2 WHEN 0 THEN 'hold' ELSE 'release' END \
               ELSE 'consume' END AS type FROM generate_series(1, $2) AS s) AS typed) AS moved) AS told",
        "INSERT INTO credits.entry_grants (user_id, seq, grant_id, delta, held_delta) \
         SELECT e.user_id, e.seq, CASE WHEN e.seq % 100 IN (50, 51) THEN 2 + e.seq / 100 ELSE 1 END, \
           e.balance_after - e.balance_before, \
           CASE e.type WHEN 'hold' THEN 1 WHEN 'release' THEN -1 WHEN 'capture' THEN -1 ELSE 0 END \
         FROM credits.entries e WHERE e.user_id = $1 AND $2 > 0 AND $3 IS NOT NULL",
        "INSERT INTO credits.holds (user_id, id, requested, amount, state, captured, released, entry_seq, expires_at, \
           created_at, resolved_at) \
         SELECT $1, md5($1 || s)::uuid, 1, 1, CASE s WHEN 60 THEN 'captured' WHEN 62 THEN 'expired' ELSE 'released' END, \
           CASE s WHEN 60 THEN 1 ELSE 0 END, CASE s WHEN 60 THEN 0 ELSE 1 END, s, \
           $3 + s * interval '1 s' + CASE s WHEN 62 THEN interval '1 s' ELSE interval '1 h' END, \
           $3 + s * interval '1 s', $3 + (s + 1) * interval '1 s' \
         FROM generate_series(60, $2, 2) AS s WHERE s % 100 BETWEEN 60 AND 89",
    ] {
        diesel::sql_query(sql)
            .bind::<Text, _>(user.as_str())
            .bind::<BigInt, _>(entries)
            .bind::<Timestamptz, _>(start)
            .execute(conn)
            .await
            .unwrap();
    }
}

/// Costs of a young account and of one with `entries`, in one database.
async fn compare(entries: i64) -> Vec<(&'static str, i64, i64)> {
    const YOUNG: i64 = 100;
    let db = database().await;
    let (young, old) = (testkit::user("young"), testkit::user("old"));
    let mut settings = pg::PoolSettings::new(db.url());
    settings.statement_timeout = std::time::Duration::ZERO;
    let mut conn = pg::Pool::new(&settings).unwrap().get().await.unwrap();
    for table in ["accounts", "grants", "entries", "entry_lines", "holds", "idempotency"] {
        // Its visits would be counted too.
        conn.batch_execute(&format!("ALTER TABLE credits.{table} SET (autovacuum_enabled = off)"))
            .await
            .unwrap();
    }
    fill(&mut conn, &young, YOUNG).await;
    fill(&mut conn, &old, entries).await;
    conn.batch_execute("VACUUM ANALYZE credits.entries").await.unwrap();
    conn.batch_execute("VACUUM ANALYZE credits.grants").await.unwrap();
    conn.batch_execute("VACUUM ANALYZE credits.holds").await.unwrap();
    conn.batch_execute("VACUUM ANALYZE credits.accounts").await.unwrap();
    testkit::audit_now(&db);
    let (few, many) = (costs(&db, &young, YOUNG).await, costs(&db, &old, entries).await);
    let pairs = few.into_iter().zip(many);
    pairs.map(|((name, few), (_, many))| (name, few, many)).collect()
}

/// How many times the history was doubled since the young account.
fn doublings(entries: i64) -> i64 {
    i64::from((entries / 100).ilog2()) + 1
}

fn assert_bounded(costs: &[(&'static str, i64, i64)], entries: i64) {
    let table = costs.iter().fold(String::new(), |mut table, (name, few, many)| {
        let _infallible = writeln!(table, "{name:28}{few:8}{many:8}");
        table
    });
    println!("blocks with 100 and with {entries} entries behind the account\n{table}");
    for (name, few, many) in costs {
        let probes = match *name {
            "dates" => 2,
            "by id" => 1,
            _ => 0,
        };
        let most = few + BLOCKS_MORE + probes * doublings(entries) * PROBE_BLOCKS;
        assert!(*many <= most, "{name}: {many} blocks, at most {most}\n{table}");
    }
}

#[tokio::test]
async fn requests_cost_the_same_with_50_000_entries_behind_the_account() {
    let costs = compare(50_000).await;
    assert_eq!(costs.len(), 25, "{costs:?}");
    assert_bounded(&costs, 50_000);
}

/// Entries of holds and releases are not listed, and lie among those that are: a list reads past them. They have no index
/// that would tell where the next charge is, because each charge would pay for it.
#[tokio::test]
async fn a_list_reads_past_holds_that_were_never_charged() {
    const RUN: i64 = 10_000;
    let (db, user) = (database().await, testkit::user("holder"));
    let mut conn = db.connect().await;
    fill(&mut conn, &user, 100).await;
    let sql = "WITH run AS (INSERT INTO credits.entries (user_id, seq, transaction_id, type, amount, balance_before, \
           balance_after, held_after, hold_id, actor, created_at, booked_at) \
         SELECT $1, 100 + s, gen_random_uuid(), CASE s % 2 WHEN 1 THEN 'hold' ELSE 'release' END, 1, 1000000, 1000000, \
           s % 2, md5('run' || (s + s % 2))::uuid, 'service', a.as_of, a.as_of \
         FROM credits.accounts a, generate_series(1, $2) AS s), \
         lines AS (INSERT INTO credits.entry_grants SELECT $1, 100 + s, 1, 0, 2 * (s % 2) - 1 \
           FROM generate_series(1, $2) AS s), \
         holds AS (INSERT INTO credits.holds (user_id, id, requested, amount, state, released, entry_seq, expires_at, \
             created_at, resolved_at) \
           SELECT $1, md5('run' || (s + 1))::uuid, 1, 1, 'released', 1, 100 + s, a.as_of + interval '1 h', a.as_of, a.as_of \
           FROM credits.accounts a, generate_series(1, $2, 2) AS s) \
         UPDATE credits.accounts SET entry_seq = 100 + $2";
    diesel::sql_query(sql)
        .bind::<Text, _>(user.as_str())
        .bind::<BigInt, _>(RUN)
        .execute(&mut conn)
        .await
        .unwrap();
    conn.batch_execute("VACUUM ANALYZE credits.entries").await.unwrap();
    testkit::audit_now(&db);
    let mut meter = Meter::new(&db).await;
    let first = Start::Offset(0);
    meter.list("first page", &user, TransactionFilter::default(), first).await;
    let blocks = meter.costs["first page"];
    println!("{blocks} blocks past {RUN} entries of holds");
    assert!((RUN / 100..RUN / 20).contains(&blocks), "{blocks} blocks");
}

#[tokio::test]
#[ignore = "fills a gigabyte: just million"]
async fn requests_cost_the_same_with_a_million_entries_behind_the_account() {
    assert_bounded(&compare(1_000_000).await, 1_000_000);
}
