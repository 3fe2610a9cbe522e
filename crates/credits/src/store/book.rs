//! The writes of every batch: entries with their lines, and the grants and accounts that they change.
//!
//! One statement for the four tables, and a shorter one for charges that change two. Each statement costs the server and this process some thirty microseconds before its
//! first row, in messages, snapshots and wake-ups, and a batch waits for all of them.

use std::{collections::BTreeMap, sync::LazyLock};

use diesel::sql_types::{BigInt, Bool, Jsonb, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use kernel::UserId;
use pg::{
    DbError,
    columns::{Json, Placeholders, Written},
};

use crate::{
    core::{Account, AccountState, Grant, Head, JournalEntry, Line},
    store::columns::Shared,
};

/// Values from the database for new entries, by account and `seq`.
pub type Ids = BTreeMap<(UserId, i64), NewEntryIds>;

/// Values from the database for a new entry.
#[derive(Debug)]
pub struct NewEntryIds {
    /// Its documented id.
    pub id: i64,
    /// Its metadata as `jsonb` keeps them; `None` for the empty object.
    pub metadata: Option<String>,
}

/// Number of rows written, beside what was given to an entry; the latter is null if there is none.
struct BookedRow {
    lines: i64,
    grants: i64,
    accounts: i64,
    user_id: Option<UserId>,
    seq: Option<i64>,
    id: Option<i64>,
    metadata: Option<String>,
}
pg::read_columns! { BookedRow: { lines, grants, accounts, user_id, seq, id, metadata } }

pg::written_columns! {
    NewEntry = (user, entry): (&'a UserId, &'a JournalEntry) {
        user_id: Text = user.as_str(),
        seq: BigInt = entry.seq,
        transaction_id: SqlUuid = entry.transaction_id,
        type: Text = entry.kind.as_str(),
        amount: BigInt = entry.amount.micro(),
        balance_before: BigInt = entry.balance_before.micro(),
        balance_after: BigInt = entry.balance_after.micro(),
        held_after: BigInt = entry.held_after.micro(),
        hold_id: Nullable<SqlUuid> = entry.hold_id,
        usage_record_id: Nullable<BigInt> = entry.usage_record_id,
        reference_id: Nullable<Text> = entry.reference_id.as_deref(),
        refunds_seq: Nullable<BigInt> = entry.refunds_seq,
        grant_id: Nullable<BigInt> = entry.sole_grant(),
        metered: Bool = entry.metered,
        description: Nullable<Text> = entry.description.as_deref(),
        metadata: Nullable<Jsonb> = Json::unless_empty(&entry.metadata),
        actor: Text = entry.actor.as_str(),
        created_at: Timestamptz = entry.created_at,
        booked_at: Timestamptz = entry.booked_at,
    }
}

pg::written_columns! {
    NewLine = (user, seq, line): (&'a UserId, i64, &'a Line) {
        user_id: Text = user.as_str(),
        seq: BigInt = seq,
        grant_id: BigInt = line.grant_id,
        delta: BigInt = line.delta.micro(),
        held_delta: BigInt = line.held_delta.micro(),
    }
}

pg::written_columns! {
    ChangedGrant = (user, grant): (&'a UserId, &'a Grant) {
        user_id: Text = user.as_str(),
        id: BigInt = grant.id,
        stored_remaining: BigInt = grant.remaining.micro(),
        held: BigInt = grant.held.micro(),
        booked_seq: Nullable<BigInt> = grant.booked_seq,
    }
}

pg::written_columns! {
    ChangedAccount = (user, account, head): (&'a UserId, &'a Account, Option<Head>) {
        user_id: Text = user.as_str(),
        posted: BigInt = account.posted.micro(),
        held: BigInt = account.held.micro(),
        lifetime_granted: BigInt = account.lifetime_granted.micro(),
        entry_seq: BigInt = account.entry_seq,
        grant_seq: BigInt = account.grant_seq,
        next_due_at: Nullable<Timestamptz> = account.next_due_at,
        as_of: Timestamptz = account.as_of,
        head_grant_id: Nullable<BigInt> = head.map(|head| head.grant_id),
        head_remaining: Nullable<BigInt> = head.map(|head| head.remaining.micro()),
    }
}

/// Rows to be written.
struct Changes<'a> {
    entries: Vec<(&'a UserId, &'a JournalEntry)>,
    lines: Vec<(&'a UserId, i64, &'a Line)>,
    /// Stored grants that entries have touched.
    grants: Vec<(&'a UserId, &'a Grant)>,
    accounts: Vec<(&'a UserId, &'a Account, Option<Head>)>,
}

