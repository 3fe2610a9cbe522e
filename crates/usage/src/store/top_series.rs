//! Sums by bucket of the largest groups across users; the database ranks the groups and adds up the rest, so that a series
//! by user reads no more lines than are shown.

use std::sync::LazyLock;

use diesel::{
    QueryableByName,
    sql_types::{BigInt, Nullable},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use pg::DbError;

use super::{
    presence::present,
    series::{Cut, IS_SOMETHING, PLACE, SUMMED, SumRow, ask_cut, covered},
    sources::{of_all, of_each},
};
use crate::{Coverage, Dimension, Group, Point, Users};

/// Sums of one line in one bucket, or in all.
#[derive(Debug)]
pub(crate) struct RankedCell {
    /// From 1; behind `lines_max` comes the rest.
    pub(crate) rank: i64,
    /// `None` for the whole window.
    pub(crate) bucket: Option<usize>,
    pub(crate) group: Group,
    pub(crate) value: Point,
}

/// The cells in which there is something. Each line has one more, for the window.
pub(crate) async fn cells(
    conn: &mut AsyncPgConnection,
    cut: Cut<'_>,
    lines_max: u16,
    users: Users,
) -> Result<(Coverage, Vec<RankedCell>), DbError> {
    let sql = match users {
        Users::Counted if cut.is_by(Dimension::User) => &BY_USER_WITH_USERS,
        Users::Counted => &WITH_USERS,
        Users::Uncounted if cut.is_by(Dimension::User) => &BY_USER,
        Users::Uncounted => &ACROSS,
    };
    let rows: Vec<RankedRow> = ask_cut(sql, None, cut)
        .bind::<BigInt, _>(i64::from(lines_max))
        .bind::<BigInt, _>(cut.cells_max)
        .load(conn)
        .await?;
    let covered = covered(rows.as_slice().first().map(|row| row.sums.coverage))?;
    let cells = rows.into_iter().filter_map(RankedRow::cell);
    Ok((covered, cells.collect::<Result<_, _>>()?))
}

/// Ranks cells by what the whole group was charged, and puts the groups behind the last rank together. Groups that are equal
/// in everything else rank by their names, so that a line is the same line in every bucket.
const RANKED: &str = ", weighed AS (
    SELECT *, sum(credits_charged) OVER line AS line_credits, sum(records) OVER line AS line_records
    FROM cells WINDOW line AS (PARTITION BY event_type, model, provider, tool, owner)
), ranked AS (
    SELECT *, dense_rank() OVER (ORDER BY line_credits DESC, line_records DESC, event_type, model, provider, tool, owner) AS rank
    FROM weighed
), folded AS (
    SELECT place, least(rank, $16 + 1) AS rank, thousand, users, stranger, records, tokens_used, prompt_tokens,
           completion_tokens, credits_charged, credits_deducted, cost_usd, CASE WHEN rank <= $16 THEN event_type END AS event_type,
           CASE WHEN rank <= $16 THEN model END AS model, CASE WHEN rank <= $16 THEN provider END AS provider,
           CASE WHEN rank <= $16 THEN tool END AS tool, CASE WHEN rank <= $16 THEN owner END AS user_id
    FROM ranked
)";

/// The sums of each step.
const SUMS: &str =
    "sum(records) AS records, sum(tokens_used) AS tokens_used, sum(prompt_tokens) AS prompt_tokens,
           sum(completion_tokens) AS completion_tokens, sum(credits_charged) AS credits_charged,
           sum(credits_deducted) AS credits_deducted, sum(cost_usd) AS cost_usd";

/// The sums of each group in each bucket, of whom `stranger` tells one.
fn cells_of(stranger: &str) -> String {
    format!(
        "SELECT {PLACE}, CASE WHEN $15 THEN user_id END AS owner, NULL::int AS thousand, NULL::bit(1024) AS users,
           {stranger} AS stranger, {SUMS}
    FROM parts GROUP BY 1, 2, 3, 4, 5, 6"
    )
}

/// Lines without users, and without cells of which no sum is left. Each line has one cell more, for the window.
fn lines(parts: &str) -> String {
    format!(
        "{parts}, cells AS ({} HAVING {IS_SOMETHING}){RANKED}
SELECT coverage, line.* FROM span LEFT JOIN (
    SELECT place, rank, event_type, model, provider, tool, user_id, NULL::bigint AS users, {SUMMED}
    FROM folded
    GROUP BY GROUPING SETS ((place, rank, event_type, model, provider, tool, user_id),
                            (rank, event_type, model, provider, tool, user_id))
    LIMIT $17) AS line ON true",
        cells_of("NULL::text")
    )
}

/// Lines with users. They are put together first, a thousand numbers at a time, and then counted. No cell is left out: who had
/// a record was there, also when it was taken back.
fn lines_with_users(parts: &str, cells: &str) -> String {
    format!(
        "{parts}, cells AS ({cells}){RANKED}, together AS (
    SELECT place, rank, event_type, model, provider, tool, user_id,
           coalesce(bit_count(bit_or(users)), 0) + count(DISTINCT stranger) AS users, {SUMS}
    FROM folded
    GROUP BY GROUPING SETS ((place, rank, event_type, model, provider, tool, user_id, thousand),
                            (rank, event_type, model, provider, tool, user_id, thousand))
)
SELECT coverage, line.* FROM span LEFT JOIN (
    SELECT place, rank, event_type, model, provider, tool, user_id, sum(users)::bigint AS users, {SUMMED}
    FROM together GROUP BY place, rank, event_type, model, provider, tool, user_id
    LIMIT $17) AS line ON true"
    )
}

pub(super) static ACROSS: LazyLock<String> = LazyLock::new(|| lines(&of_all()));
pub(super) static BY_USER: LazyLock<String> = LazyLock::new(|| lines(&of_each()));
pub(super) static WITH_USERS: LazyLock<String> = LazyLock::new(|| {
    let cells = format!(
        "{} UNION ALL
    SELECT place, event_type, model, provider, tool, NULL, thousand, users, stranger, 0, 0, 0, 0, 0, 0, 0 FROM present",
        cells_of("NULL::text")
    );
    lines_with_users(&(of_all() + &present(PLACE)), &cells)
});
/// A line of a user has that user, and the rest as many as there are in it.
pub(super) static BY_USER_WITH_USERS: LazyLock<String> =
    LazyLock::new(|| lines_with_users(&of_each(), &cells_of("CASE WHEN $15 THEN user_id END")));

#[derive(QueryableByName)]
struct RankedRow {
    #[diesel(embed)]
    sums: SumRow,
    #[diesel(sql_type = Nullable<BigInt>)]
    rank: Option<i64>,
    #[diesel(sql_type = Nullable<BigInt>)]
    users: Option<i64>,
}

impl RankedRow {
    /// `None` for the row that stands where there is no cell.
    fn cell(self) -> Option<Result<RankedCell, DbError>> {
        let (rank, active_users) = (self.rank?, self.users.unwrap_or(0));
        let cell = self.sums.cell()?;
        Some(cell.map(|cell| RankedCell {
            rank,
            bucket: cell.bucket,
            group: cell.group,
            value: Point { totals: cell.value, active_users },
        }))
    }
}
