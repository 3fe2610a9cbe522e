//! What every batch writes: entries with their lines, and the grants and accounts that they change.
//!
//! One statement for the four tables. Each statement costs the server and this process some thirty microseconds before its
//! first row, in messages, snapshots and wake-ups, and a batch waits for all of them.

use std::collections::BTreeMap;

use diesel::{
    QueryableByName,
    sql_types::{Array, BigInt, Bool, Nullable, Text, Timestamptz, Uuid as SqlUuid},
};
use diesel_async::RunQueryDsl;
use kernel::{Credits, UserId};
use pg::DbError;

use crate::{
    core::{Account, AccountState, Grant, JournalEntry, Line},
    store::columns::{Shared, metadata, texts, user_id},
};

/// What the database gave to new entries, by account and `seq`.
pub type Ids = BTreeMap<(UserId, i64), Given>;

/// What the database gave to a new entry.
#[derive(Debug)]
pub struct Given {
    /// Its documented id.
    pub id: i64,
    /// Its metadata as `jsonb` keeps them; `None` for the empty object.
    pub metadata: Option<String>,
}

/// How many rows were written, beside what was given to an entry; the latter is null if there is none.
#[derive(QueryableByName)]
struct BookedRow {
    #[diesel(sql_type = BigInt)]
    lines: i64,
    #[diesel(sql_type = BigInt)]
    grants: i64,
    #[diesel(sql_type = BigInt)]
    accounts: i64,
    #[diesel(sql_type = Nullable<Text>)]
    user_id: Option<String>,
    #[diesel(sql_type = Nullable<BigInt>)]
    seq: Option<i64>,
    #[diesel(sql_type = Nullable<BigInt>)]
    id: Option<i64>,
    #[diesel(sql_type = Nullable<Text>)]
    metadata: Option<String>,
}

/// What is to be written.
struct Changes<'a> {
    entries: Vec<(&'a UserId, &'a JournalEntry)>,
    lines: Vec<(&'a UserId, i64, &'a Line)>,
    /// Stored grants that entries have touched.
    grants: Vec<(&'a UserId, &'a Grant)>,
    accounts: Vec<&'a AccountState>,
}

/// The parts name no row of one another, so their order does not matter.
const BOOK: &str = "WITH \
     entries AS (INSERT INTO credits.entries (user_id, seq, transaction_id, type, amount, balance_before, balance_after, \
       held_after, hold_id, usage_record_id, reference_id, refunds_seq, metered, description, metadata, actor, created_at, \
       booked_at) \
       SELECT n.user_id, n.seq, n.transaction_id, n.type, n.amount, n.balance_before, n.balance_after, n.held_after, \
         n.hold_id, n.usage_record_id, n.reference_id, n.refunds_seq, n.metered, n.description, n.metadata::jsonb, n.actor, \
         n.created_at, n.booked_at \
       FROM unnest($1::text[], $2::bigint[], $3::uuid[], $4::text[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[], \
         $9::uuid[], $10::bigint[], $11::text[], $12::bigint[], $13::boolean[], $14::text[], $15::text[], $16::text[], \
         $17::timestamptz[], $18::timestamptz[]) \
       AS n (user_id, seq, transaction_id, type, amount, balance_before, balance_after, held_after, hold_id, \
         usage_record_id, reference_id, refunds_seq, metered, description, metadata, actor, created_at, booked_at) \
       RETURNING user_id, seq, id, metadata::text AS metadata), \
     lines AS (INSERT INTO credits.entry_grants (user_id, seq, grant_id, delta, held_delta) \
       SELECT * FROM unnest($19::text[], $20::bigint[], $21::bigint[], $22::bigint[], $23::bigint[]) RETURNING 1), \
     grants AS (UPDATE credits.grants AS g SET remaining = n.remaining, held = n.held, booked_seq = n.booked_seq \
       FROM unnest($24::text[], $25::bigint[], $26::bigint[], $27::bigint[], $28::bigint[]) \
       AS n (user_id, id, remaining, held, booked_seq) \
       WHERE g.user_id = n.user_id AND g.id = n.id RETURNING 1), \
     accounts AS (UPDATE credits.accounts AS a SET posted = n.posted, held = n.held, \
       lifetime_granted = n.lifetime_granted, entry_seq = n.entry_seq, grant_seq = n.grant_seq, \
       next_due_at = n.next_due_at, as_of = n.as_of \
       FROM unnest($29::text[], $30::bigint[], $31::bigint[], $32::bigint[], $33::bigint[], $34::bigint[], \
         $35::timestamptz[], $36::timestamptz[]) \
       AS n (user_id, posted, held, lifetime_granted, entry_seq, grant_seq, next_due_at, as_of) \
       WHERE a.user_id = n.user_id RETURNING 1) \
     SELECT c.lines, c.grants, c.accounts, e.user_id, e.seq, e.id, e.metadata \
     FROM (SELECT (SELECT count(*) FROM lines) AS lines, (SELECT count(*) FROM grants) AS grants, \
       (SELECT count(*) FROM accounts) AS accounts) AS c LEFT JOIN entries AS e ON true";

