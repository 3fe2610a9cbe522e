//! One ordered list of migrations for all domains.
//!
//! Each domain embeds its own folder; this module merges the lists, applies what is missing under an advisory lock, and
//! refuses to go on when an applied migration was edited.

use std::time::Duration;

use diesel::{
    QueryableByName,
    sql_types::{Binary, Text},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use sha2::{Digest, Sha256};

use crate::{DbError, Pool, Tx, probe};

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

/// Embeds the migrations `migrations/<domain>/<name>/{up,down}.sql` of the workspace.
#[macro_export]
macro_rules! migrations {
    ($domain:literal: $($name:literal),+ $(,)?) => {
        &[$($crate::Migration {
            name: $name,
            up: include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../migrations/", $domain, "/", $name, "/up.sql")),
            down: include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../migrations/", $domain, "/", $name, "/down.sql")),
        }),+]
    };
}

/// What a run did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// Migrations applied now, in order.
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

const LEDGER: &str = "CREATE TABLE IF NOT EXISTS public.user_service_migrations (
    name text COLLATE \"C\" PRIMARY KEY, checksum bytea NOT NULL, applied_at timestamptz NOT NULL DEFAULT now());
    COMMENT ON TABLE public.user_service_migrations IS 'Applied migrations and the SHA-256 of their SQL'";

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

/// Applies what is missing, in one transaction, under an advisory lock: several processes may start at once.
///
/// # Errors
/// [`DbError::Migration`] when an applied migration was edited or one fails; then nothing is changed.
pub async fn run(pool: &Pool, lists: &[&[Migration]]) -> Result<Report, DbError> {
    let mut tx = Tx::begin(pool).await?;
    let report = run_in(&mut tx, &merge(lists)).await?;
    tx.commit().await?;
    Ok(report)
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

async fn run_in(tx: &mut Tx, all: &[Migration]) -> Result<Report, DbError> {
    tx.limit_statements(Duration::ZERO).await?;
    let conn = tx.conn();
    conn.batch_execute("SET LOCAL lock_timeout = 0").await?;
    conn.batch_execute(LOCK).await?;
    conn.batch_execute(LEDGER).await?;
    conn.batch_execute(probe::TABLE).await?;
    let known = applied(conn).await?;
    let mut report = Report {
        unknown: known
            .iter()
            .filter(|row| all.iter().all(|migration| migration.name != row.name))
            .map(|row| row.name.clone())
            .collect(),
        applied: Vec::new(),
    };
    for migration in all {
        match known.iter().find(|row| row.name == migration.name) {
            Some(row) if row.checksum == checksum(migration) => {}
            Some(_) => return Err(failed(migration, "it was edited after it had been applied")),
            None => {
                apply(conn, migration).await?;
                report.applied.push(migration.name.to_owned());
            }
        }
    }
    Ok(report)
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
struct Present {
    #[diesel(sql_type = diesel::sql_types::Bool)]
    present: bool,
}

async fn apply(conn: &mut AsyncPgConnection, migration: &Migration) -> Result<(), DbError> {
    conn.batch_execute(migration.up)
        .await
        .map_err(|error| failed(migration, &error.to_string()))?;
    diesel::sql_query("INSERT INTO public.user_service_migrations (name, checksum) VALUES ($1, $2)")
        .bind::<Text, _>(migration.name)
        .bind::<Binary, _>(checksum(migration))
        .execute(conn)
        .await?;
    Ok(())
}

fn checksum(migration: &Migration) -> Vec<u8> {
    Sha256::new_with_prefix(migration.name)
        .chain_update([0])
        .chain_update(migration.up)
        .finalize()
        .to_vec()
}

fn failed(migration: &Migration, problem: &str) -> DbError {
    DbError::Migration {
        name: migration.name.to_owned(),
        problem: problem.to_owned(),
    }
}
