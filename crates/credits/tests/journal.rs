//! The journal never changes, damage is found, and the schema can be taken back.

use std::collections::BTreeSet;

use credits::execute;
use diesel_async::{AsyncPgConnection, SimpleAsyncConnection};
use pg::Tx;
use testkit::{ask, ask_texts};

use crate::support::{
    capture, consume, credits, database, hold, open, recharge, refund, run, transaction_id,
};

async fn refused(conn: &mut AsyncPgConnection, sql: &str, why: &str) {
    let error = conn.batch_execute(sql).await.unwrap_err().to_string();
    assert!(error.contains(why), "{sql}: {error}");
}

const CHANGES: [&str; 6] = [
    "UPDATE credits.entries SET amount = amount",
    "DELETE FROM credits.entries",
    "TRUNCATE credits.entries",
    "UPDATE credits.entry_lines SET delta = delta",
    "DELETE FROM credits.entry_lines",
    "TRUNCATE credits.entry_lines",
];

#[tokio::test]
async fn the_journal_cannot_be_changed_by_the_role_that_writes_it() {
    let (db, user) = (database().await, testkit::user("someone"));
    run(db.pool(), &testkit::clock(), &[open(&user, credits(10))]).await;
    let mut conn = db.connect().await;
    for change in CHANGES {
        refused(&mut conn, change, "permission denied").await;
    }
}

#[tokio::test]
async fn the_journal_cannot_be_changed_by_those_without_limits() {
    let (db, user) = (database().await, testkit::user("someone"));
    run(db.pool(), &testkit::clock(), &[open(&user, credits(10))]).await;
    let mut conn = db.connect_as_superuser().await;
    for change in CHANGES {
        refused(&mut conn, change, "append-only").await;
    }
}

/// The exception for users who are erased: its function empties texts. Nothing else can be changed, even with the setting that it
/// uses.
#[tokio::test]
async fn texts_of_the_journal_are_emptied_and_nothing_else() {
    let (db, user) = (database().await, testkit::user("someone"));
    let mut commands = [open(&user, credits(10)), consume(&user, credits(3))];
    for command in &mut commands {
        command.description = Some("text".to_owned());
    }
    run(db.pool(), &testkit::clock(), &commands).await;
    let mut conn = db.connect().await;
    refused(&mut conn, "UPDATE credits.entries SET description = NULL", "append-only").await;
    refused(
        &mut conn,
        "UPDATE credits.grants SET description = NULL; UPDATE credits.entries SET amount = 1",
        "permission denied",
    )
    .await;
    let mut superuser = db.connect_as_superuser().await;
    superuser.batch_execute("SET credits.journal_exception = 'empty_texts'").await.unwrap();
    for change in
        ["description = 'x'", "metadata = '{\"a\": 1}'", "description = NULL, reference_id = 'other'"]
    {
        refused(&mut superuser, &format!("UPDATE credits.entries SET {change}"), "append-only").await;
    }
    for change in [
        "DELETE FROM credits.entries",
        "TRUNCATE credits.entries",
        "UPDATE credits.entry_lines SET delta = delta",
    ] {
        refused(&mut superuser, change, "append-only").await;
    }
    conn.batch_execute("SELECT credits.empty_texts('someone', NULL, 1)").await.unwrap();
    refused(&mut conn, "UPDATE credits.entries SET description = NULL", "append-only").await;
    assert_eq!(
        ask(&mut conn, "SELECT count(*) FROM credits.entries WHERE description IS NOT NULL").await.unwrap(),
        1
    );
}

