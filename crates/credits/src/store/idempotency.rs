//! Table `credits.idempotency`: first outcomes kept, found again, and pruned.

use std::collections::{BTreeMap, BTreeSet};

use diesel::{
    QueryableByName,
    sql_types::{Array, BigInt, Binary, Bool, Nullable, Text, Timestamptz, Uuid as SqlUuid},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use kernel::{CallerClass, Credits, IdempotencyKey, UserId, fingerprint::FINGERPRINT_BYTES};
use pg::DbError;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::{
    core::{Grant, Hold},
    model::{Entry, Outcome},
    store::{
        columns::{Shared, parsed, texts, user_id},
        entries::{MaybeEntryRow, entry_columns},
        grants::{MaybeNotedGrantRow, grant_columns, note_columns},
        holds::{MaybeHoldRow, hold_columns},
        stored_outcome::StoredOutcome,
    },
};

/// Keys that were used before, by account and key: up to three uses, of callers of the two classes and of an unknown one.
#[derive(Debug, Default)]
pub struct Known(BTreeMap<(UserId, String), Vec<Remembered>>);

/// The first use of a key.
#[derive(Debug)]
pub struct Remembered {
    /// The class of the caller; `None` if an earlier version stored it, which knew no classes.
    pub caller: Option<CallerClass>,
    /// Where it is stored.
    pub shelf: Shelf,
    /// What was asked then.
    pub fingerprint: Vec<u8>,
    /// When it was decided.
    pub at: OffsetDateTime,
    /// The usage record that was written with it.
    pub usage_record_id: Option<i64>,
    /// What was decided.
    pub memory: Memory,
}

/// Which table holds the first use of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shelf {
    /// `credits.idempotency`, whose unique key knows no classes: that of the first caller.
    First,
    /// `credits.idempotency_shared`: that of another caller of the same key.
    Shared,
}

/// What is left of a first outcome.
#[derive(Debug)]
pub enum Memory {
    /// All of it.
    Whole(Box<Outcome>),
    /// Only which transaction it was.
    Pruned(Uuid),
}

/// The first use of a key, to be kept.
#[derive(Debug)]
pub struct NewKey {
    /// Whose account.
    pub user_id: UserId,
    /// Which key.
    pub key: String,
    /// The class of the caller.
    pub caller: CallerClass,
    /// Where it is stored.
    pub shelf: Shelf,
    /// What was asked.
    pub fingerprint: [u8; FINGERPRINT_BYTES],
    /// When it was decided.
    pub at: OffsetDateTime,
    /// What it did; `None` for a refusal.
    pub transaction_id: Option<Uuid>,
    /// The usage record that is written with it.
    pub usage_record_id: Option<i64>,
    /// What was decided, as JSON.
    pub outcome: String,
}

/// What the books still say about a transaction whose outcome was pruned.
#[derive(Debug)]
pub struct Trace {
    /// Its first entry.
    pub entry: Option<Entry>,
    /// Posted and held credit behind its last entry.
    pub left: Option<(Credits, Credits)>,
    /// The hold it made or resolved, as it is now.
    pub hold: Option<Hold>,
    /// The grant it made, as it is now.
    pub grant: Option<Grant>,
}

/// Where pruning stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PrunedRows {
    /// Rows of refusals that were removed.
    pub refusals: usize,
    /// Rows of successes that lost their outcome.
    pub successes: usize,
}

/// Inserts into one of the two tables.
macro_rules! insert_text {
    ($table:literal) => {
        concat!(
            "INSERT INTO ", $table, " (user_id, key, fingerprint, created_at, transaction_id, usage_record_id, outcome, \
             caller) \
             SELECT n.user_id, n.key, n.fingerprint, n.created_at, n.transaction_id, n.usage_record_id, \
               n.outcome::jsonb, n.caller \
             FROM unnest($1, $2, $3, $4, $5, $6, $7, $8) \
             AS n (user_id, key, fingerprint, created_at, transaction_id, usage_record_id, outcome, caller)"
        )
    };
}

