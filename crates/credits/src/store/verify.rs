//! The rules of a range of accounts, asked of one snapshot.

use diesel::{
    QueryableByName,
    sql_types::{BigInt, Text},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use kernel::UserId;
use pg::DbError;

use crate::store::audits::AUDITS_OF_RANGE;

/// Most entries of one range, unless one account has more: the longest statement then takes half a second.
const ENTRIES_A_RANGE: i64 = 200_000;

/// Behind every id that an account can have.
pub const END: &str = "\u{7f}";

/// A range of accounts, and how much there is to check.
#[derive(Debug)]
pub struct Range {
    /// Number of accounts.
    pub accounts: i64,
    /// Number of entries they have.
    pub entries: i64,
    /// The last account; `None` if there is none behind the range.
    pub last: Option<UserId>,
    after: String,
    up_to: String,
}

/// Something that breaks a rule.
#[derive(Debug)]
pub struct Found {
    /// The rule.
    pub rule: &'static str,
    /// Owner of the account.
    pub subject: String,
    /// The entry.
    pub seq: Option<i64>,
    /// The violation, in words.
    pub detail: String,
}

struct RangeRow {
    found: i64,
    accounts: i64,
    last: Option<UserId>,
}
pg::read_columns! { RangeRow: { found, accounts, last } }

#[derive(QueryableByName)]
struct CountRow {
    #[diesel(sql_type = BigInt)]
    count: i64,
}

struct FoundRow {
    subject: String,
    seq: Option<i64>,
    detail: String,
}
pg::read_columns! { FoundRow: { subject, seq, detail } }

/// Returns the number of accounts.
pub async fn accounts(conn: &mut AsyncPgConnection) -> Result<i64, DbError> {
    let row: CountRow = pg::sql("SELECT count(*) AS count FROM credits.accounts").get_result(conn).await?;
    Ok(row.count)
}

/// The next `limit` accounts behind `after`, fewer if they have many entries. The last range ends behind all accounts, so
/// that nothing without an account is missed.
pub async fn range(
    conn: &mut AsyncPgConnection,
    after: Option<&UserId>,
    limit: i64,
) -> Result<Range, DbError> {
    let after = after.map_or("", UserId::as_str);
    let row: RangeRow = pg::sql(
        "SELECT count(*) AS found, count(*) FILTER (WHERE before < $3) AS accounts, \
           max(user_id) FILTER (WHERE before < $3) AS last \
         FROM (SELECT user_id, sum(entries) OVER (ORDER BY user_id) - entries AS before FROM ( \
           SELECT user_id, greatest(entry_seq, 0) AS entries FROM credits.accounts \
           WHERE user_id > $1 ORDER BY user_id LIMIT $2) AS next) AS chunk",
    )
    .bind::<Text, _>(after)
    .bind::<BigInt, _>(limit)
    .bind::<BigInt, _>(ENTRIES_A_RANGE)
    .get_result(conn)
    .await?;
    let more = row.found >= limit || row.accounts < row.found;
    let last = row.last.filter(|_| more);
    let up_to = last.as_ref().map_or(END, UserId::as_str).to_owned();
    let count: CountRow =
        pg::sql("SELECT count(*) AS count FROM credits.entries WHERE user_id > $1 AND user_id <= $2")
            .bind::<Text, _>(after)
            .bind::<Text, _>(up_to.as_str())
            .get_result(conn)
            .await?;
    Ok(Range { accounts: row.accounts, entries: count.count, last, after: after.to_owned(), up_to })
}

/// Violations in the range: one statement a rule.
pub async fn check(conn: &mut AsyncPgConnection, range: &Range) -> Result<Vec<Found>, DbError> {
    let mut found = Vec::new();
    for (rule, sql) in AUDITS_OF_RANGE.iter() {
        let rows: Vec<FoundRow> = pg::sql(sql)
            .bind::<Text, _>(range.after.as_str())
            .bind::<Text, _>(range.up_to.as_str())
            .load(conn)
            .await?;
        found.extend(rows.into_iter().map(|row| Found {
            rule,
            subject: row.subject,
            seq: row.seq,
            detail: row.detail,
        }));
    }
    Ok(found)
}

/// The last of the `count` accounts behind user `after`; nothing if there are fewer.
pub async fn last_user(
    conn: &mut AsyncPgConnection,
    after: &str,
    count: i64,
) -> Result<Option<String>, DbError> {
    let rows: Vec<UserRow> = pg::sql(
        "SELECT user_id FROM credits.accounts WHERE user_id > $1 ORDER BY user_id OFFSET $2 - 1 LIMIT 1",
    )
    .bind::<Text, _>(after)
    .bind::<BigInt, _>(count)
    .load(conn)
    .await?;
    Ok(rows.into_iter().next().map(|row| row.user_id))
}

#[derive(QueryableByName)]
struct UserRow {
    #[diesel(sql_type = Text)]
    user_id: String,
}
