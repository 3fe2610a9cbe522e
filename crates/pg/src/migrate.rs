//! One ordered list of migrations for all domains.
//!
//! Each domain embeds its own folder (`embed_migrations.rs`); this module merges the lists, applies what is missing under an advisory lock, each
//! migration in a transaction of its own, and refuses to go on when an applied migration was edited.

use std::time::{Duration, Instant};

use diesel::{
    QueryableByName,
    sql_types::{Binary, Text},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use sha2::{Digest, Sha256};

use crate::{DbError, Pool, Tx, error::chain, probe};

/// One change of the schema, with the way back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Migration {
    /// `<timestamp>_<verb_noun>`: unique over all domains, and their order.
    pub name: &'static str,
    /// SQL that makes the change.
    pub up: &'static str,
    /// SQL that takes it back exactly.
    pub down: &'static str,
}

/// Results of a run.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// Migrations applied now, in order. One whose commit was not answered is missing here.
    pub applied: Vec<String>,
    /// Migrations that the database has and this program does not know: a newer version was here.
    pub unknown: Vec<String>,
}

#[derive(QueryableByName)]
struct Applied {
    #[diesel(sql_type = Text)]
    name: String,
    #[diesel(sql_type = Binary)]
    checksum: Vec<u8>,
}

/// Any constant will do, as long as every version of this service uses the same.
const LOCK: &str = "SELECT pg_advisory_xact_lock(7284018846117465001)";

/// Longest time that a migration waits for a lock. All who want the table meanwhile wait for the migration: two seconds are
/// what they wait for any lock, and more than `deadlock_timeout` has by default.
const LOCK_WAIT: Duration = Duration::from_secs(2);

/// Time for the traffic between two tries.
const PAUSE: Duration = Duration::from_millis(500);

/// Time for retries of a migration that fails because of other transactions or a lost connection.
const PATIENCE: Duration = Duration::from_mins(1);

