//! Sums by bucket and group, added up by the database.

use std::{collections::BTreeSet, sync::LazyLock};

use diesel::sql_types::{Array, BigInt, Bool, Timestamptz};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use kernel::{CreditsSum, UsdSum, UserId};
use pg::{DbError, Sql};
use time::OffsetDateTime;

use super::sources::{ask, coverage, of_all, of_each, of_user, sum};
use crate::{Coverage, Dimension, Group, Selection, Totals, core::window::Window};

/// Parameters: a window cut into buckets, which begin at `starts`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cut<'a> {
    pub(crate) window: Window,
    pub(crate) starts: &'a [OffsetDateTime],
    pub(crate) group_by: &'a BTreeSet<Dimension>,
    pub(crate) only: &'a Selection,
    /// Most cells that are answered.
    pub(crate) cells_max: i64,
}

impl Cut<'_> {
    pub(super) fn is_by(&self, dimension: Dimension) -> bool {
        self.group_by.contains(&dimension)
    }
}

/// Binds what every cut asks.
pub(super) fn ask_cut<'a>(sql: &'static str, user: Option<&'a UserId>, cut: Cut<'a>) -> Sql<'a> {
    ask(sql, user, cut.window, cut.only)
        .bind::<Array<Timestamptz>, _>(cut.starts)
        .bind::<Bool, _>(cut.is_by(Dimension::EventType))
        .bind::<Bool, _>(cut.is_by(Dimension::Model))
        .bind::<Bool, _>(cut.is_by(Dimension::Provider))
        .bind::<Bool, _>(cut.is_by(Dimension::Tool))
        .bind::<Bool, _>(cut.is_by(Dimension::User))
}

/// Sums of one group in one bucket, or in all (`None`).
#[derive(Debug)]
pub(crate) struct Cell {
    pub(crate) bucket: Option<usize>,
    pub(crate) group: Group,
    pub(crate) value: Totals,
}

/// The cells in which there is something, of one user or of all.
pub(crate) async fn sums(
    conn: &mut AsyncPgConnection,
    user: Option<&UserId>,
    cut: Cut<'_>,
) -> Result<(Coverage, Vec<Cell>), DbError> {
    let sql = match user {
        Some(_) => &SUMS_OF_USER,
        None if cut.is_by(Dimension::User) => &SUMS_OF_EACH,
        None => &SUMS_OF_ALL,
    };
    let rows: Vec<SumRow> = ask_cut(sql, user, cut).bind::<BigInt, _>(cut.cells_max).load(conn).await?;
    let covered = covered(rows.as_slice().first().map(|row| row.coverage))?;
    let cells = rows.into_iter().filter_map(SumRow::cell);
    Ok((covered, cells.collect::<Result<_, _>>()?))
}

/// The users who were charged most, at most `limit`.
pub(crate) async fn top_users(
    conn: &mut AsyncPgConnection,
    window: Window,
    only: &Selection,
    limit: i64,
) -> Result<Vec<(UserId, Totals)>, DbError> {
    let rows: Vec<SumRow> = ask(&TOP_USERS, None, window, only).bind::<BigInt, _>(limit).load(conn).await?;
    let cells = rows.into_iter().filter_map(SumRow::cell);
    cells
        .map(|cell| {
            let cell = cell?;
            let user = cell.group.user_id;
            let user = user.ok_or_else(|| DbError::Inconsistent("a sum of no user".to_owned()))?;
            Ok((user, cell.value))
        })
        .collect()
}

/// Values of the first row for all; without rows nothing is missing.
pub(super) fn covered(first: Option<i32>) -> Result<Coverage, DbError> {
    first.map_or(Ok(Coverage::Exact), coverage)
}

/// The sums are `numeric` (no overflow, no rounding) and travel as text. What was taken back is left out.
pub(super) const SUMMED: &str = "sum(records)::bigint AS records, sum(tokens_used)::text AS tokens_used,
           sum(prompt_tokens)::text AS prompt_tokens, sum(completion_tokens)::text AS completion_tokens,
           sum(credits_charged)::text AS credits_charged, sum(credits_deducted)::text AS credits_deducted,
           sum(cost_usd)::text AS cost_usd";

pub(super) const IS_SOMETHING: &str =
    "sum(records) <> 0 OR sum(tokens_used) <> 0 OR sum(prompt_tokens) <> 0 OR sum(completion_tokens) <> 0
        OR sum(credits_charged) <> 0 OR sum(credits_deducted) <> 0 OR sum(cost_usd) <> 0";