#[tokio::test]
async fn the_constraints_are_the_last_line() {
    let (db, user) = (database().await, testkit::user("someone"));
    run(
        db.pool(),
        &testkit::clock(),
        &[open(&user, credits(10)), consume(&user, credits(3)), hold(&user, credits(1)).1],
    )
    .await;
    let mut conn = db.connect().await;
    for (sql, constraint) in [
        ("UPDATE credits.accounts SET posted = -1", "accounts_posted_check"),
        ("UPDATE credits.accounts SET held = posted + 1", "no_overdraft"),
        ("UPDATE credits.grants SET stored_remaining = amount + 1", "grants_check"),
        ("UPDATE credits.grants SET held = stored_remaining + 1", "grants_check"),
        (
            "INSERT INTO credits.entries SELECT user_id, 3, nextval('credits.entries_id_seq'), transaction_id, type, amount, \
             7, 8, 0, NULL, NULL, NULL, NULL, false, NULL, NULL, actor, created_at, booked_at FROM credits.entries",
            "cannot insert a non-DEFAULT value",
        ),
        (
            "INSERT INTO credits.entries (user_id, seq, transaction_id, type, amount, balance_before, balance_after, \
             held_after, actor, created_at, booked_at) SELECT user_id, 4, transaction_id, 'consume', 2, 7, 8, 0, actor, \
             created_at, booked_at FROM credits.entries WHERE seq = 2",
            "entries_figures",
        ),
        ("INSERT INTO credits.grants SELECT * FROM credits.grants", "cannot insert a non-DEFAULT value"),
        (
            "UPDATE credits.holds SET state = 'released', resolved_at = created_at, captured = 1, released = amount - 1",
            "holds_captured",
        ),
        ("UPDATE credits.holds SET released = 1", "holds_amounts"),
        ("UPDATE credits.holds SET resolved_at = created_at", "holds_resolved"),
        (
            "UPDATE credits.holds SET state = 'captured', resolved_at = created_at, released = amount, uncollected = 1",
            "holds_uncollected",
        ),
        ("UPDATE credits.holds SET expires_at = created_at", "holds_ttl"),
        ("UPDATE credits.holds SET amount = 0", "holds_check"),
        (
            "INSERT INTO credits.idempotency VALUES ('someone', 'k', sha256('x'), now(), NULL, NULL)",
            "idempotency_refusals",
        ),
    ] {
        refused(&mut conn, sql, constraint).await;
    }
}

