//! Sums of a window, added up by the database.

use std::{collections::BTreeMap, sync::LazyLock};

use diesel_async::{AsyncPgConnection, RunQueryDsl};
use kernel::{CreditsSum, UsdSum, UserId};
use pg::DbError;

use super::sources::{ask, coverage, of_all_at_once, of_user, sum};
use crate::{Selection, Stats, core::window::Window};

/// Sums what is selected, of one user or of all, in one statement and hence of one snapshot.
pub(crate) async fn load(
    conn: &mut AsyncPgConnection,
    user: Option<&UserId>,
    window: Window,
    only: &Selection,
) -> Result<Stats, DbError> {
    let sql = if user.is_some() { &OF_USER } else { &OF_ALL };
    let rows: Vec<GroupRow> = ask(sql, user, window, only).load(conn).await?;
    rows.into_iter().try_fold(Stats::default(), add)
}

/// `axis` is the bit mask of `grouping()`: a bit is set for each column the row is not grouped by. The sums are `numeric`
/// (no overflow, no rounding) and travel as text.
const GROUPED: &str = "
SELECT grouping(event_type, model, provider)::bigint AS axis,
       coalesce(event_type, model, provider) AS value,
       (SELECT coverage FROM span) AS coverage,
       coalesce(sum(records), 0)::bigint AS records,
       coalesce(sum(credits_charged), 0)::text AS credits_charged,
       coalesce(sum(credits_deducted), 0)::text AS credits_deducted,
       coalesce(sum(cost_usd), 0)::text AS cost_usd,
       coalesce(sum(tokens_used), 0)::text AS tokens_used
FROM parts GROUP BY GROUPING SETS ((), (event_type), (model), (provider))";

pub(super) static OF_USER: LazyLock<String> = LazyLock::new(|| of_user() + GROUPED);
pub(super) static OF_ALL: LazyLock<String> = LazyLock::new(|| of_all_at_once() + GROUPED);

const ALL: i64 = 0b111;
const EVENT_TYPE: i64 = 0b011;
const MODEL: i64 = 0b101;
const PROVIDER: i64 = 0b110;

struct GroupRow {
    axis: i64,
    value: Option<String>,
    coverage: i32,
    records: i64,
    credits_charged: String,
    credits_deducted: String,
    cost_usd: String,
    tokens_used: String,
}
pg::read_columns! {
    GroupRow: { axis, value, coverage, records, credits_charged, credits_deducted, cost_usd, tokens_used }
}

fn add(mut stats: Stats, row: GroupRow) -> Result<Stats, DbError> {
    match row.axis {
        ALL => {
            stats.total_records = row.records;
            stats.total_credits_charged =
                CreditsSum::from_micro(sum("credits_charged", &row.credits_charged)?);
            stats.total_credits_deducted =
                CreditsSum::from_micro(sum("credits_deducted", &row.credits_deducted)?);
            stats.total_cost_usd = UsdSum::from_nano(sum("cost_usd", &row.cost_usd)?);
            stats.total_tokens_used = sum("tokens_used", &row.tokens_used)?;
            stats.coverage = coverage(row.coverage)?;
        }
        EVENT_TYPE => count(&mut stats.by_event_type, row.value, row.records),
        // In roll-ups an empty text stands for an absent value.
        MODEL => count(&mut stats.by_model, present(row.value), row.records),
        PROVIDER => count(&mut stats.by_provider, present(row.value), row.records),
        axis => return Err(DbError::Inconsistent(format!("usage statistics by axis {axis}"))),
    }
    Ok(stats)
}

fn count(groups: &mut BTreeMap<String, i64>, value: Option<String>, records: i64) {
    if let Some(value) = value.filter(|_| records != 0) {
        groups.insert(value, records);
    }
}

fn present(value: Option<String>) -> Option<String> {
    value.filter(|value| !value.is_empty())
}