/// Writes what commands did since loading, but for grants and holds that are new and holds that were resolved.
pub async fn book(mut conn: Shared<'_>, states: &[&AccountState]) -> Result<Ids, DbError> {
    let changes = Changes::of(states);
    if changes.is_nothing() {
        return Ok(Ids::new());
    }
    let Changes { entries, lines, grants, accounts } = &changes;
    let rows: Vec<BookedRow> = pg::sql(BOOK)
        .bind::<Array<Text>, _>(texts(entries.iter().map(|(user, _)| *user)))
        .bind::<Array<BigInt>, _>(of(entries, |entry| entry.seq))
        .bind::<Array<SqlUuid>, _>(of(entries, |entry| entry.transaction_id))
        .bind::<Array<Text>, _>(of(entries, |entry| entry.kind.as_str()))
        .bind::<Array<BigInt>, _>(of(entries, |entry| entry.amount.micro()))
        .bind::<Array<BigInt>, _>(of(entries, |entry| entry.balance_before.micro()))
        .bind::<Array<BigInt>, _>(of(entries, |entry| entry.balance_after.micro()))
        .bind::<Array<BigInt>, _>(of(entries, |entry| entry.held_after.micro()))
        .bind::<Array<Nullable<SqlUuid>>, _>(of(entries, |entry| entry.hold_id))
        .bind::<Array<Nullable<BigInt>>, _>(of(entries, |entry| entry.usage_record_id))
        .bind::<Array<Nullable<Text>>, _>(of(entries, |entry| entry.reference_id.as_deref()))
        .bind::<Array<Nullable<BigInt>>, _>(of(entries, |entry| entry.refunds_seq))
        .bind::<Array<Bool>, _>(of(entries, |entry| entry.metered))
        .bind::<Array<Nullable<Text>>, _>(of(entries, |entry| entry.description.as_deref()))
        .bind::<Array<Nullable<Text>>, _>(of(entries, |entry| metadata(&entry.metadata)))
        .bind::<Array<Text>, _>(of(entries, |entry| entry.actor.as_str()))
        .bind::<Array<Timestamptz>, _>(of(entries, |entry| entry.created_at))
        .bind::<Array<Timestamptz>, _>(of(entries, |entry| entry.booked_at))
        .bind::<Array<Text>, _>(texts(lines.iter().map(|(user, ..)| *user)))
        .bind::<Array<BigInt>, _>(lines.iter().map(|(_, seq, _)| *seq).collect::<Vec<_>>())
        .bind::<Array<BigInt>, _>(lines.iter().map(|(.., line)| line.grant_id).collect::<Vec<_>>())
        .bind::<Array<BigInt>, _>(lines.iter().map(|(.., line)| line.delta.micro()).collect::<Vec<_>>())
        .bind::<Array<BigInt>, _>(lines.iter().map(|(.., line)| line.held_delta.micro()).collect::<Vec<_>>())
        .bind::<Array<Text>, _>(texts(grants.iter().map(|(user, _)| *user)))
        .bind::<Array<BigInt>, _>(of(grants, |grant| grant.id))
        .bind::<Array<BigInt>, _>(of(grants, |grant| grant.remaining.micro()))
        .bind::<Array<BigInt>, _>(of(grants, |grant| grant.held.micro()))
        .bind::<Array<Nullable<BigInt>>, _>(of(grants, |grant| grant.booked_seq))
        .bind::<Array<Text>, _>(texts(accounts.iter().map(|state| &state.user_id)))
        .bind::<Array<BigInt>, _>(amounts(accounts, |account| account.posted))
        .bind::<Array<BigInt>, _>(amounts(accounts, |account| account.held))
        .bind::<Array<BigInt>, _>(amounts(accounts, |account| account.lifetime_granted))
        .bind::<Array<BigInt>, _>(figures(accounts, |account| account.entry_seq))
        .bind::<Array<BigInt>, _>(figures(accounts, |account| account.grant_seq))
        .bind::<Array<Nullable<Timestamptz>>, _>(figures(accounts, |account| account.next_due_at))
        .bind::<Array<Timestamptz>, _>(figures(accounts, |account| account.as_of))
        .load(&mut conn)
        .await?;
    changes.given(rows)
}

