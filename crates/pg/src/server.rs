//! Properties of the server behind a pool: whether a pooler stands before it, and whether it keeps what it acknowledges.

use std::time::Duration;

use diesel::{
    QueryableByName,
    sql_types::{Array, Bool, Integer, Text},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use tokio::time::timeout;

use crate::{
    DbError, Pool,
    error::chain,
    pool::Connection,
    session::{SETTINGS, Stated},
};

/// Connections that are looked at together.
const CONNECTIONS: usize = 3;
/// Number of times that each of them has a transaction at the same time as the others.
const ROUNDS: usize = 4;
/// Time that a pooler may take to begin one: when it has fewer connections to the server than are looked at, it never does.
const BEGIN_TIMEOUT: Duration = Duration::from_secs(2);

/// Facts about a server that are needed before it is used.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Server {
    /// A pooler gives each transaction another session (transaction pooling), or that could not be ruled out because there was
    /// only one connection to look at.
    pub is_pooled: bool,
    /// `name = value` of each setting of the server with which it may lose or misread what was acknowledged.
    pub hazards: Vec<String>,
    /// `name = value` of each setting that the role should have because it cannot be stated through a pooler.
    pub role_lacks: Vec<String>,
}

/// Set for as long as the session lasts: the looks find out whether it does.
const MARK: &str = "SET user_service.session = 'kept'";

/// Prepared by each connection in its first transaction.
const LOOK: &str = "SELECT pg_backend_pid() AS pid, current_setting('user_service.session', true) IS NOT DISTINCT FROM 'kept' \
    AS is_kept";

#[derive(Debug, Clone, Copy, QueryableByName)]
struct Readings {
    /// The process that ran the transaction.
    #[diesel(sql_type = Integer)]
    pid: i32,
    /// The settings of the session are still those of its beginning.
    #[diesel(sql_type = Bool)]
    is_kept: bool,
}

/// Settings of a server that are hazards, as they are then. What is lost or misread is said in deploy/README.md.
const HAZARDS: &str = "SELECT ARRAY(SELECT name || ' = ' || setting FROM pg_settings WHERE (name, setting) IN \
    (('fsync', 'off'), ('full_page_writes', 'off'), ('zero_damaged_pages', 'on'), ('ignore_checksum_failure', 'on')) \
    ORDER BY name) AS names, current_setting('session_replication_role') = 'replica' AS is_without_triggers";

#[derive(QueryableByName)]
struct Hazards {
    #[diesel(sql_type = Array<Text>)]
    names: Vec<String>,
    #[diesel(sql_type = Bool)]
    is_without_triggers: bool,
}

/// Without what another client of the pooler may have set.
const LACKS: &str = "SELECT name || ' = ' || wanted AS text FROM unnest($1, $2) AS w (name, wanted) JOIN pg_settings USING (name) \
    WHERE reset_val <> wanted ORDER BY name";

#[derive(QueryableByName)]
struct TextRow {
    #[diesel(sql_type = Text)]
    text: String,
}

/// Looks at the server of a pool. From then on all pools of this server know whether there is a pooler.
///
/// # Errors
/// [`DbError::Unfit`] with a reason when the service cannot work with it; others when it cannot be asked.
pub async fn examine(pool: &Pool) -> Result<Server, DbError> {
    // Until it is known otherwise: nothing may be left in the session of another client.
    pool.session().note_pooler(true);
    let is_pooled = find_pooler(pool).await.map_err(explain)?;
    pool.session().note_pooler(is_pooled);
    let hazards: Hazards =
        pool.read(async |conn| Ok::<_, DbError>(diesel::sql_query(HAZARDS).get_result(conn).await?)).await?;
    if hazards.is_without_triggers {
        return Err(DbError::Unfit(
            "session_replication_role is replica, which turns off triggers and foreign keys".to_owned(),
        ));
    }
    let role_lacks = if is_pooled { role_lacks(pool).await? } else { Vec::new() };
    Ok(Server { is_pooled, hazards: hazards.names, role_lacks })
}

async fn role_lacks(pool: &Pool) -> Result<Vec<String>, DbError> {
    // `BEGIN` states the isolation, and idle sessions are those of the pooler.
    let is_needless = |name| ["default_transaction_isolation", "idle_session_timeout"].contains(&name);
    let (names, wanted): (Vec<&str>, Vec<&str>) = SETTINGS
        .iter()
        .filter(|setting| setting.stated == Stated::BySession && !is_needless(setting.name))
        .map(|setting| (setting.name, setting.value))
        .unzip();
    let rows: Vec<TextRow> = pool
        .read(async |conn| {
            let query = crate::sql(LACKS).bind::<Array<Text>, _>(names).bind::<Array<Text>, _>(wanted);
            Ok::<_, DbError>(query.load(conn).await?)
        })
        .await?;
    Ok(rows.into_iter().map(|row| row.text).collect())
}

