//! The settings of the sessions: one list, from which come the statements that begin a session and those that travel with
//! `BEGIN`.
//!
//! A server, a database or a role may have other defaults (`ALTER SYSTEM`, `ALTER DATABASE`, `ALTER ROLE ... SET`), and a
//! transaction pooler gives each transaction another session. So every setting that could change an answer or a plan is
//! stated here. The README of this crate says why each is, and which settings are left to the operator.

use std::{
    fmt::Write as _,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
};

use diesel::{QueryableByName, sql_types::Text};
use diesel_async::{AsyncPgConnection, SimpleAsyncConnection};

use crate::{DbError, pool::settings::PoolSettings};

/// A setting that every session has, whatever server, database and role say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setting {
    /// Its name.
    pub name: &'static str,
    /// Its value, as `SHOW` returns it.
    pub value: &'static str,
    /// Where it is stated.
    pub stated: Stated,
}

/// Where a setting is stated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stated {
    /// At the beginning of each session and again with each `BEGIN`.
    WithBegin,
    /// At the beginning of each session only: it has no meaning in a transaction, or is too slow to set for each.
    BySession,
}

use Stated::{BySession, WithBegin};

/// The settings with a fixed value. [`PoolSettings`] adds the time-outs; `synchronous_commit` is only lifted from `off`.
pub const SETTINGS: [Setting; 24] = [
    setting("search_path", "pg_catalog, pg_temp", WithBegin),
    setting("row_security", "off", WithBegin),
    setting("TimeZone", "UTC", WithBegin),
    setting("DateStyle", "ISO, MDY", WithBegin),
    setting("IntervalStyle", "postgres", WithBegin),
    setting("standard_conforming_strings", "on", WithBegin),
    setting("exit_on_error", "off", WithBegin),
    setting("jit", "off", WithBegin),
    setting("plan_cache_mode", "force_generic_plan", WithBegin),
    setting("enable_seqscan", "off", WithBegin),
    setting("enable_hashjoin", "off", WithBegin),
    setting("enable_mergejoin", "off", WithBegin),
    setting("enable_nestloop", "on", BySession),
    setting("enable_indexscan", "on", BySession),
    setting("enable_indexonlyscan", "on", BySession),
    setting("enable_bitmapscan", "on", BySession),
    setting("default_transaction_isolation", "read committed", BySession),
    setting("timezone_abbreviations", "Default", BySession),
    setting("array_nulls", "on", BySession),
    setting("transform_null_equals", "off", BySession),
    setting("quote_all_identifiers", "off", BySession),
    setting("bytea_output", "hex", BySession),
    setting("extra_float_digits", "1", BySession),
    setting("idle_session_timeout", "0", BySession),
];

const fn setting(name: &'static str, value: &'static str, stated: Stated) -> Setting {
    Setting { name, value, stated }
}

/// The first version of PostgreSQL that ends long transactions.
const TRANSACTION_TIMEOUT_SINCE: u32 = 17;

/// Settings that only a superuser or a role with the right to it may change: refused, it would break the session. Errors are recognised by
/// their English texts where the driver does not hand on their codes, and `replica` would turn off triggers and foreign keys.
const PRIVILEGED: &str = "SELECT set_config(name, value, false) \
    FROM (VALUES ('lc_messages', 'C'), ('session_replication_role', 'origin')) AS wanted (name, value) \
    WHERE has_parameter_privilege(name, 'SET') AND current_setting(name) <> value;";

/// Other values than `off` are durable, and chosen by the operator.
const DURABLE: &str = "SELECT set_config('synchronous_commit', 'on', false) \
    WHERE current_setting('synchronous_commit') = 'off';";

/// Without what another client of a pooler may have set.
const LEARN: &str = "SELECT reset_val AS text FROM pg_settings WHERE name = 'synchronous_commit'";

