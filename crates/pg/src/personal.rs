//! Declarations of tables with personal data, and the erasing that follows them (HTTP contract 3.4).
//!
//! A domain declares each of its tables once, beside its SQL. A test compares the declarations with the catalogue of the database:
//! no table with users, and no free text in what stays, is without one.

use diesel::sql_types::{BigInt, Text};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use crate::{DbError, Pool, Tx};

/// Most rows of one commit.
const ROWS_MAX: i64 = 5_000;

/// A table with data of users.
#[derive(Debug, Clone, Copy)]
pub struct PersonalTable {
    /// Schema and name.
    pub table: &'static str,
    /// Treatment of the rows of a user who is erased.
    pub erase: Erase,
    /// Texts and JSON columns that stay as they are, each with the reason.
    pub keeps: &'static [(&'static str, &'static str)],
    /// The part of an export that shows the rows, or the reason for none.
    pub export: Export,
}

/// Treatment of the rows of a user who is erased.
#[derive(Debug, Clone, Copy)]
pub enum Erase {
    /// All rows are deleted.
    Delete,
    /// The rows that meet a condition are deleted.
    DeleteWhere(&'static str),
    /// Columns are set to NULL.
    Clear(&'static [&'static str]),
    /// Columns are emptied by a statement. It takes the user (`$1`) and a number (`$2`), changes at most so many rows, each once,
    /// and answers one row with the number of them (`changed bigint`).
    Empty {
        /// The columns.
        columns: &'static [&'static str],
        /// The statement.
        statement: &'static str,
    },
    /// The code that is named erases them.
    By(&'static str),
    /// They stay, for this reason.
    Keep(&'static str),
}

/// Rows in an export.
#[derive(Debug, Clone, Copy)]
pub enum Export {
    /// They are in this part.
    In(&'static str),
    /// They are in none, for this reason.
    No(&'static str),
}

#[derive(diesel::QueryableByName)]
struct Changed {
    #[diesel(sql_type = BigInt)]
    changed: i64,
}

/// Erases the rows of a user, table by table in the order of the declarations, a bounded number in each commit. A repeat goes on
/// where it was interrupted.
///
/// # Errors
/// [`DbError`]; what was committed before stays erased.
pub async fn erase(pool: &Pool, tables: &[PersonalTable], user_id: &str) -> Result<(), DbError> {
    for table in tables {
        while Tx::run(pool, async |tx| erase_some(tx.conn(), table, user_id).await).await? >= ROWS_MAX {}
    }
    Ok(())
}

/// Erases the rows of a user in one transaction, for tables that have few.
///
/// # Errors
/// [`DbError`]; then the transaction must be given up.
pub async fn erase_in(tx: &mut Tx, tables: &[PersonalTable], user_id: &str) -> Result<(), DbError> {
    for table in tables {
        while erase_some(tx.conn(), table, user_id).await? >= ROWS_MAX {}
    }
    Ok(())
}

/// Erases at most [`ROWS_MAX`] rows and returns how many there were.
async fn erase_some(
    conn: &mut AsyncPgConnection,
    table: &PersonalTable,
    user_id: &str,
) -> Result<i64, DbError> {
    let name = table.table;
    let page = |condition: &str| {
        format!("ctid = ANY (ARRAY(SELECT ctid FROM {name} WHERE user_id = $1 AND {condition} LIMIT $2))")
    };
    let statement = match table.erase {
        Erase::Delete => format!("DELETE FROM {name} WHERE {}", page("true")),
        Erase::DeleteWhere(condition) => format!("DELETE FROM {name} WHERE {}", page(condition)),
        Erase::Clear(columns) => {
            let is_left = format!("({})", each(columns, " IS NOT NULL", " OR "));
            format!("UPDATE {name} SET {} WHERE {}", each(columns, " = NULL", ", "), page(&is_left))
        }
        Erase::Empty { statement, .. } => {
            let query = diesel::sql_query(statement).bind::<Text, _>(user_id).bind::<BigInt, _>(ROWS_MAX);
            let row: Changed = query.get_result(conn).await?;
            return Ok(row.changed);
        }
        Erase::By(_) | Erase::Keep(_) => return Ok(0),
    };
    let query = diesel::sql_query(statement).bind::<Text, _>(user_id).bind::<BigInt, _>(ROWS_MAX);
    let changed = query.execute(conn).await?;
    Ok(i64::try_from(changed).unwrap_or(i64::MAX))
}

/// The columns, each with what follows it.
fn each(columns: &[&str], suffix: &str, between: &str) -> String {
    columns.iter().map(|name| [name, suffix].concat()).collect::<Vec<_>>().join(between)
}
