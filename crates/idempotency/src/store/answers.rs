//! Table `idempotency.answers`: first answers found, stored and pruned.

use std::collections::BTreeSet;

use diesel::{
    QueryableByName,
    sql_types::{Array, BigInt, Binary, Nullable, Text, Timestamptz, Uuid as SqlUuid},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use kernel::{CallerClass, IdempotencyKey, UserId};
use pg::DbError;
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

#[derive(QueryableByName)]
struct AnswerRow {
    #[diesel(sql_type = Text)]
    user_id: String,
    #[diesel(sql_type = Text)]
    key: String,
    #[diesel(sql_type = Nullable<Text>)]
    caller: Option<String>,
    #[diesel(sql_type = Binary)]
    fingerprint: Vec<u8>,
    #[diesel(sql_type = Timestamptz)]
    created_at: OffsetDateTime,
    #[diesel(sql_type = Nullable<SqlUuid>)]
    transaction_id: Option<Uuid>,
    #[diesel(sql_type = Nullable<BigInt>)]
    usage_record_id: Option<i64>,
    #[diesel(sql_type = Nullable<Text>)]
    answer: Option<String>,
}

#[derive(QueryableByName)]
struct PrunedRow {
    #[diesel(sql_type = BigInt)]
    refusals: i64,
    #[diesel(sql_type = BigInt)]
    successes: i64,
}

/// The answers under these keys of users, by callers of any class.
pub async fn find(
    mut conn: &AsyncPgConnection,
    names: &BTreeSet<(&UserId, &str)>,
) -> Result<Vec<((UserId, String), StoredAnswer)>, DbError> {
    let rows: Vec<AnswerRow> = pg::sql(
        "SELECT a.user_id, a.key, a.caller, a.fingerprint, a.created_at, a.transaction_id, a.usage_record_id, \
           a.answer::text AS answer \
         FROM unnest($1::text[], $2::text[]) AS wanted (user_id, key) \
         JOIN idempotency.answers a ON a.user_id = wanted.user_id AND a.key = wanted.key",
    )
    .bind::<Array<Text>, _>(names.iter().map(|(user_id, _)| user_id.as_str()).collect::<Vec<_>>())
    .bind::<Array<Text>, _>(names.iter().map(|(_, key)| *key).collect::<Vec<_>>())
    .load(&mut conn)
    .await?;
    rows.into_iter().map(AnswerRow::into_answer).collect()
}

/// Inserts the rows whose keys are free, in the order given; answers how many there were.
pub async fn insert(mut conn: &AsyncPgConnection, rows: &[NewRow]) -> Result<usize, DbError> {
    let links = || rows.iter().map(|row| row.answer.link);
    Ok(pg::sql(
        "INSERT INTO idempotency.answers (user_id, key, caller, fingerprint, created_at, transaction_id, usage_record_id, \
           answer) \
         SELECT n.user_id, n.key, n.caller, n.fingerprint, n.created_at, n.transaction_id, n.usage_record_id, \
           n.answer::jsonb \
         FROM unnest($1, $2, $3, $4, $5, $6, $7, $8) \
         AS n (user_id, key, caller, fingerprint, created_at, transaction_id, usage_record_id, answer) \
         ON CONFLICT DO NOTHING",
    )
    .bind::<Array<Text>, _>(rows.iter().map(|row| row.user_id.as_str()).collect::<Vec<_>>())
    .bind::<Array<Text>, _>(rows.iter().map(|row| row.key.key()).collect::<Vec<_>>())
    .bind::<Array<Text>, _>(rows.iter().map(|row| row.caller.as_str()).collect::<Vec<_>>())
    .bind::<Array<Binary>, _>(rows.iter().map(|row| row.key.fingerprint().as_slice()).collect::<Vec<_>>())
    .bind::<Array<Timestamptz>, _>(rows.iter().map(|row| row.answer.at).collect::<Vec<_>>())
    .bind::<Array<Nullable<SqlUuid>>, _>(
        links().map(|link| link.map(|link| link.transaction_id)).collect::<Vec<_>>(),
    )
    .bind::<Array<Nullable<BigInt>>, _>(
        links().map(|link| link.and_then(|link| link.usage_record_id)).collect::<Vec<_>>(),
    )
    .bind::<Array<Text>, _>(rows.iter().map(|row| row.answer.json.as_str()).collect::<Vec<_>>())
    .execute(&mut conn)
    .await?)
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
        let unusable = |what: &dyn std::fmt::Display| {
            DbError::Inconsistent(format!("idempotency key {:?} of {:?}: {what}", self.key, self.user_id))
        };
        let user_id = UserId::stored(&self.user_id).map_err(|error| unusable(&error))?;
        let caller = self.caller.as_deref().map(str::parse).transpose();
        let link = self
            .transaction_id
            .map(|transaction_id| Link { transaction_id, usage_record_id: self.usage_record_id });
        let content = match (self.answer, link) {
            (Some(json), link) => Content::Whole { json, link },
            (None, Some(link)) => Content::Pruned(link),
            (None, None) => return Err(unusable(&"neither an answer nor what it did")),
        };
        let answer = StoredAnswer {
            caller: caller.map_err(|error: kernel::UnknownCallerClass| unusable(&error))?,
            fingerprint: self.fingerprint,
            at: self.created_at,
            content,
        };
        Ok(((user_id, self.key), answer))
    }
}
