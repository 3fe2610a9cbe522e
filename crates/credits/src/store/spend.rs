//! Charges that fit into the heads of their accounts, in one statement that commits by itself.
//!
//! A second copy of a rule of [`crate::core`]: a head covers what is less than it, if nothing is due and there is no budget. The
//! tests run both on the same accounts.

use diesel::sql_types::{BigInt, Bool, Jsonb, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use kernel::{Credits, FreeForm, UserId};
use pg::{
    DbError,
    columns::{Column, Json, Placeholders, Written},
};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::{
    model::{Balance, Command},
    store::columns::Shared,
};

/// Conditions of other domains, in SQL that they own.
#[derive(Debug, Clone, Copy)]
pub struct Guards {
    /// An expression that is evaluated before the instant of the charges. They are booked only if its value is the one that the caller
    /// knows.
    pub edition: &'static str,
    /// True if the user `old.user_id` may act for themselves.
    pub may_act: &'static str,
}

/// The charges of one account, in order.
#[derive(Debug)]
pub struct Payer<'a> {
    /// Owner of the account.
    pub user_id: &'a UserId,
    /// The owner acts, and must be allowed to.
    pub acts: bool,
    /// The charges.
    pub charges: Vec<Charge<'a>>,
}

/// A command that does nothing but charge an amount.
#[derive(Debug, Clone, Copy)]
pub struct Charge<'a> {
    /// The command.
    pub command: &'a Command,
    /// Its amount.
    pub amount: Credits,
    /// Its note of a usage record.
    pub usage_record_id: Option<i64>,
    /// Its transaction id with the place 0.
    pub unplaced_id: Uuid,
}

/// A charge that was booked, with its account after all charges of the statement.
#[derive(Debug)]
pub struct Spent {
    /// Its place among the charges of the statement: 1, 2, ...
    pub place: i64,
    /// The documented id of the entry.
    pub id: i64,
    /// Its transaction id.
    pub transaction_id: Uuid,
    /// Its metadata as the database keeps them.
    pub metadata: FreeForm,
    /// The account.
    pub balance: Balance,
    /// Credit that its head has left.
    pub head_remaining: Credits,
    /// When its next due item comes.
    pub next_due_at: Option<OffsetDateTime>,
    /// `seq` of its newest entry.
    pub entry_seq: i64,
    /// Its time, which is that of the charges.
    pub as_of: OffsetDateTime,
}

pg::read_columns! {
    Spent: { place, id, transaction_id, metadata, head_remaining, next_due_at, entry_seq, as_of } made |row| {
        balance: Balance {
            posted: pg::columns::get(row, "posted")?,
            held: pg::columns::get(row, "held")?,
            lifetime_granted: pg::columns::get(row, "lifetime_granted")?,
        },
    }
}

pg::written_columns! {
    PayerRow = (user_id, acts, total, first, count): (&'a UserId, bool, i64, i64, i64) {
        user_id: Text = user_id.as_str(),
        acts: Bool = acts,
        total: BigInt = total,
        first: BigInt = first,
        count: BigInt = count,
    }
}

pg::written_columns! {
    ChargeRow = (charge, before): (Charge<'a>, i64) {
        amount: BigInt = charge.amount.micro(),
        before: BigInt = before,
        unplaced_id: SqlUuid = charge.unplaced_id,
        usage_record_id: Nullable<BigInt> = charge.usage_record_id,
        description: Nullable<Text> = charge.command.description.as_deref(),
        metadata: Nullable<Jsonb> = Json::unless_empty(&charge.command.metadata),
        actor: Text = charge.command.actor.as_str(),
    }
}