/// Number of the bucket of a part, from 1, by a search among their beginnings. Before the first one lies only what a whole
/// quarter brings along.
pub(super) const PLACE: &str = "greatest(width_bucket(at, $10), 1)::bigint AS place,
           CASE WHEN $11 THEN event_type END AS event_type, CASE WHEN $12 THEN model END AS model,
           CASE WHEN $13 THEN provider END AS provider, CASE WHEN $14 THEN tool END AS tool";

pub(super) static SUMS_OF_USER: LazyLock<String> = LazyLock::new(|| cells_of(&of_user()));
pub(super) static SUMS_OF_ALL: LazyLock<String> = LazyLock::new(|| cells_of(&of_all()));
pub(super) static SUMS_OF_EACH: LazyLock<String> = LazyLock::new(|| cells_of(&of_each()));

/// The span comes along even when there is no cell.
fn cells_of(parts: &str) -> String {
    format!(
        "{parts}
SELECT coverage, cell.* FROM span LEFT JOIN (
    SELECT {PLACE}, CASE WHEN $15 THEN user_id END AS user_id, {SUMMED}
    FROM parts GROUP BY 1, 2, 3, 4, 5, 6 HAVING {IS_SOMETHING} LIMIT $16) AS cell ON true"
    )
}

pub(super) static TOP_USERS: LazyLock<String> = LazyLock::new(|| {
    format!(
        "{}
SELECT coverage, cell.* FROM span CROSS JOIN (
    SELECT 1::bigint AS place, NULL::text AS event_type, NULL::text AS model, NULL::text AS provider,
           NULL::text AS tool, user_id, {SUMMED}
    FROM parts GROUP BY user_id HAVING {IS_SOMETHING}
    ORDER BY sum(credits_charged) DESC, sum(records) DESC, user_id LIMIT $10) AS cell
ORDER BY credits_charged::numeric DESC, records DESC, user_id",
        of_each()
    )
});

pub(super) struct SumRow {
    pub(super) coverage: i32,
    place: Option<i64>,
    event_type: Option<String>,
    model: Option<String>,
    provider: Option<String>,
    tool: Option<String>,
    user_id: Option<String>,
    records: Option<i64>,
    tokens_used: Option<String>,
    prompt_tokens: Option<String>,
    completion_tokens: Option<String>,
    credits_charged: Option<String>,
    credits_deducted: Option<String>,
    cost_usd: Option<String>,
}
pg::read_columns! {
    SumRow: {
        coverage, place, event_type, model, provider, tool, user_id, records, tokens_used, prompt_tokens, completion_tokens,
        credits_charged, credits_deducted, cost_usd
    }
}

impl SumRow {
    /// `None` for the row that stands where there is no cell. Without a place it is about the whole window.
    pub(super) fn cell(self) -> Option<Result<Cell, DbError>> {
        let records = self.records?;
        let read = || {
            let figure = |of: &str, text: &Option<String>| sum(of, text.as_deref().unwrap_or("0"));
            let user_id = self.user_id.as_deref().map(UserId::stored).transpose();
            Ok(Cell {
                bucket: self.place.map(bucket).transpose()?,
                group: Group {
                    user_id: user_id
                        .map_err(|error| DbError::Inconsistent(format!("user of a usage sum: {error}")))?,
                    ..group(&self.event_type, &self.model, &self.provider, &self.tool)
                },
                value: Totals {
                    records,
                    credits_charged: CreditsSum::from_micro(figure("credits", &self.credits_charged)?),
                    credits_deducted: CreditsSum::from_micro(figure(
                        "deducted credits",
                        &self.credits_deducted,
                    )?),
                    cost_usd: UsdSum::from_nano(figure("cost", &self.cost_usd)?),
                    tokens_used: figure("tokens", &self.tokens_used)?,
                    prompt_tokens: figure("prompt tokens", &self.prompt_tokens)?,
                    completion_tokens: figure("completion tokens", &self.completion_tokens)?,
                },
            })
        };
        Some(read())
    }
}

/// In roll-ups an empty text stands for an absent value; a kind of event is never absent.
fn group(
    event_type: &Option<String>,
    model: &Option<String>,
    provider: &Option<String>,
    tool: &Option<String>,
) -> Group {
    let present = |value: &Option<String>| value.clone().filter(|value| !value.is_empty());
    Group {
        event_type: event_type.clone(),
        model: present(model),
        provider: present(provider),
        tool: present(tool),
        user_id: None,
    }
}

fn bucket(place: i64) -> Result<usize, DbError> {
    usize::try_from(place.saturating_sub(1))
        .map_err(|_| DbError::Inconsistent(format!("bucket {place} of a series")))
}