/// Settings of the sessions of a pool, and facts about the server.
#[derive(Clone)]
pub(crate) struct Session {
    limits: [(&'static str, u128); 3],
    /// `SET LOCAL` for each setting that travels.
    local: Arc<str>,
    server: Arc<Server>,
}

/// Facts about the server, shared by all pools of a process.
#[derive(Debug, Default)]
struct Server {
    version: AtomicU32,
    commit: AtomicU32,
    pooled: AtomicBool,
}

/// End of statements outside a transaction.
#[derive(Debug, Clone, Copy)]
pub(crate) enum End {
    Commit,
    Rollback,
}

/// The values of `synchronous_commit` that are kept, the first one instead of `off`.
const DURABLE_COMMITS: [&str; 4] = ["on", "local", "remote_write", "remote_apply"];

#[derive(QueryableByName)]
struct TextRow {
    #[diesel(sql_type = Text)]
    text: String,
}

impl Session {
    pub(crate) fn new(settings: &PoolSettings) -> Self {
        Self::about(settings, Arc::default())
    }

    /// The sessions of another pool at the same server.
    pub(crate) fn with(&self, settings: &PoolSettings) -> Self {
        Self::about(settings, Arc::clone(&self.server))
    }

    fn about(settings: &PoolSettings, server: Arc<Server>) -> Self {
        let limits = [
            ("statement_timeout", settings.statement_timeout.as_millis()),
            ("lock_timeout", settings.lock_timeout.as_millis()),
            ("idle_in_transaction_session_timeout", settings.idle_in_transaction_timeout.as_millis()),
        ];
        let travels = SETTINGS.iter().filter(|setting| setting.stated == WithBegin);
        let local = statements("SET LOCAL", travels, limits);
        Self { limits, local: local.into(), server }
    }

    /// Returns true if a pooler gives each transaction another session.
    pub(crate) fn is_pooled(&self) -> bool {
        self.server.pooled.load(Ordering::Relaxed)
    }

    /// Notes whether there is a pooler.
    pub(crate) fn note_pooler(&self, is_pooled: bool) {
        self.server.pooled.store(is_pooled, Ordering::Relaxed);
    }

    /// Notes the major version that a connection found.
    pub(crate) fn note_version(&self, text: Option<&str>) {
        let digits = text.and_then(|text| text.split(|c: char| !c.is_ascii_digit()).next());
        if let Some(version) = digits.and_then(|digits| digits.parse().ok()) {
            self.server.version.store(version, Ordering::Relaxed);
        }
    }

    /// States the settings of a new session. Behind a pooler they would be lost, or be left to another client.
    pub(crate) async fn begin_on(&self, conn: &mut AsyncPgConnection) -> Result<(), DbError> {
        if !self.is_pooled() {
            self.state(conn).await?;
        }
        let commit: TextRow = diesel_async::RunQueryDsl::get_result(crate::sql(LEARN), conn).await?;
        let durable = DURABLE_COMMITS.iter().position(|value| *value == commit.text);
        let durable = durable.and_then(|place| u32::try_from(place).ok()).unwrap_or(0);
        self.server.commit.store(durable, Ordering::Relaxed);
        Ok(())
    }

    /// States the settings for the rest of a session.
    pub(crate) async fn state(&self, conn: &mut AsyncPgConnection) -> Result<(), DbError> {
        let mut sql = statements("SET", &SETTINGS, self.limits);
        if self.ends_long_transactions() {
            sql.push_str("SET transaction_timeout = 0;");
        }
        Ok(conn.batch_execute(&(sql + DURABLE + PRIVILEGED)).await?)
    }

    /// Prepares for statements outside a [`crate::Tx`]. Behind a pooler they need a transaction, which carries the settings.
    pub(crate) async fn enter(&self, conn: &mut AsyncPgConnection) -> Result<(), DbError> {
        if self.is_pooled() {
            conn.batch_execute(&self.begin()).await?;
        }
        Ok(())
    }

    /// Ends what [`Session::enter`] began. After a failure it waits until all statements have ended.
    ///
    /// Only reads end so: when the connection is lost here nothing is unknown, and they can be tried again.
    pub(crate) async fn leave(&self, conn: &mut AsyncPgConnection, end: End) -> Result<(), DbError> {
        let sql = match (end, self.is_pooled()) {
            (End::Commit, false) => return Ok(()),
            // As in `Tx::commit`.
            (End::Commit, true) => "SELECT; COMMIT",
            (End::Rollback, false) => "",
            (End::Rollback, true) => "ROLLBACK",
        };
        Ok(conn.batch_execute(sql).await?)
    }

    /// `BEGIN` with the settings of the transaction, as one message.
    pub(crate) fn begin(&self) -> String {
        self.transaction("BEGIN ISOLATION LEVEL READ COMMITTED;")
    }

    /// The same for a transaction in which all statements see what the first one does.
    pub(crate) fn begin_snapshot(&self) -> String {
        self.transaction("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY;")
    }

    fn transaction(&self, begin: &str) -> String {
        let place = usize::try_from(self.server.commit.load(Ordering::Relaxed)).unwrap_or(0);
        let commit = DURABLE_COMMITS.get(place).unwrap_or(&DURABLE_COMMITS[0]);
        let long = if self.ends_long_transactions() { "SET LOCAL transaction_timeout = 0;" } else { "" };
        [begin, &self.local, "SET LOCAL synchronous_commit = ", commit, ";", long].concat()
    }

    fn ends_long_transactions(&self) -> bool {
        self.server.version.load(Ordering::Relaxed) >= TRANSACTION_TIMEOUT_SINCE
    }
}

/// A list is written without quotes: with them it would be a single name.
fn statements<'a>(
    set: &str,
    settings: impl IntoIterator<Item = &'a Setting>,
    limits: [(&'static str, u128); 3],
) -> String {
    let mut sql = String::new();
    for Setting { name, value, .. } in settings {
        let quote = if value.contains(", ") { "" } else { "'" };
        let _infallible = write!(sql, "{set} {name} = {quote}{value}{quote};");
    }
    for (name, limit) in limits {
        let _infallible = write!(sql, "{set} {name} = {limit};");
    }
    sql
}