/// What a damaged disk could do, and the rules that must find it.
const DAMAGE: &[(&str, &[&str])] = &[
    ("UPDATE credits.accounts SET held = -1", &["L1", "L2", "L4"]),
    ("UPDATE credits.accounts SET posted = posted - 1", &["L2", "L4"]),
    ("UPDATE credits.accounts SET entry_seq = 1", &["L2"]),
    ("UPDATE credits.accounts SET as_of = as_of - interval '1 s'", &["L2"]),
    ("DELETE FROM credits.entries WHERE seq = 1", &["L2", "L3"]),
    ("UPDATE credits.entries SET created_at = created_at - interval '1 s' WHERE seq = 2", &["L2"]),
    (
        "UPDATE credits.entries SET balance_before = balance_before + 1, balance_after = balance_after + 1 WHERE seq = 2",
        &["L2"],
    ),
    ("UPDATE credits.grants SET stored_remaining = stored_remaining - 1", &["L3", "L4"]),
    ("UPDATE credits.entry_lines SET delta = delta - 1 WHERE seq = 9", &["L3"]),
    ("UPDATE credits.entry_lines SET held_delta = held_delta + 1 WHERE seq = 9", &["L3"]),
    ("DELETE FROM credits.entry_lines WHERE seq = 9", &["L3"]),
    ("UPDATE credits.entries SET grant_id = 2 WHERE seq = 2", &["L3"]),
    ("UPDATE credits.entries SET grant_id = NULL WHERE seq = 7", &["L3", "L4"]),
    ("INSERT INTO credits.entry_lines VALUES ('someone', 2, 2, -1, 0), ('someone', 2, 1, 1, 0)", &["L3"]),
    ("UPDATE credits.entries SET amount = 1 WHERE seq = 5", &["L3", "L5"]),
    ("UPDATE credits.grants SET held = 0", &["L3", "L4"]),
    ("UPDATE credits.holds SET amount = 1, requested = 1 WHERE state = 'open'", &["L4", "L5"]),
    (
        "UPDATE credits.holds SET state = 'released', released = amount, resolved_at = created_at WHERE state = 'open'",
        &["L4", "L5", "L18"],
    ),
    ("DELETE FROM credits.holds WHERE state = 'captured'", &["L5"]),
    ("UPDATE credits.holds SET captured = 2000000, released = 0 WHERE state = 'captured'", &["L5"]),
    (
        "UPDATE credits.holds SET captured = 2000000, released = 0, uncollected = 1 WHERE state = 'captured'",
        &["L5"],
    ),
    ("UPDATE credits.holds SET entry_seq = 1 WHERE state = 'captured' AND released > 0", &["L5"]),
    (
        "UPDATE credits.holds SET expires_at = expires_at - interval '60 s', created_at = created_at - interval '61 s'",
        &["L6", "L18"],
    ),
    (
        "UPDATE credits.entries SET amount = amount + 1, balance_after = balance_after + 1 WHERE type = 'refund'",
        &["L2", "L3", "L10"],
    ),
    ("UPDATE credits.entries SET refunds_seq = 1 WHERE type = 'refund'", &["L10"]),
    ("UPDATE credits.entries SET grant_id = NULL WHERE seq = 2", &["L3"]),
    ("UPDATE credits.grants SET booked_seq = 2", &["L3"]),
    ("UPDATE credits.accounts SET grant_seq = 2", &["L4"]),
    (
        "UPDATE credits.grants SET effective_at = effective_at - interval '2 s', expires_at = effective_at - interval '1 s'",
        &["L6", "L18"],
    ),
    ("UPDATE credits.accounts SET head_remaining = head_remaining - 1", &["L3", "L4"]),
    ("UPDATE credits.accounts SET head_remaining = 20000000", &["L3", "L4", "L22"]),
    ("UPDATE credits.accounts SET head_grant_id = NULL, head_remaining = NULL", &["L3", "L4"]),
    ("UPDATE credits.accounts SET head_grant_id = 2 WHERE head_grant_id = 1", &["L3", "L22"]),
    (
        "UPDATE credits.accounts SET head_grant_id = 1, head_remaining = (SELECT stored_remaining FROM credits.grants \
         WHERE user_id = 'someone' AND id = 1) WHERE user_id = 'someone'",
        &["L22"],
    ),
    ("UPDATE credits.grants SET priority = 1 WHERE id = 2 AND user_id = 'other'", &["L22"]),
    ("UPDATE credits.accounts SET lifetime_granted = 0", &["L18"]),
    ("UPDATE credits.accounts SET next_due_at = as_of", &["L18"]),
    ("UPDATE credits.accounts SET next_due_at = NULL", &["L18"]),
    ("UPDATE credits.grants SET expires_at = effective_at + interval '30 s'", &["L18"]),
    ("UPDATE credits.entries SET seq = 0 WHERE seq = 1", &["L2"]),
    ("UPDATE credits.entries SET amount = amount + 1 WHERE type = 'consume'", &["L23"]),
    ("UPDATE credits.entries SET amount = 0 WHERE type = 'hold'", &["L23"]),
    ("UPDATE credits.entries SET balance_before = -1, balance_after = amount - 1 WHERE seq = 1", &["L23"]),
    ("UPDATE credits.entries SET balance_after = balance_after + 1 WHERE type = 'grant'", &["L23"]),
    ("UPDATE credits.entries SET balance_after = balance_before - amount WHERE type = 'recharge'", &["L23"]),
    ("UPDATE credits.entries SET balance_after = balance_before + amount WHERE type = 'capture'", &["L23"]),
    ("UPDATE credits.entries SET balance_after = balance_after - 1 WHERE type = 'release'", &["L23"]),
    ("UPDATE credits.entries SET type = 'adjust', amount = amount + 1 WHERE seq = 2", &["L23"]),
    ("UPDATE credits.entries SET type = 'expire', amount = amount + 1 WHERE seq = 2", &["L23"]),
    ("UPDATE credits.entries SET amount = amount + 1 WHERE type = 'refund'", &["L23"]),
    ("UPDATE credits.entries SET balance_after = balance_after - 1 WHERE type = 'hold'", &["L23"]),
    ("UPDATE credits.entries SET type = 'gift' WHERE seq = 1", &["L23"]),
    ("UPDATE credits.entries SET held_after = -1 WHERE seq = 1", &["L23"]),
    ("UPDATE credits.entries SET held_after = balance_after + 1 WHERE seq = 1", &["L23"]),
    ("UPDATE credits.entries SET hold_id = NULL WHERE type = 'release'", &["L23"]),
    ("UPDATE credits.entries SET hold_id = gen_random_uuid() WHERE type = 'consume'", &["L23"]),
    ("UPDATE credits.entries SET refunds_seq = NULL WHERE type = 'refund'", &["L23"]),
    ("UPDATE credits.entries SET refunds_seq = 1 WHERE type = 'consume'", &["L23"]),
    ("UPDATE credits.entries SET refunds_seq = seq WHERE type = 'refund'", &["L23"]),
    (
        "UPDATE credits.entries SET transaction_id = (SELECT transaction_id FROM credits.entries WHERE seq = 4) WHERE seq = 9",
        &["L24"],
    ),
    (
        "UPDATE credits.entries SET transaction_id = (SELECT transaction_id FROM credits.entries WHERE seq = 5) WHERE seq = 6",
        &["L24"],
    ),
    ("UPDATE credits.entries SET transaction_id = gen_random_uuid() WHERE seq = 4", &["L24"]),
    ("UPDATE credits.entries SET type = 'capture' WHERE type = 'release'", &["L24"]),
    (
        "UPDATE credits.entries SET type = 'release', transaction_id = (SELECT transaction_id FROM credits.entries WHERE seq = 5) \
         WHERE seq = 6",
        &["L24"],
    ),
    (
        "UPDATE credits.entries SET transaction_id = (SELECT transaction_id FROM credits.entries WHERE user_id = 'someone' AND \
         seq = 1) WHERE seq = 1",
        &["L24"],
    ),
    ("INSERT INTO credits.budgets VALUES ('someone', 'lifetime', 'UTC', 0, NULL, NULL, 0)", &["L19"]),
    ("UPDATE credits.holds SET made_by = 'user'", &["L20"]),
    ("INSERT INTO credits.global_references VALUES ('someone', 'a payment', now())", &["L21"]),
];

