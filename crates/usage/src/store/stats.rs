//! Sums over `usage.records`, added up by the database.

use std::collections::BTreeMap;

use diesel::{
    QueryableByName,
    sql_types::{BigInt, Nullable, Text, Timestamptz},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use kernel::{CreditsSum, UsdSum, UserId};
use pg::DbError;

use crate::{RecordFilter, Stats};

/// Sums what the filter matches, in one statement and hence of one snapshot.
pub(crate) async fn load(
    conn: &mut AsyncPgConnection,
    user: &UserId,
    filter: &RecordFilter,
) -> Result<Stats, DbError> {
    let rows: Vec<GroupRow> = pg::sql(SUMS)
        .bind::<Text, _>(user.as_str())
        .bind::<Nullable<Timestamptz>, _>(filter.first_microsecond())
        .bind::<Nullable<Timestamptz>, _>(filter.last_microsecond())
        .bind::<Nullable<Text>, _>(filter.event_type.as_deref())
        .bind::<Nullable<Text>, _>(filter.model_name.as_deref())
        .bind::<Nullable<Text>, _>(filter.provider.as_deref())
        .bind::<Nullable<Text>, _>(filter.tool_name.as_deref())
        .bind::<Nullable<Text>, _>(filter.session_id.as_deref())
        .load(conn)
        .await?;
    rows.into_iter().try_fold(Stats::default(), add)
}

/// `axis` is the bit mask of `grouping()`: a bit is set for each column the row is not grouped by. The sums are `numeric`
/// (no overflow, no rounding) and travel as text.
const SUMS: &str = "
SELECT grouping(event_type, model_name, provider)::bigint AS axis,
       coalesce(event_type, model_name, provider) AS value,
       coalesce(sum(sign), 0)::bigint AS records,
       coalesce(sum(credits_charged), 0)::text AS credits_charged,
       coalesce(sum(cost_usd), 0)::text AS cost_usd,
       coalesce(sum(tokens_used), 0)::text AS tokens_used
FROM usage.records
WHERE user_id = $1
  AND occurred_at >= coalesce($2, '-infinity') AND occurred_at <= coalesce($3, 'infinity')
  AND ($4 IS NULL OR event_type = $4) AND ($5 IS NULL OR model_name = $5) AND ($6 IS NULL OR provider = $6)
  AND ($7 IS NULL OR tool_name = $7) AND ($8 IS NULL OR session_id = $8)
GROUP BY GROUPING SETS ((), (event_type), (model_name), (provider))";

const ALL: i64 = 0b111;
const EVENT_TYPE: i64 = 0b011;
const MODEL_NAME: i64 = 0b101;
const PROVIDER: i64 = 0b110;

#[derive(QueryableByName)]
struct GroupRow {
    #[diesel(sql_type = BigInt)]
    axis: i64,
    #[diesel(sql_type = Nullable<Text>)]
    value: Option<String>,
    #[diesel(sql_type = BigInt)]
    records: i64,
    #[diesel(sql_type = Text)]
    credits_charged: String,
    #[diesel(sql_type = Text)]
    cost_usd: String,
    #[diesel(sql_type = Text)]
    tokens_used: String,
}

fn add(mut stats: Stats, row: GroupRow) -> Result<Stats, DbError> {
    match row.axis {
        ALL => {
            stats.total_records = row.records;
            stats.total_credits_charged =
                CreditsSum::from_micro(sum("credits_charged", &row.credits_charged)?);
            stats.total_cost_usd = UsdSum::from_nano(sum("cost_usd", &row.cost_usd)?);
            stats.total_tokens_used = sum("tokens_used", &row.tokens_used)?;
        }
        EVENT_TYPE => count(&mut stats.by_event_type, row),
        MODEL_NAME => count(&mut stats.by_model, row),
        PROVIDER => count(&mut stats.by_provider, row),
        axis => return Err(DbError::Inconsistent(format!("usage statistics by axis {axis}"))),
    }
    Ok(stats)
}

fn count(groups: &mut BTreeMap<String, i64>, row: GroupRow) {
    if let Some(value) = row.value.filter(|_| row.records != 0) {
        groups.insert(value, row.records);
    }
}

/// 2^63 records of 64 bits add up to less than 128 bits.
fn sum(of: &str, text: &str) -> Result<i128, DbError> {
    text.parse()
        .map_err(|_| DbError::Inconsistent(format!("the sum of {of} reads {text}")))
}
