//! Declarations of tables with personal data, and the erasing that follows them (HTTP contract 3.4).
//!
//! A domain declares each of its tables once, beside its SQL. A test compares the declarations with the catalogue of the database:
//! no table with users, and no free text in what stays, is without one.

use diesel::{
    OptionalExtension,
    sql_types::{Array, BigInt, Nullable, Text},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use crate::{DbError, Tx};

/// Most rows of one commit.
const ROWS_MAX: i64 = 2_000;
/// Most bytes of one commit, unless its one row is larger.
const BYTES_MAX: i64 = 16 * 1024 * 1024;

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

/// Order in which the rows of a user are walked through, a bounded piece in each commit: no piece reads again what the ones before
/// it have read.
#[derive(Debug, Clone, Copy)]
pub struct Walk {
    /// The rows of the user `$1`: each condition is the beginning of an index that goes on with the key.
    pub of: &'static [&'static str],
    /// Columns with their types. None is null.
    pub key: &'static [(&'static str, &'static str)],
    /// Bytes of a row, as an expression that opens no large value.
    pub bytes: &'static str,
}

/// Treatment of the rows of a user who is erased.
#[derive(Debug, Clone, Copy)]
pub enum Erase {
    /// All rows are deleted.
    Delete(Walk),
    /// The rows that meet a condition are deleted.
    DeleteWhere(Walk, &'static str),
    /// Columns are set to NULL.
    Clear(Walk, &'static [&'static str]),
    /// Columns are emptied by a statement.
    Empty {
        /// The order of the rows.
        walk: Walk,
        /// The columns.
        columns: &'static [&'static str],
        /// A statement that is sent for each piece. It takes the user (`$1`), the key of the row before the piece (`$2`, null for
        /// none) and that of its last row (`$3`), each as an array of texts; `{piece}` stands for the condition of both.
        statement: &'static str,
    },
    /// The code that is named erases them.
    By(&'static str),
    /// They stay, for this reason.
    Keep(&'static str),
}

/// The key of a row in a [`Walk`], as texts.
pub type Place = Vec<String>;

/// Rows in an export.
#[derive(Debug, Clone, Copy)]
pub enum Export {
    /// They are in this part.
    In(&'static str),
    /// They are in none, for this reason.
    No(&'static str),
}

#[derive(diesel::QueryableByName)]
struct LastRow {
    #[diesel(sql_type = Array<Text>)]
    last: Place,
}

/// Erases the next piece of the rows of a user in a table, after a row, and returns its last row; `None` at the end.
///
/// # Errors
/// [`DbError`]; then the transaction must be given up.
pub async fn erase_piece(
    conn: &mut AsyncPgConnection,
    table: &PersonalTable,
    user_id: &str,
    after: Option<&Place>,
) -> Result<Option<Place>, DbError> {
    let Some(walk) = table.erase.walk() else {
        return Ok(None);
    };
    let last: Option<LastRow> = diesel::sql_query(walk.end_of_piece(table.table, after.is_some()))
        .bind::<Text, _>(user_id)
        .bind::<Nullable<Array<Text>>, _>(after)
        .bind::<BigInt, _>(ROWS_MAX)
        .bind::<BigInt, _>(BYTES_MAX)
        .get_result(conn)
        .await
        .optional()?;
    let Some(LastRow { last }) = last else {
        return Ok(None);
    };
    diesel::sql_query(table.statement(&walk.piece(after.is_some())))
        .bind::<Text, _>(user_id)
        .bind::<Nullable<Array<Text>>, _>(after)
        .bind::<Array<Text>, _>(&last)
        .execute(conn)
        .await?;
    Ok(Some(last))
}

/// Erases the rows of a user in one transaction, for tables that have few.
///
/// # Errors
/// [`DbError`]; then the transaction must be given up.
pub async fn erase_in(tx: &mut Tx, tables: &[PersonalTable], user_id: &str) -> Result<(), DbError> {
    for table in tables {
        let mut after = None;
        while let Some(last) = erase_piece(tx.conn(), table, user_id, after.as_ref()).await? {
            after = Some(last);
        }
    }
    Ok(())
}

impl Erase {
    fn walk(&self) -> Option<&Walk> {
        match self {
            Self::Delete(walk)
            | Self::DeleteWhere(walk, _)
            | Self::Clear(walk, _)
            | Self::Empty { walk, .. } => Some(walk),
            Self::By(_) | Self::Keep(_) => None,
        }
    }
}

impl PersonalTable {
    /// The statement that erases a piece.
    fn statement(&self, piece: &str) -> String {
        let name = self.table;
        match self.erase {
            Erase::Delete(_) => format!("DELETE FROM {name} WHERE {piece}"),
            Erase::DeleteWhere(_, condition) => format!("DELETE FROM {name} WHERE {piece} AND {condition}"),
            Erase::Clear(_, columns) => {
                let (set, is_left) = (each(columns, " = NULL", ", "), each(columns, " IS NOT NULL", " OR "));
                format!("UPDATE {name} SET {set} WHERE {piece} AND ({is_left})")
            }
            Erase::Empty { statement, .. } => statement.replace("{piece}", piece),
            Erase::By(_) | Erase::Keep(_) => String::new(),
        }
    }
}

impl Walk {
    /// The rows of a table whose index begins with `user_id`.
    pub const USER: &'static [&'static str] = &["user_id = $1"];

    /// Rows by number and by bytes, from the row after `$2`; the last of them is answered.
    fn end_of_piece(&self, table: &str, is_after: bool) -> String {
        let keys = self.keys(|name, _| name.to_owned());
        let texts = self.keys(|name, _| format!("{name}::text"));
        let backwards = self.keys(|name, _| format!("{name} DESC"));
        let (bytes, after) = (self.bytes, self.after(is_after));
        let page = |of: &&str| {
            format!(
                "(SELECT {keys}, coalesce({bytes}, 0)::bigint AS bytes FROM {table} WHERE {of} AND {after} ORDER BY {keys} LIMIT $3)"
            )
        };
        let pages = self.of.iter().map(page).collect::<Vec<_>>().join(" UNION ");
        format!(
            "SELECT ARRAY[{texts}] AS last FROM (
                 SELECT {keys}, sum(bytes) OVER (ORDER BY {keys} ROWS UNBOUNDED PRECEDING) - bytes AS bytes_before
                 FROM (SELECT * FROM ({pages}) AS found ORDER BY {keys} LIMIT $3) AS page) AS rows
             WHERE bytes_before < $4 ORDER BY {backwards} LIMIT 1"
        )
    }

    /// The condition of the rows of a piece, up to the row `$3`.
    fn piece(&self, is_after: bool) -> String {
        let (keys, last) = (self.keys(|name, _| name.to_owned()), self.values('3'));
        format!("({}) AND {} AND ({keys}) <= ({last})", self.of.join(" OR "), self.after(is_after))
    }

    fn after(&self, is_after: bool) -> String {
        match is_after {
            true => format!("({}) > ({})", self.keys(|name, _| name.to_owned()), self.values('2')),
            false => "$2::text[] IS NULL".to_owned(),
        }
    }

    /// The values of a key that is a parameter.
    fn values(&self, parameter: char) -> String {
        let mut place = 0_usize;
        self.keys(|_, kind| {
            place = place.saturating_add(1);
            format!("${parameter}[{place}]::{kind}")
        })
    }

    fn keys(&self, text: impl FnMut(&str, &str) -> String) -> String {
        let mut text = text;
        self.key.iter().map(|(name, kind)| text(name, kind)).collect::<Vec<_>>().join(", ")
    }
}

/// The columns, each with what follows it.
fn each(columns: &[&str], suffix: &str, between: &str) -> String {
    columns.iter().map(|name| [name, suffix].concat()).collect::<Vec<_>>().join(between)
}