/// Every audit must be seen to find something, or it may be looking at nothing.
#[tokio::test]
async fn each_audit_finds_its_damage() {
    let (db, user) = (database().await, testkit::user("someone"));
    run(db.pool(), &testkit::clock(), &[open(&user, credits(10)), consume(&user, credits(3))]).await;
    let (captured, held) = hold(&user, credits(2));
    let charge = capture(&user, captured, Some(credits(1)));
    let given_back = refund(&user, transaction_id(4, &charge), None);
    let (_, last) = hold(&user, credits(2));
    let (exceeded, small) = hold(&user, credits(1));
    let excess = capture(&user, exceeded, Some(credits(2)));
    run(db.pool(), &testkit::clock(), &[held, charge, given_back, last, small, excess]).await;
    // The account of another user has a head, and a second grant.
    let other = testkit::user("other");
    let more = recharge(&other, credits(5), None);
    run(db.pool(), &testkit::clock(), &[open(&other, credits(10)), more]).await;
    run(db.pool(), &testkit::clock(), &[consume(&other, credits(3))]).await;
    let mut conn = db.connect_as_superuser().await;
    // Below the constraints and triggers, as a damaged disk would.
    conn.batch_execute(
        "ALTER TABLE credits.accounts DROP CONSTRAINT no_overdraft, DROP CONSTRAINT accounts_held_check, \
         DROP CONSTRAINT accounts_head; ALTER TABLE credits.entries DROP CONSTRAINT entries_figures; \
         ALTER TABLE credits.entries DISABLE TRIGGER USER; ALTER TABLE credits.entry_lines DISABLE TRIGGER USER",
    )
    .await
    .unwrap();
    let mut seen = BTreeSet::new();
    for (damage, rules) in DAMAGE {
        conn.batch_execute(&format!("BEGIN; {damage}")).await.unwrap();
        let found = pg::audit::run(&mut conn, credits::AUDITS).await.unwrap();
        assert!(!found.is_empty(), "{damage}");
        for rule in *rules {
            let named = |violation: &pg::Violation| violation.rule.starts_with(&format!("credits {rule}:"));
            assert!(found.iter().any(named), "{damage}: {rule} is not among {found:#?}");
        }
        seen.extend(found.iter().map(|violation| violation.rule));
        conn.batch_execute("ROLLBACK").await.unwrap();
        assert_eq!(pg::audit::run(&mut conn, credits::AUDITS).await.unwrap(), []);
    }
    let blind = |audit: &&pg::Audit| !seen.contains(audit.rule);
    assert_eq!(credits::AUDITS.iter().find(blind), None);
}