impl<'a> Changes<'a> {
    fn of(states: &[&'a AccountState]) -> Self {
        let mut changes = Self {
            entries: Vec::with_capacity(states.len()),
            lines: Vec::with_capacity(states.len()),
            grants: Vec::with_capacity(states.len()),
            accounts: Vec::with_capacity(states.len()),
        };
        for state in states {
            let user = &state.user_id;
            for entry in state.journal() {
                changes.entries.push((user, entry));
                let lines = entry.lines.iter();
                changes.lines.extend(lines.map(|line| (user, entry.seq, line)));
            }
            let grants = state.changed_grants().into_iter();
            changes.grants.extend(grants.map(|grant| (user, grant)));
            if state.account != state.loaded {
                changes.accounts.push(state);
            }
        }
        changes
    }

    fn is_nothing(&self) -> bool {
        self.entries.is_empty() && self.grants.is_empty() && self.accounts.is_empty()
    }

    /// Every table must have got as many rows as were sent.
    fn given(&self, rows: Vec<BookedRow>) -> Result<Ids, DbError> {
        let first = rows.as_slice().first();
        let count = |rows: fn(&BookedRow) -> i64| usize::try_from(first.map_or(0, rows)).unwrap_or(0);
        DbError::expect_rows("insert credits.entry_grants", self.lines.len(), count(|row| row.lines))?;
        DbError::expect_rows("update credits.grants", self.grants.len(), count(|row| row.grants))?;
        DbError::expect_rows("update credits.accounts", self.accounts.len(), count(|row| row.accounts))?;
        let mut ids = Ids::new();
        for row in rows {
            if let (Some(user), Some(seq), Some(id)) = (&row.user_id, row.seq, row.id) {
                let metadata = row.metadata;
                ids.insert((user_id(user)?, seq), Given { id, metadata });
            }
        }
        DbError::expect_rows("insert credits.entries", self.entries.len(), ids.len())?;
        Ok(ids)
    }
}

/// One column of rows that belong to users.
fn of<'a, Row, Value>(rows: &[(&UserId, &'a Row)], get: impl Fn(&'a Row) -> Value) -> Vec<Value> {
    rows.iter().map(|(_, row)| get(row)).collect()
}

fn figures<Value>(states: &[&AccountState], get: fn(&Account) -> Value) -> Vec<Value> {
    states.iter().map(|state| get(&state.account)).collect()
}

fn amounts(states: &[&AccountState], get: fn(&Account) -> Credits) -> Vec<i64> {
    states.iter().map(|state| get(&state.account).micro()).collect()
}