/// Returns whether transactions of one connection run in several sessions, by running some. The sessions of a server without
/// a pooler have their settings in the end.
///
/// A pooler gives two connections, one after the other, the session that it has free; several at the same time, again and
/// again, get the sessions of one another. A statement that was prepared in the first transaction is used in all later ones.
async fn find_pooler(pool: &Pool) -> Result<bool, DbError> {
    let mut connections = vec![pool.get().await?];
    while connections.len() < CONNECTIONS.min(pool.size_max()) {
        match pool.get().await {
            Ok(connection) => connections.push(connection),
            Err(error) if is_about_statements(&error) => return Err(error),
            // The server has no more for this role at this moment: fewer show less.
            Err(error) => {
                tracing::debug!(%error, "the server is looked at with fewer connections");
                break;
            }
        }
    }
    let mut first = Vec::new();
    for conn in &mut connections {
        conn.batch_execute(MARK).await?;
        conn.batch_execute(&pool.session().begin()).await?;
        first.push(look(conn).await?);
        conn.batch_execute("COMMIT").await?;
    }
    let pids: Vec<i32> = first.iter().map(|look| look.pid).collect();
    let is_shared =
        pids.iter().enumerate().any(|(place, pid)| pids.iter().take(place).any(|other| other == pid));
    let mut is_kept = first.iter().all(|look| look.is_kept);
    let mut is_swapped = false;
    for round in 0..ROUNDS {
        let looks = look_together(pool, &mut connections, round, "COMMIT").await?;
        is_kept &= looks.iter().all(|look| look.is_kept);
        is_swapped |= looks.iter().zip(&pids).any(|(look, pid)| look.pid != *pid);
    }
    // A single connection may get the same session again and again.
    let is_pooled = first.len() < 2 || is_shared || is_swapped || !is_kept;
    if is_shared && !is_swapped {
        look_after_replacement(pool, &mut connections).await?;
    }
    if is_pooled {
        let end = "RESET user_service.session; COMMIT";
        look_together(pool, &mut connections, ROUNDS, end).await?;
    } else {
        for conn in &mut connections {
            pool.session().state(conn).await?;
        }
    }
    Ok(is_pooled)
}

/// One transaction of each connection, all at the same time. What cannot begin is left out from then on.
async fn look_together(
    pool: &Pool,
    connections: &mut Vec<Connection>,
    round: usize,
    end: &str,
) -> Result<Vec<Readings>, DbError> {
    let (begin, mut begun) = (pool.session().begin(), 0_usize);
    for conn in connections.iter_mut() {
        match timeout(BEGIN_TIMEOUT, conn.batch_execute(&begin)).await {
            Ok(done) => done?,
            Err(_elapsed) => break,
        }
        begun = begun.saturating_add(1);
    }
    for stuck in connections.drain(begun..) {
        pool.abandon(stuck);
    }
    let mut looks = Vec::new();
    for conn in connections.iter_mut() {
        looks.push(look(conn).await?);
    }
    // A pooler hands out the session that became free first, or last: in both cases some connection gets another next time.
    let rotation = if round.is_multiple_of(2) { 0 } else { 1.min(begun) };
    let (last, first) = connections.split_at_mut(rotation);
    for conn in first.iter_mut().chain(last) {
        conn.batch_execute(end).await?;
    }
    Ok(looks)
}

/// A pooler with a single session swaps none; one day it replaces it. So its session is ended, and a statement that was
/// prepared before is used in the next one.
async fn look_after_replacement(pool: &Pool, connections: &mut [Connection]) -> Result<(), DbError> {
    let mut ending = pool.get().await?;
    ending.batch_execute(&pool.session().begin()).await?;
    if let Err(error) = ending.batch_execute("SELECT pg_terminate_backend(pg_backend_pid())").await {
        tracing::debug!(%error, "a session of the pooler was ended");
    }
    ending.discard();
    for conn in connections {
        conn.batch_execute(&pool.session().begin()).await?;
        look(conn).await?;
        conn.batch_execute("COMMIT").await?;
    }
    Ok(())
}

async fn look(conn: &mut AsyncPgConnection) -> Result<Readings, DbError> {
    Ok(crate::sql(LOOK).get_result(conn).await?)
}

/// A pooler that does not know the prepared statements of its clients answers a look with the error of another session.
fn explain(error: DbError) -> DbError {
    if is_about_statements(&error) {
        return DbError::Unfit(format!(
            "the pooler before it does not keep prepared statements ({}): PgBouncer does since version 1.21, with \
             max_prepared_statements above 0; with older ones use pool_mode = session, or connect to the server itself",
            chain(&error)
        ));
    }
    error
}

/// Recognized by the text: the driver does not pass the code. In all languages it has the name of the statement, which the driver
/// makes of an `s` and a number.
fn is_about_statements(error: &DbError) -> bool {
    let text = chain(error);
    let is_number = |digits: &str| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    let mut words = text.split(|c: char| !c.is_alphanumeric() && c != '_');
    text.contains("prepared statement") || words.any(|word| word.strip_prefix('s').is_some_and(is_number))
}

/// The language in which the server words its errors for this session, if it is another than English.
///
/// Deadlocks and waits for locks are then not recognised by their texts: see the README of this crate.
///
/// # Errors
/// [`DbError`] when the server does not answer.
pub async fn foreign_language(conn: &mut AsyncPgConnection) -> Result<Option<String>, DbError> {
    let row: TextRow =
        diesel::sql_query("SELECT current_setting('lc_messages') AS text").get_result(conn).await?;
    let language = row.text.to_ascii_lowercase();
    let english = ["", "c", "posix"].contains(&language.as_str())
        || ["c.", "en_", "english"].iter().any(|begin| language.starts_with(begin));
    Ok((!english).then_some(row.text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_about_prepared_statements_are_told_in_every_language() {
        let about = |text: &str| is_about_statements(&DbError::Connect(text.into()));
        assert!(about("prepared statement \"s12\" does not exist"));
        assert!(about("vorbereitete Anweisung »s3« existiert bereits"));
        assert!(about("l'instruction préparée « s7 » n'existe pas"));
        assert!(!about("permission denied for function pg_backend_pid"));
        assert!(!about("canceling statement after 3 s, by user s_1 of host s"));
    }
}
