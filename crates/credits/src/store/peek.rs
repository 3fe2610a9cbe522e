//! Accounts as they stand, read without a lock.

use std::collections::{BTreeMap, BTreeSet};

use diesel::{
    QueryableByName,
    sql_types::{Array, BigInt, Nullable, Text, Timestamptz},
};
use diesel_async::RunQueryDsl;
use kernel::UserId;
use pg::DbError;
use time::OffsetDateTime;

use crate::{
    core::AccountState,
    store::{
        accounts::{AccountRow, assemble},
        columns::{Shared, texts, user_id},
        grants::{MaybeGrantRow, grant_columns},
        holds::{self, MaybeHoldRow, hold_columns},
    },
};

/// An account at one instant. What is due by then is not applied.
#[derive(Debug)]
pub struct Peeked {
    /// The account.
    pub state: AccountState,
    /// The instant of reading, raised to the account's own time.
    pub now: OffsetDateTime,
    /// When the newest entry took effect, or the account was opened.
    pub updated_at: OffsetDateTime,
}

/// An account with one of its grants, or with a line of one of its open holds.
#[derive(QueryableByName)]
struct PeekRow {
    #[diesel(embed)]
    account: AccountRow,
    #[diesel(sql_type = Timestamptz)]
    now: OffsetDateTime,
    #[diesel(sql_type = Timestamptz)]
    updated_at: OffsetDateTime,
    #[diesel(embed)]
    grant: MaybeGrantRow,
    #[diesel(embed)]
    hold: MaybeHoldRow,
    #[diesel(sql_type = Nullable<BigInt>)]
    line_grant_id: Option<i64>,
    #[diesel(sql_type = Nullable<BigInt>)]
    line_amount: Option<i64>,
}

/// Reads accounts with their live grants and open holds: one statement, hence one snapshot.
pub async fn peek(
    mut conn: Shared<'_>,
    pinned: Option<OffsetDateTime>,
    users: &[UserId],
) -> Result<BTreeMap<UserId, Peeked>, DbError> {
    let rows: Vec<PeekRow> = pg::sql(concat!(
        "WITH wanted AS MATERIALIZED ( \
           SELECT a.user_id, a.posted, a.held, a.lifetime_granted, a.entry_seq, a.grant_seq, a.next_due_at, a.as_of, \
             a.low_balance_at, greatest(a.as_of, (SELECT coalesce($2, clock_timestamp()))) AS now, \
             coalesce((SELECT e.created_at FROM credits.entries e WHERE e.user_id = a.user_id AND e.seq = a.entry_seq), \
               a.created_at) AS updated_at \
           FROM credits.accounts a WHERE a.user_id = ANY($1)) \
         SELECT a.*, ",
        grant_columns!(),
        ", NULL::text AS hold_user_id, NULL::uuid AS hold_row_id, NULL::bigint AS hold_requested, \
         NULL::bigint AS hold_amount, NULL::text AS hold_state, NULL::bigint AS hold_captured, \
         NULL::bigint AS hold_released, NULL::bigint AS hold_uncollected, NULL::bigint AS hold_entry_seq, \
         NULL::timestamptz AS hold_expires_at, NULL::timestamptz AS hold_created_at, \
         NULL::timestamptz AS hold_resolved_at, NULL::text AS hold_made_by, NULL::text AS hold_description, NULL::text AS hold_metadata, \
         NULL::bigint AS line_grant_id, NULL::bigint AS line_amount \
         FROM wanted a LEFT JOIN credits.grants g ON g.user_id = a.user_id AND g.live \
         UNION ALL SELECT a.*, NULL::text, NULL::bigint, NULL::text, NULL::boolean, NULL::smallint, NULL::bigint, \
         NULL::bigint, NULL::bigint, NULL::timestamptz, NULL::timestamptz, NULL::bigint, NULL::text, \
         NULL::timestamptz, ",
        hold_columns!(),
        ", NULL::text, NULL::text, l.grant_id, l.held_delta \
         FROM wanted a JOIN credits.holds h ON h.user_id = a.user_id AND h.state = 'open' \
         JOIN credits.entry_grants l ON l.user_id = h.user_id AND l.seq = h.entry_seq \
         ORDER BY user_id"
    ))
    .bind::<Array<Text>, _>(texts(users))
    .bind::<Nullable<Timestamptz>, _>(pinned)
    .load(&mut conn)
    .await?;
    let (mut accounts, mut times) = (Vec::<AccountRow>::new(), BTreeMap::new());
    let (mut grants, mut holds, mut lines) = (Vec::new(), Vec::new(), Vec::new());
    for row in rows {
        grants.extend(row.grant.0);
        if let (Some(hold), Some(grant_id), Some(amount)) = (row.hold.0, row.line_grant_id, row.line_amount) {
            lines.push(hold.line(grant_id, amount));
            holds.push(hold);
        }
        let known = |last: &AccountRow| last.user_id() == row.account.user_id();
        if !accounts.last().is_some_and(known) {
            times.insert(user_id(row.account.user_id())?, (row.now, row.updated_at));
            accounts.push(row.account);
        }
    }
    let holds = holds::assemble(holds, lines)?;
    let states = assemble(accounts, grants, holds, &BTreeSet::new())?;
    Ok(states
        .into_iter()
        .filter_map(|(user, state)| {
            let (now, updated_at) = *times.get(&user)?;
            Some((user, Peeked { state, now, updated_at }))
        })
        .collect())
}