/// Makes the statement.
///
/// The accounts are locked in the order of the payers. One instant serves the look at what is due and the entries: charges that had
/// to wait for a lock happen at the time before the wait, or at that of the account if that is later. The division fails if not every
/// charge has its entry: after the commit it would be too late to find out.
pub fn text(guards: Guards) -> String {
    let Guards { edition, may_act } = guards;
    let mut given = Placeholders::default();
    let (pinned, known) = (given.one(), given.one());
    let payers = given.select(PayerRow::COLUMNS);
    let mut own = |(name, sql_type): &Column| format!("({}::{sql_type}[])[place] AS {name}", given.one());
    let charge = ChargeRow::COLUMNS.iter().map(&mut own).collect::<Vec<_>>().join(",\n        ");
    format!(
        "
WITH instant AS MATERIALIZED (
    SELECT coalesce({pinned}, clock_timestamp()) AS now
    FROM (SELECT {edition} AS edition OFFSET 0) AS present WHERE present.edition = {known}
), accounts AS (
    UPDATE credits.accounts AS old
    SET posted = old.posted - new.total, head_remaining = old.head_remaining - new.total,
        entry_seq = old.entry_seq + new.count, as_of = greatest(old.as_of, instant.now)
    FROM instant, ({payers}) AS new
    WHERE old.user_id = new.user_id AND old.head_remaining > new.total AND NOT old.budgeted
        AND (old.next_due_at > greatest(old.as_of, instant.now) OR old.next_due_at IS NULL)
        AND (NOT new.acts OR {may_act})
    RETURNING old.user_id, old.posted, old.held, old.lifetime_granted, old.head_grant_id, old.head_remaining,
        old.next_due_at, old.entry_seq, old.as_of, new.total, new.first, new.count
), charges AS MATERIALIZED (
    SELECT valued.*, nextval('credits.entries_id_seq') AS id,
        (lpad(to_hex(seq), 12, '0') || substr(encode(uuid_send(unplaced_id), 'hex'), 13))::uuid AS transaction_id
    FROM (
        SELECT placed.*,
        {charge}
        FROM (
            SELECT accounts.*, generate_series(first, first + count - 1) AS place,
                generate_series(entry_seq - count + 1, entry_seq) AS seq
            FROM accounts
        ) AS placed
    ) AS valued
), entries AS (
    INSERT INTO credits.entries (id, user_id, seq, transaction_id, type, amount, balance_before, balance_after, held_after,
        usage_record_id, grant_id, metered, description, metadata, actor, created_at, booked_at)
    OVERRIDING SYSTEM VALUE
    SELECT id, user_id, seq, transaction_id, 'consume', amount,
        posted + total - before, posted + total - before - amount, held,
        usage_record_id, head_grant_id, false, description, metadata, actor, as_of, as_of
    FROM charges
    RETURNING 1
)
SELECT place, id, transaction_id, metadata, posted, held, lifetime_granted, head_remaining, next_due_at, entry_seq, as_of,
    1 / ((SELECT count(*) FROM entries) = (SELECT count(*) FROM charges))::integer AS complete
FROM charges"
    )
}

/// Books the charges of those payers whose heads cover all of theirs; of the others nothing.
pub async fn spend(
    mut conn: Shared<'_>,
    text: &'static str,
    pinned: Option<OffsetDateTime>,
    edition: Uuid,
    payers: &[Payer<'_>],
) -> Result<Vec<Spent>, DbError> {
    let (mut accounts, mut charges) = (Vec::with_capacity(payers.len()), Vec::new());
    for Payer { user_id, acts, charges: own } in payers {
        let (first, mut total) = (charges.len().saturating_add(1), 0_i64);
        for charge in own {
            charges.push((*charge, total));
            total = total.saturating_add(charge.amount.micro());
        }
        let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        accounts.push((*user_id, *acts, total, number(first), number(own.len())));
    }
    Ok(pg::sql(text)
        .bind::<Nullable<Timestamptz>, _>(pinned)
        .bind::<SqlUuid, _>(edition)
        .bind_rows::<PayerRow>(accounts.iter().copied())
        .bind_rows::<ChargeRow>(charges.iter().copied())
        .load(&mut conn)
        .await?)
}
