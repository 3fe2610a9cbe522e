//! All SQL of this domain. Rows hold plain types and become those of the model here.

mod audits;
pub(crate) mod messages;
pub(crate) mod sessions;

pub use audits::AUDITS;

use kernel::UserId;
use pg::DbError;

/// A column that holds what the rules never write is a fault of ours, whoever wrote it.
fn inconsistent(table: &str, key: &dyn std::fmt::Display, column: &str) -> DbError {
    DbError::Inconsistent(format!("{column} of {table} {key}"))
}

fn user_id(text: &str, table: &str, key: &dyn std::fmt::Display) -> Result<UserId, DbError> {
    UserId::stored(text).map_err(|_| inconsistent(table, key, "user_id"))
}