/// Prunes one of the two tables.
macro_rules! prune_text {
    ($table:literal, $columns:literal, $same:literal) => {
        concat!(
            "WITH old AS MATERIALIZED ( \
               SELECT user_id, ", $columns, ", transaction_id FROM ", $table, " \
               WHERE created_at < (SELECT coalesce($1, clock_timestamp()) - $2 * interval '1 microsecond') \
                 AND outcome IS NOT NULL ORDER BY created_at LIMIT $3 FOR UPDATE SKIP LOCKED), \
             refusals AS (DELETE FROM ", $table, " AS i USING old \
               WHERE old.transaction_id IS NULL AND i.user_id = old.user_id AND ", $same, " RETURNING i.key), \
             successes AS (UPDATE ", $table, " AS i SET outcome = NULL FROM old \
               WHERE old.transaction_id IS NOT NULL AND i.user_id = old.user_id AND ", $same, " RETURNING i.key) \
             SELECT (SELECT count(*) FROM refusals) AS refusals, (SELECT count(*) FROM successes) AS successes"
        )
    };
}

#[derive(QueryableByName)]
struct PrunedRow {
    #[diesel(sql_type = BigInt)]
    refusals: i64,
    #[diesel(sql_type = BigInt)]
    successes: i64,
}

#[derive(QueryableByName)]
struct KeyRow {
    #[diesel(sql_type = Text)]
    key_user_id: String,
    #[diesel(sql_type = Text)]
    key: String,
    #[diesel(sql_type = Nullable<Text>)]
    caller: Option<String>,
    #[diesel(sql_type = Bool)]
    shared: bool,
    #[diesel(sql_type = Binary)]
    fingerprint: Vec<u8>,
    #[diesel(sql_type = Timestamptz)]
    key_created_at: OffsetDateTime,
    #[diesel(sql_type = Nullable<SqlUuid>)]
    key_transaction_id: Option<Uuid>,
    #[diesel(sql_type = Nullable<BigInt>)]
    key_usage_record_id: Option<i64>,
    #[diesel(sql_type = Nullable<Text>)]
    outcome: Option<String>,
    #[diesel(embed)]
    entry: MaybeEntryRow,
}

#[derive(QueryableByName)]
struct TraceRow {
    #[diesel(sql_type = Text)]
    trace_user_id: String,
    #[diesel(sql_type = SqlUuid)]
    trace_transaction_id: Uuid,
    #[diesel(sql_type = Nullable<BigInt>)]
    trace_posted: Option<i64>,
    #[diesel(sql_type = Nullable<BigInt>)]
    trace_held: Option<i64>,
    #[diesel(embed)]
    entry: MaybeEntryRow,
    #[diesel(embed)]
    hold: MaybeHoldRow,
    #[diesel(embed)]
    grant: MaybeNotedGrantRow,
}

impl Known {
    /// The first use of a key by callers of this class. What an earlier version stored counts for any class, but only for
    /// the same request: for another one it leaves the key free.
    pub fn of(&self, user_id: &UserId, key: &IdempotencyKey, caller: CallerClass) -> Option<&Remembered> {
        let uses = self.0.get(&(user_id.clone(), key.key().to_owned()))?;
        let formerly = |one: &&Remembered| one.caller.is_none() && key.matches(&one.fingerprint);
        let of_class = |one: &&Remembered| one.caller == Some(caller);
        uses.iter().find(formerly).or_else(|| uses.iter().find(of_class))
    }

    /// Whether the place of the first caller of a key is taken.
    pub fn has_first(&self, user_id: &UserId, key: &str) -> bool {
        let uses = self.0.get(&(user_id.clone(), key.to_owned()));
        uses.is_some_and(|uses| uses.iter().any(|one| one.shelf == Shelf::First))
    }
}

/// Those of `wanted` that were used before. Asks nothing if nothing is wanted.
pub async fn load(mut conn: Shared<'_>, wanted: &BTreeSet<(UserId, String)>) -> Result<Known, DbError> {
    if wanted.is_empty() {
        return Ok(Known::default());
    }
    let rows: Vec<KeyRow> = pg::sql(concat!(
        "WITH w AS MATERIALIZED (SELECT * FROM unnest($1::text[], $2::text[]) AS w (user_id, key)) \
         SELECT i.user_id AS key_user_id, i.key, i.caller, i.shared, i.fingerprint, i.created_at AS key_created_at, \
         i.transaction_id AS key_transaction_id, i.usage_record_id AS key_usage_record_id, i.outcome::text AS outcome, ",
        entry_columns!(),
        " FROM (SELECT f.user_id, f.key, f.caller, false AS shared, f.fingerprint, f.created_at, f.transaction_id, \
             f.usage_record_id, f.outcome \
           FROM w JOIN credits.idempotency f ON f.user_id = w.user_id AND f.key = w.key \
           UNION ALL SELECT s.user_id, s.key, s.caller, true, s.fingerprint, s.created_at, s.transaction_id, \
             s.usage_record_id, s.outcome \
           FROM w JOIN credits.idempotency_shared s ON s.user_id = w.user_id AND s.key = w.key) AS i \
         LEFT JOIN credits.entries e ON e.user_id = i.user_id AND e.seq = (i.outcome ->> 'entry_seq')::bigint"
    ))
    .bind::<Array<Text>, _>(texts(wanted.iter().map(|(user, _)| user)))
    .bind::<Array<Text>, _>(wanted.iter().map(|(_, key)| key.as_str()).collect::<Vec<_>>())
    .load(&mut conn)
    .await?;
    let mut known = Known::default();
    for row in rows {
        let (name, remembered) = row.into_remembered()?;
        known.0.entry(name).or_default().push(remembered);
    }
    Ok(known)
}