pub(super) static BOOK: LazyLock<String> = LazyLock::new(|| {
    let mut given = Placeholders::default();
    let (entries, accounts) = entries_and_accounts(&mut given);
    let lines = given.insert("credits.entry_lines", NewLine::COLUMNS);
    let grants = given.update("credits.grants", 2, ChangedGrant::COLUMNS);
    let further = format!(
        ", lines AS (
    {lines} RETURNING 1
), grants AS (
    {grants} RETURNING 1
)"
    );
    statement(
        &entries,
        &accounts,
        &further,
        ["(SELECT count(*) FROM lines)", "(SELECT count(*) FROM grants)"],
    )
});

/// The same for changes without lines and grants: charges that fit into the heads of their accounts.
pub(super) static BOOK_CHARGES: LazyLock<String> = LazyLock::new(|| {
    let (entries, accounts) = entries_and_accounts(&mut Placeholders::default());
    statement(&entries, &accounts, "", ["0::bigint", "0::bigint"])
});

fn entries_and_accounts(given: &mut Placeholders) -> (String, String) {
    let entries = given.insert("credits.entries", NewEntry::COLUMNS);
    (entries, given.update("credits.accounts", 1, ChangedAccount::COLUMNS))
}

/// The parts name no row of one another, so their order does not matter.
fn statement(entries: &str, accounts: &str, further: &str, [lines, grants]: [&str; 2]) -> String {
    format!(
        "
WITH entries AS (
    {entries}
    RETURNING user_id, seq, id, metadata::text AS metadata
), accounts AS (
    {accounts} RETURNING 1
){further}
SELECT c.lines, c.grants, c.accounts, e.user_id, e.seq, e.id, e.metadata
FROM (
    SELECT {lines} AS lines, {grants} AS grants, (SELECT count(*) FROM accounts) AS accounts
) AS c LEFT JOIN entries AS e ON true"
    )
}

/// Writes what commands did since loading, but for grants and holds that are new and holds that were resolved.
pub async fn book(mut conn: Shared<'_>, states: &[&AccountState]) -> Result<Ids, DbError> {
    let changes = Changes::new(states);
    if changes.is_nothing() {
        return Ok(Ids::new());
    }
    let Changes { entries, lines, grants, accounts } = &changes;
    let are_charges = lines.is_empty() && grants.is_empty();
    let text: &'static str = if are_charges { &BOOK_CHARGES } else { &BOOK };
    let mut sql = pg::sql(text)
        .bind_rows::<NewEntry>(entries.iter().copied())
        .bind_rows::<ChangedAccount>(accounts.iter().copied());
    if !are_charges {
        sql =
            sql.bind_rows::<NewLine>(lines.iter().copied()).bind_rows::<ChangedGrant>(grants.iter().copied());
    }
    let rows: Vec<BookedRow> = sql.load(&mut conn).await?;
    changes.given(rows)
}

impl<'a> Changes<'a> {
    fn new(states: &[&'a AccountState]) -> Self {
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
                if entry.sole_grant().is_none() {
                    let lines = entry.lines.iter();
                    changes.lines.extend(lines.map(|line| (user, entry.seq, line)));
                }
            }
            let grants = state.changed_grants().into_iter();
            changes.grants.extend(grants.map(|grant| (user, grant)));
            if state.account != state.loaded {
                changes.accounts.push((user, &state.account, state.head()));
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
        DbError::expect_rows("insert credits.entry_lines", self.lines.len(), count(|row| row.lines))?;
        DbError::expect_rows("update credits.grants", self.grants.len(), count(|row| row.grants))?;
        DbError::expect_rows("update credits.accounts", self.accounts.len(), count(|row| row.accounts))?;
        let mut ids = Ids::new();
        for row in rows {
            if let (Some(user), Some(seq), Some(id)) = (row.user_id, row.seq, row.id) {
                ids.insert((user, seq), NewEntryIds { id, metadata: row.metadata });
            }
        }
        DbError::expect_rows("insert credits.entries", self.entries.len(), ids.len())?;
        Ok(ids)
    }
}
