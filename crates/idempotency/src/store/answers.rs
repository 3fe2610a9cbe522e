//! Table `idempotency.answers`: first answers found, stored and pruned.

use std::collections::BTreeSet;

use diesel::sql_types::{Array, BigInt, Binary, Jsonb, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use kernel::{CallerClass, IdempotencyKey, UserId};
use pg::{
    DbError,
    columns::{Json, JsonText, Placeholders, Read, Written},
};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::model::{Content, Link, NewAnswer, Pruned, StoredAnswer};

/// A row to be inserted.
#[derive(Debug)]
pub struct NewRow {
    pub user_id: UserId,
    pub key: IdempotencyKey,
    pub caller: CallerClass,
    pub answer: NewAnswer,
}

struct AnswerRow {
    user_id: UserId,
    key: String,
    caller: Option<CallerClass>,
    fingerprint: Vec<u8>,
    created_at: OffsetDateTime,
    transaction_id: Option<Uuid>,
    usage_record_id: Option<i64>,
    answer: Option<JsonText>,
}
pg::read_columns! {
    AnswerRow: { user_id, key, caller, fingerprint, created_at, transaction_id, usage_record_id, answer }
}

pg::written_columns! {
    AnswerColumns = row: &'a NewRow {
        user_id: Text = row.user_id.as_str(),
        key: Text = row.key.key(),
        caller: Text = row.caller.as_str(),
        fingerprint: Binary = row.key.fingerprint().as_slice(),
        created_at: Timestamptz = row.answer.at,
        transaction_id: Nullable<SqlUuid> = row.answer.link.map(|link| link.transaction_id),
        usage_record_id: Nullable<BigInt> = row.answer.link.and_then(|link| link.usage_record_id),
        answer: Jsonb = Json(row.answer.json.as_str().into()),
    }
}

struct PrunedRow {
    refusals: i64,
    successes: i64,
}
pg::read_columns! { PrunedRow: { refusals, successes } }

/// The answers under these keys of users, by callers of any class.
pub async fn find(
    mut conn: &AsyncPgConnection,
    names: &BTreeSet<(&UserId, &str)>,
) -> Result<Vec<((UserId, String), StoredAnswer)>, DbError> {
    let rows: Vec<AnswerRow> = pg::sql(pg::once!(format!(
        "SELECT {} FROM unnest($1::text[], $2::text[]) AS wanted (user_id, key)
         JOIN idempotency.answers a ON a.user_id = wanted.user_id AND a.key = wanted.key",
        AnswerRow::list("a")
    )))
    .bind::<Array<Text>, _>(names.iter().map(|(user_id, _)| user_id.as_str()).collect::<Vec<_>>())
    .bind::<Array<Text>, _>(names.iter().map(|(_, key)| *key).collect::<Vec<_>>())
    .load(&mut conn)
    .await?;
    rows.into_iter().map(AnswerRow::into_answer).collect()
}

/// Inserts the rows whose keys are free, in the order given; answers how many there were.
pub async fn insert(mut conn: &AsyncPgConnection, rows: &[NewRow]) -> Result<usize, DbError> {
    let text = pg::once!(
        Placeholders::default().insert("idempotency.answers", AnswerColumns::COLUMNS)
            + " ON CONFLICT DO NOTHING"
    );
    Ok(pg::sql(text).bind_rows::<AnswerColumns>(rows.iter()).execute(&mut conn).await?)
}

/// Takes the `limit` oldest rows that still have an answer and are older than `micros` microseconds, passing over those that another
/// process is pruning: refusals are removed, successes lose their answer.
///
/// One statement takes both kinds: one for each would read past all rows of the other kind, in every round. The age is
/// told by the clock that dated the rows, so that a gateway whose own clock is wrong forgets nothing early.
pub async fn prune(
    conn: &mut AsyncPgConnection,
    pinned: Option<OffsetDateTime>,
    micros: i64,
    limit: i64,
) -> Result<Pruned, DbError> {
    let row: PrunedRow = pg::sql(
        "WITH old AS MATERIALIZED ( \
           SELECT user_id, key, caller, transaction_id FROM idempotency.answers \
           WHERE created_at < (SELECT coalesce($1, clock_timestamp()) - $2 * interval '1 microsecond') \
             AND answer IS NOT NULL ORDER BY created_at LIMIT $3 FOR UPDATE SKIP LOCKED), \
         refusals AS (DELETE FROM idempotency.answers AS a USING old \
           WHERE old.transaction_id IS NULL AND a.user_id = old.user_id AND a.key = old.key \
             AND a.caller IS NOT DISTINCT FROM old.caller RETURNING a.key), \
         successes AS (UPDATE idempotency.answers AS a SET answer = NULL FROM old \
           WHERE old.transaction_id IS NOT NULL AND a.user_id = old.user_id AND a.key = old.key \
             AND a.caller IS NOT DISTINCT FROM old.caller RETURNING a.key) \
         SELECT (SELECT count(*) FROM refusals) AS refusals, (SELECT count(*) FROM successes) AS successes",
    )
    .bind::<Nullable<Timestamptz>, _>(pinned)
    .bind::<BigInt, _>(micros)
    .bind::<BigInt, _>(limit)
    .get_result(conn)
    .await?;
    let rows = |count: i64| usize::try_from(count).unwrap_or(0);
    Ok(Pruned { refusals: rows(row.refusals), successes: rows(row.successes) })
}

impl NewRow {
    /// The unique key of the row.
    pub fn name(&self) -> (&UserId, &str, CallerClass) {
        (&self.user_id, self.key.key(), self.caller)
    }
}

impl AnswerRow {
    fn into_answer(self) -> Result<((UserId, String), StoredAnswer), DbError> {
        let link = self
            .transaction_id
            .map(|transaction_id| Link { transaction_id, usage_record_id: self.usage_record_id });
        let content = match (self.answer, link) {
            (Some(JsonText(json)), link) => Content::Whole { json, link },
            (None, Some(link)) => Content::Pruned(link),
            (None, None) => {
                let (key, user) = (&self.key, &self.user_id);
                return Err(DbError::Inconsistent(format!(
                    "idempotency key {key:?} of {user}: neither an answer nor what it did"
                )));
            }
        };
        let answer =
            StoredAnswer { caller: self.caller, fingerprint: self.fingerprint, at: self.created_at, content };
        Ok(((self.user_id, self.key), answer))
    }
}