/// Keeps first outcomes. The account is locked, so nobody else can have used the key since it was looked up.
pub async fn insert(conn: Shared<'_>, new: &[NewKey]) -> Result<(), DbError> {
    let (shared, first): (Vec<&NewKey>, Vec<&NewKey>) =
        new.iter().partition(|key| key.shelf == Shelf::Shared);
    insert_into(conn, insert_text!("credits.idempotency"), &first).await?;
    insert_into(conn, insert_text!("credits.idempotency_shared"), &shared).await
}

async fn insert_into(mut conn: Shared<'_>, text: &'static str, new: &[&NewKey]) -> Result<(), DbError> {
    if new.is_empty() {
        return Ok(());
    }
    let fingerprints: Vec<&[u8]> = new.iter().map(|key| key.fingerprint.as_slice()).collect();
    let inserted = pg::sql(text)
        .bind::<Array<Text>, _>(texts(new.iter().map(|key| &key.user_id)))
        .bind::<Array<Text>, _>(new.iter().map(|key| key.key.as_str()).collect::<Vec<_>>())
        .bind::<Array<Binary>, _>(fingerprints)
        .bind::<Array<Timestamptz>, _>(new.iter().map(|key| key.at).collect::<Vec<_>>())
        .bind::<Array<Nullable<SqlUuid>>, _>(new.iter().map(|key| key.transaction_id).collect::<Vec<_>>())
        .bind::<Array<Nullable<BigInt>>, _>(new.iter().map(|key| key.usage_record_id).collect::<Vec<_>>())
        .bind::<Array<Text>, _>(new.iter().map(|key| key.outcome.as_str()).collect::<Vec<_>>())
        .bind::<Array<Text>, _>(new.iter().map(|key| key.caller.as_str()).collect::<Vec<_>>())
        .execute(&mut conn)
        .await?;
    DbError::expect_rows("insert credits.idempotency", new.len(), inserted)
}

/// What the books say about these transactions. Asks nothing if nothing is wanted.
pub async fn trace(
    conn: &mut AsyncPgConnection,
    wanted: &BTreeSet<(UserId, Uuid)>,
) -> Result<BTreeMap<(UserId, Uuid), Trace>, DbError> {
    if wanted.is_empty() {
        return Ok(BTreeMap::new());
    }
    let rows: Vec<TraceRow> = pg::sql(concat!(
        "SELECT w.user_id AS trace_user_id, w.transaction_id AS trace_transaction_id, \
         l.balance_after AS trace_posted, l.held_after AS trace_held, ",
        entry_columns!(),
        ", ",
        hold_columns!(),
        ", h.description AS hold_description, h.metadata::text AS hold_metadata, ",
        grant_columns!(),
        ", ",
        note_columns!(),
        " FROM unnest($1::text[], $2::uuid[]) AS w (user_id, transaction_id) \
         LEFT JOIN LATERAL (SELECT min(t.seq) AS first, max(t.seq) AS last FROM credits.entries t \
           WHERE t.user_id = w.user_id AND t.transaction_id = w.transaction_id) AS span ON true \
         LEFT JOIN credits.entries e ON e.user_id = w.user_id AND e.seq = span.first \
         LEFT JOIN credits.entries l ON l.user_id = w.user_id AND l.seq = span.last \
         LEFT JOIN credits.holds h ON h.user_id = w.user_id AND h.id = e.hold_id \
         LEFT JOIN LATERAL (SELECT m.* FROM credits.grants m WHERE m.user_id = w.user_id \
           AND m.transaction_id = w.transaction_id AND m.kind <> 'refund' LIMIT 1) AS g ON true"
    ))
    .bind::<Array<Text>, _>(texts(wanted.iter().map(|(user, _)| user)))
    .bind::<Array<SqlUuid>, _>(wanted.iter().map(|(_, id)| *id).collect::<Vec<_>>())
    .load(conn)
    .await?;
    rows.into_iter().map(TraceRow::into_trace).collect()
}

