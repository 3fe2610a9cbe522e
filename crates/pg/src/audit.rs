//! Rules about stored data that can be checked at any time: the books must balance.

use diesel::{QueryableByName, sql_types::Text};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use crate::DbError;

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
    /// Whose or which thing.
    pub subject: String,
    /// What is wrong, with the numbers.
    pub detail: String,
}

#[derive(QueryableByName)]
struct Found {
    #[diesel(sql_type = Text)]
    subject: String,
    #[diesel(sql_type = Text)]
    detail: String,
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
