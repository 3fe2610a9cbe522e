//! Rules about stored data that can be checked at any time: the books must balance.

use std::time::Duration;

use diesel::{
    QueryableByName,
    sql_types::{BigInt, Nullable, Text},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};

use crate::{DbError, Tx};

/// Settings for an audit of a range. The sessions of the service plan for statements that look up a few keys (`session`); these
/// compare whole ranges of tables, where joins by hash and plans for the range at hand take a third less time. The range is
/// always found through an index, so that tables without statistics are not read whole for each of them.
const SNAPSHOT: &str = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY; \
    SET LOCAL plan_cache_mode = force_custom_plan; SET LOCAL enable_hashjoin = on; SET LOCAL enable_mergejoin = on; \
    SET LOCAL work_mem = '32MB'";

/// Time that one question of an audit may take.
const QUESTION_MAX: Duration = Duration::from_mins(10);

/// One rule, as a query that finds what breaks it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Audit {
    /// Name of the rule, for example `L2 entries are gapless`.
    pub rule: &'static str,
    /// SQL that answers a row (`subject text`, `detail text`) for each thing that breaks the rule, best with a LIMIT.
    pub sql: &'static str,
}

/// Something that breaks a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Name of the rule.
    pub rule: &'static str,
    /// The user or the thing.
    pub subject: String,
    /// The problem, with the numbers.
    pub detail: String,
}

/// Something that breaks a rule, at a place in the journal of a user.
#[derive(Debug, Clone, PartialEq, Eq, QueryableByName)]
pub struct Drift {
    /// User of the journal.
    #[diesel(sql_type = Text)]
    pub subject: String,
    /// Where in it, if it is about one place.
    #[diesel(sql_type = Nullable<BigInt>)]
    pub seq: Option<i64>,
    /// The problem, with the numbers.
    #[diesel(sql_type = Text)]
    pub detail: String,
}

#[derive(QueryableByName)]
struct Found {
    #[diesel(sql_type = Text)]
    subject: String,
    #[diesel(sql_type = Text)]
    detail: String,
}

/// Makes everything that the transaction reads one snapshot, and lets it read ranges of tables. Must be its first statement.
///
/// # Errors
/// [`DbError`] when that fails.
pub async fn take_snapshot(tx: &mut Tx) -> Result<(), DbError> {
    tx.conn().batch_execute(SNAPSHOT).await?;
    tx.limit_statements(QUESTION_MAX).await
}

/// Asks a rule of the subjects behind `after`, up to `until` if there is an end: SQL that takes both as texts (`$1`, `$2`) and
/// answers rows (`subject text`, `seq bigint`, `detail text`).
///
/// # Errors
/// [`DbError`] when the query fails; that is not a drift.
pub async fn run_between(
    conn: &mut AsyncPgConnection,
    sql: &'static str,
    after: &str,
    until: Option<&str>,
) -> Result<Vec<Drift>, DbError> {
    let rule = crate::sql(sql).bind::<Text, _>(after).bind::<Nullable<Text>, _>(until);
    Ok(rule.load(conn).await?)
}

/// Runs the audits on one connection and collects what they find.
///
/// # Errors
/// [`DbError`] when a query fails; that is not a violation.
pub async fn run(conn: &mut AsyncPgConnection, audits: &[Audit]) -> Result<Vec<Violation>, DbError> {
    let mut violations = Vec::new();
    for audit in audits {
        let found: Vec<Found> = crate::sql(audit.sql).load(conn).await?;
        violations.extend(found.into_iter().map(|row| Violation {
            rule: audit.rule,
            subject: row.subject,
            detail: row.detail,
        }));
    }
    Ok(violations)
}