/// Prunes both tables, the second one within what the first one left of the limit.
pub async fn prune(
    conn: &mut AsyncPgConnection,
    pinned: Option<OffsetDateTime>,
    micros: i64,
    limit: i64,
) -> Result<PrunedRows, DbError> {
    let text = prune_text!("credits.idempotency", "key", "i.key = old.key");
    let first = prune_table(conn, text, pinned, micros, limit).await?;
    let taken = i64::try_from(first.refusals.saturating_add(first.successes)).unwrap_or(limit);
    let left = limit.saturating_sub(taken);
    let text =
        prune_text!("credits.idempotency_shared", "key, caller", "i.key = old.key AND i.caller = old.caller");
    let shared = prune_table(conn, text, pinned, micros, left).await?;
    Ok(PrunedRows {
        refusals: first.refusals.saturating_add(shared.refusals),
        successes: first.successes.saturating_add(shared.successes),
    })
}

/// Takes the `limit` oldest rows that still hold an outcome and are older than `micros` microseconds, passing over those
/// that another process is pruning: refusals are removed, successes lose their outcome.
///
/// One statement takes both kinds: one for each would read past all rows of the other kind, in every round. The age is
/// told by the clock that dated the rows, so that a gateway whose own clock is wrong forgets nothing early.
async fn prune_table(
    conn: &mut AsyncPgConnection,
    text: &'static str,
    pinned: Option<OffsetDateTime>,
    micros: i64,
    limit: i64,
) -> Result<PrunedRows, DbError> {
    let row: PrunedRow = pg::sql(text)
        .bind::<Nullable<Timestamptz>, _>(pinned)
        .bind::<BigInt, _>(micros)
        .bind::<BigInt, _>(limit)
        .get_result(conn)
        .await?;
    let rows = |count: i64| usize::try_from(count).unwrap_or(0);
    Ok(PrunedRows { refusals: rows(row.refusals), successes: rows(row.successes) })
}

impl KeyRow {
    fn into_remembered(self) -> Result<((UserId, String), Remembered), DbError> {
        let user = user_id(&self.key_user_id)?;
        let entry = self.entry.0.map(super::entries::EntryRow::into_entry).transpose()?;
        let memory = match (self.outcome, self.key_transaction_id) {
            (Some(json), _) => {
                let mut outcome = StoredOutcome::read(&json, &user, entry)?;
                if let Ok(applied) = &mut outcome.result {
                    applied.usage_record_id = self.key_usage_record_id;
                }
                Memory::Whole(Box::new(outcome))
            }
            (None, Some(transaction_id)) => Memory::Pruned(transaction_id),
            (None, None) => return Err(DbError::Inconsistent(format!("key {:?} says nothing", self.key))),
        };
        let remembered = Remembered {
            caller: self.caller.as_deref().map(parsed).transpose()?,
            shelf: if self.shared { Shelf::Shared } else { Shelf::First },
            fingerprint: self.fingerprint,
            at: self.key_created_at,
            usage_record_id: self.key_usage_record_id,
            memory,
        };
        Ok(((user, self.key), remembered))
    }
}

impl TraceRow {
    fn into_trace(self) -> Result<((UserId, Uuid), Trace), DbError> {
        let entry = self.entry.0.map(super::entries::EntryRow::into_entry).transpose()?;
        let hold = self.hold.0.map(super::holds::HoldRow::into_hold).transpose()?;
        let grant = self.grant.0.map(super::grants::NotedGrantRow::into_grant).transpose()?;
        let left = self.trace_posted.zip(self.trace_held);
        let trace = Trace {
            entry,
            left: left.map(|(posted, held)| (Credits::from_micro(posted), Credits::from_micro(held))),
            hold: hold.map(|(_, hold)| hold),
            grant: grant.map(|(_, grant)| grant),
        };
        Ok(((user_id(&self.trace_user_id)?, self.trace_transaction_id), trace))
    }
}