/// The table of applied migrations. Made once, so that a step takes no lock on it.
const LEDGER: &str = "DO $$ BEGIN
    IF to_regclass('public.user_service_migrations') IS NULL THEN
        CREATE TABLE public.user_service_migrations (
            name text COLLATE \"C\" PRIMARY KEY, checksum bytea NOT NULL, applied_at timestamptz NOT NULL DEFAULT now());
        COMMENT ON TABLE public.user_service_migrations IS 'Applied migrations and the SHA-256 of their SQL';
    END IF; END $$";

/// Sessions that use tables, those with the oldest transactions first: one of them holds the lock. Those of other roles may
/// hide their times.
const HOLDERS: &str = "
    SELECT format('process %s (role %s, application %s, %s, transaction open for %s s) uses %s', l.pid, a.usename,
        a.application_name, coalesce(a.state, 'state unknown'),
        coalesce(extract(epoch FROM now() - a.xact_start)::bigint::text, 'unknown'),
        string_agg(DISTINCT l.relation::regclass::text, ', ')) AS holder
    FROM pg_locks AS l JOIN pg_stat_activity AS a USING (pid) JOIN pg_class AS c ON c.oid = l.relation
    WHERE a.datname = current_database() AND l.granted AND c.relkind IN ('r', 'p') AND c.oid >= 16384
        AND l.pid <> pg_backend_pid()
    GROUP BY l.pid, a.usename, a.application_name, a.state, a.xact_start ORDER BY a.xact_start LIMIT 3";

/// The lists of all domains as one list in order of name.
#[must_use]
pub fn merge(lists: &[&[Migration]]) -> Vec<Migration> {
    let mut all: Vec<Migration> = lists.iter().flat_map(|list| list.iter().copied()).collect();
    all.sort_by_key(|migration| migration.name);
    all
}

/// A hash over all names and texts: equal lists make equal schemas.
#[must_use]
pub fn fingerprint(lists: &[&[Migration]]) -> String {
    let mut hash = Sha256::new();
    for migration in merge(lists) {
        hash.update(checksum(&migration));
    }
    hex::encode(hash.finalize())
}

/// Result of one transaction.
enum Step {
    /// The next migration was applied.
    Applied(&'static str),
    /// Nothing is missing; the database has these besides.
    Finished { unknown: Vec<String> },
}

/// Applies what is missing, each migration in a transaction of its own, under an advisory lock: several processes may start
/// at once. A migration that meets other transactions or loses its connection is tried again for a minute.
///
/// # Errors
/// [`DbError::Migration`] when an applied migration was edited: then nothing is applied. The same when one fails: then the ones
/// before it stay applied, and the next run goes on with it.
pub async fn run(pool: &Pool, lists: &[&[Migration]]) -> Result<Report, DbError> {
    run_within(pool, lists, PATIENCE).await
}

/// Like [`run`], with another time for retries of a migration, counted from its first failure.
///
/// # Errors
/// Like [`run`].
pub async fn run_within(pool: &Pool, lists: &[&[Migration]], patience: Duration) -> Result<Report, DbError> {
    let all = merge(lists);
    let mut report = Report::default();
    let mut failing_since = None;
    loop {
        let mut next = None;
        match step(pool, &all, &mut next).await {
            Ok(Step::Applied(name)) => {
                report.applied.push(name.to_owned());
                failing_since = None;
            }
            Ok(Step::Finished { unknown }) => {
                report.unknown = unknown;
                return Ok(report);
            }
            Err(error) => {
                let since = *failing_since.get_or_insert_with(Instant::now);
                if !may_pass(&error) || since.elapsed() >= patience {
                    return Err(explained(pool, next, error).await);
                }
                tracing::info!(
                    migration.name = next.map(|migration| migration.name),
                    error = chain(&error),
                    "a migration is tried again"
                );
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Returns whether the same step may succeed later. A commit without an answer is no obstacle: the next step reads what is applied.
fn may_pass(error: &DbError) -> bool {
    error.is_transient() || matches!(error, DbError::OutcomeUnknown(_))
}

/// The error with the name of the migration, and with the sessions that may hold the lock.
async fn explained(pool: &Pool, next: Option<&Migration>, error: DbError) -> DbError {
    let Some(migration) = next.filter(|_| !matches!(error, DbError::Migration { .. })) else {
        return error;
    };
    let mut problem = chain(&error);
    if matches!(error, DbError::LockTimeout(_)) {
        let holders = pool.read(holders).await.unwrap_or_default();
        for holder in holders {
            problem.push_str("; ");
            problem.push_str(&holder.holder);
        }
    }
    failed(migration, &problem)
}

/// The names of migrations that are missing in the database. Changes nothing.
///
/// # Errors
/// [`DbError`] when the database cannot be asked.
pub async fn pending(pool: &Pool, lists: &[&[Migration]]) -> Result<Vec<&'static str>, DbError> {
    let known = pool.read(applied).await?;
    Ok(merge(lists)
        .into_iter()
        .filter(|migration| known.iter().all(|row| row.name != migration.name))
        .map(|migration| migration.name)
        .collect())
}

/// Applies the next migration and commits. Stores its name in `next`, for the case that it fails.
async fn step<'a>(
    pool: &Pool,
    all: &'a [Migration],
    next: &mut Option<&'a Migration>,
) -> Result<Step, DbError> {
    let mut tx = Tx::begin(pool).await?;
    let outcome = step_in(&mut tx, all, next).await;
    tx.end(outcome).await
}

async fn step_in<'a>(
    tx: &mut Tx,
    all: &'a [Migration],
    next: &mut Option<&'a Migration>,
) -> Result<Step, DbError> {
    tx.limit_statements(Duration::ZERO).await?;
    let conn = tx.conn();
    // Another process may need long for its migrations; waiting for it keeps nobody from a table.
    conn.batch_execute("SET LOCAL lock_timeout = 0").await?;
    conn.batch_execute(LOCK).await?;
    let lock_timeout = format!("SET LOCAL lock_timeout = {}", LOCK_WAIT.as_millis());
    conn.batch_execute(&lock_timeout).await?;
    conn.batch_execute(LEDGER).await?;
    conn.batch_execute(probe::TABLE).await?;
    let known = applied(conn).await?;
    *next = missing(all, &known)?;
    if let Some(migration) = *next {
        apply(conn, migration).await?;
        return Ok(Step::Applied(migration.name));
    }
    let unknown = known
        .into_iter()
        .filter(|row| all.iter().all(|migration| migration.name != row.name))
        .map(|row| row.name)
        .collect();
    Ok(Step::Finished { unknown })
}

/// The first migration that was not applied, once it is certain that none of the others was edited.
fn missing<'a>(all: &'a [Migration], known: &[Applied]) -> Result<Option<&'a Migration>, DbError> {
    let mut first = None;
    for migration in all {
        match known.iter().find(|row| row.name == migration.name) {
            Some(row) if row.checksum == checksum(migration) => {}
            Some(_) => return Err(failed(migration, "it was edited after it had been applied")),
            None => first = first.or(Some(migration)),
        }
    }
    Ok(first)
}

async fn applied(conn: &mut AsyncPgConnection) -> Result<Vec<Applied>, DbError> {
    let exists = "SELECT name, checksum FROM public.user_service_migrations ORDER BY name";
    let present: Present =
        diesel::sql_query("SELECT to_regclass('public.user_service_migrations') IS NOT NULL AS present")
            .get_result(conn)
            .await?;
    if !present.present {
        return Ok(Vec::new());
    }
    Ok(diesel::sql_query(exists).load(conn).await?)
}

#[derive(QueryableByName)]
struct Holder {
    #[diesel(sql_type = Text)]
    holder: String,
}

async fn holders(conn: &mut AsyncPgConnection) -> Result<Vec<Holder>, DbError> {
    Ok(diesel::sql_query(HOLDERS).load(conn).await?)
}

#[derive(QueryableByName)]
struct Present {
    #[diesel(sql_type = diesel::sql_types::Bool)]
    present: bool,
}

async fn apply(conn: &mut AsyncPgConnection, migration: &Migration) -> Result<(), DbError> {
    conn.batch_execute(migration.up).await?;
    diesel::sql_query("INSERT INTO public.user_service_migrations (name, checksum) VALUES ($1, $2)")
        .bind::<Text, _>(migration.name)
        .bind::<Binary, _>(checksum(migration))
        .execute(conn)
        .await?;
    Ok(())
}

fn checksum(migration: &Migration) -> Vec<u8> {
    Sha256::new_with_prefix(migration.name).chain_update([0]).chain_update(migration.up).finalize().to_vec()
}

fn failed(migration: &Migration, problem: &str) -> DbError {
    DbError::Migration { name: migration.name.to_owned(), problem: problem.to_owned() }
}