#[tokio::test]
async fn the_migrations_can_be_taken_back_and_applied_again() {
    let mut db = database().await;
    db.forgo_audits();
    let mut conn = db.connect().await;
    for _ in 0..2 {
        for migration in credits::MIGRATIONS.iter().rev() {
            conn.batch_execute(migration.down).await.unwrap();
        }
        let left = "(SELECT count(*) FROM pg_namespace WHERE nspname = 'credits') \
             + (SELECT count(*) FROM pg_proc WHERE proname = 'refuse_change')";
        assert_eq!(ask(&mut conn, left).await.unwrap(), 0);
        for migration in credits::MIGRATIONS {
            conn.batch_execute(migration.up).await.unwrap();
        }
    }
}

/// How the version before books an entry with its line.
const BOOK_BEFORE: &str = "WITH entries AS (
        INSERT INTO credits.entries (user_id, seq, transaction_id, type, amount, balance_before, balance_after, held_after, actor,
            created_at, booked_at)
        SELECT * FROM unnest('{someone}'::text[], '{6}'::bigint[], '{eeeeeeee-0000-4000-8000-000000000006}'::uuid[],
            '{consume}'::text[], '{2000000}'::bigint[], '{4000000}'::bigint[], '{2000000}'::bigint[], '{0}'::bigint[],
            '{user}'::text[], ARRAY[now()], ARRAY[now()]) RETURNING 1
    ), lines AS (
        INSERT INTO credits.entry_grants (user_id, seq, grant_id, delta, held_delta)
        SELECT * FROM unnest('{someone}'::text[], '{6}'::bigint[], '{1}'::bigint[], '{-2000000}'::bigint[], '{0}'::bigint[])
        RETURNING 1
    )
    SELECT (SELECT count(*) FROM entries) + (SELECT count(*) FROM lines)";

#[tokio::test]
async fn entries_of_the_version_before_are_read_and_the_way_back_keeps_all_lines() {
    let (mut db, user) = (database().await, testkit::user("someone"));
    db.forgo_audits();
    let (hold_id, held) = hold(&user, credits(2));
    let commands = [
        open(&user, credits(10)),
        consume(&user, credits(3)),
        held,
        capture(&user, hold_id, Some(credits(3))),
    ];
    run(db.pool(), &testkit::clock(), &commands).await;
    run(db.pool(), &testkit::clock(), &[consume(&user, credits(1))]).await;
    let mut conn = db.connect().await;
    assert_eq!(ask(&mut conn, "SELECT count(*) FROM credits.entry_lines").await.unwrap(), 1);
    conn.batch_execute(BOOK_BEFORE).await.unwrap();
    let lines = "SELECT concat_ws(' ', seq, grant_id, delta / 1000000, held_delta / 1000000) FROM credits.entry_grants ORDER BY seq";
    let expected = ["1 1 10 0", "2 1 -3 0", "3 1 0 2", "4 1 -3 -2", "5 1 -1 0", "6 1 -2 0"];
    assert_eq!(ask_texts(&mut conn, lines).await.unwrap(), expected);
    for migration in credits::MIGRATIONS.iter().rev() {
        conn.batch_execute(migration.down).await.unwrap();
        if migration.name.ends_with("name_grants_in_entries") {
            break;
        }
    }
    assert_eq!(ask_texts(&mut conn, lines).await.unwrap(), expected);
    assert_eq!(ask(&mut conn, "SELECT remaining / 1000000 FROM credits.grants").await.unwrap(), 3);
}

/// An index on a column that a spend changes would make every update write all indexes.
#[tokio::test]
async fn a_spend_updates_the_account_alone_and_in_place() {
    let (db, clock, user) = (database().await, testkit::clock(), testkit::user("someone"));
    run(db.pool(), &clock, &[open(&user, credits(10))]).await;
    clock.advance(time::Duration::SECOND);
    // A connection of its own, for the counts begin with the connection.
    let mut tx = Tx::begin(&db.pool_of(1)).await.unwrap();
    for _ in 0..5 {
        execute(&mut tx, &clock, credits::Defaults::default(), &[consume(&user, credits(1))]).await.unwrap();
    }
    for (column, expected) in [("n_tup_upd", 5), ("n_tup_hot_upd", 5), ("n_tup_ins", 5)] {
        let sql = format!("SELECT sum({column}) FROM pg_stat_xact_user_tables WHERE schemaname = 'credits'");
        assert_eq!(ask(tx.conn(), &sql).await.unwrap(), expected, "{column}");
    }
    tx.commit().await.unwrap();
}
