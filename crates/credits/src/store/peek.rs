//! Accounts as they stand, read without a lock.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::LazyLock,
};

use diesel::{
    QueryableByName,
    sql_types::{Array, Nullable, Text, Timestamptz},
};
use diesel_async::RunQueryDsl;
use kernel::UserId;
use pg::{DbError, columns::Read};
use time::OffsetDateTime;

use crate::{
    core::{AccountState, burn::Portion},
    store::{
        accounts::{AccountRow, assemble},
        columns::{Shared, texts},
        grants::GrantRow,
        holds::{self, HoldRow, LineRow},
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
    of: Times,
    #[diesel(embed)]
    account: AccountRow,
    #[diesel(embed)]
    grant: Option<GrantRow>,
    #[diesel(embed)]
    hold: Option<HoldRow>,
    #[diesel(embed)]
    portion: Option<Portion>,
}

struct Times {
    now: OffsetDateTime,
    updated_at: OffsetDateTime,
}
pg::read_columns! { Times: { now, updated_at } }

pub(super) static PEEK: LazyLock<String> = LazyLock::new(|| {
    let attached = [("description", "NULL::text"), ("metadata", "NULL::jsonb")];
    format!(
        "
WITH wanted AS MATERIALIZED (
    SELECT {account}, greatest(a.as_of, (SELECT coalesce($2, clock_timestamp()))) AS now,
           coalesce((SELECT e.created_at FROM credits.entries e WHERE e.user_id = a.user_id AND e.seq = a.entry_seq),
                    a.created_at) AS updated_at
    FROM credits.accounts a WHERE a.user_id = ANY($1)
)
SELECT a.*, {grant}, {no_hold}, NULL AS line_grant_id, NULL AS line_amount
FROM wanted a LEFT JOIN credits.current_grants g ON g.user_id = a.user_id AND g.live
UNION ALL
SELECT a.*, {no_grant}, {hold}, l.grant_id, l.held_delta
FROM wanted a JOIN credits.holds h ON h.user_id = a.user_id AND h.state = 'open'
JOIN credits.entry_grants l ON l.user_id = h.user_id AND l.seq = h.entry_seq
ORDER BY user_id",
        account = AccountRow::list("a"),
        grant = GrantRow::list("g"),
        no_grant = GrantRow::nulls(),
        hold = HoldRow::list_but("h", &attached),
        no_hold = HoldRow::nulls(),
    )
});

/// Reads accounts with their live grants and open holds: one statement, hence one snapshot.
pub async fn peek(
    mut conn: Shared<'_>,
    pinned: Option<OffsetDateTime>,
    users: &[UserId],
) -> Result<BTreeMap<UserId, Peeked>, DbError> {
    let rows: Vec<PeekRow> = pg::sql(&PEEK)
        .bind::<Array<Text>, _>(texts(users))
        .bind::<Nullable<Timestamptz>, _>(pinned)
        .load(&mut conn)
        .await?;
    let (mut accounts, mut times) = (Vec::<AccountRow>::new(), BTreeMap::new());
    let (mut grants, mut holds, mut lines) = (Vec::new(), Vec::new(), Vec::new());
    for row in rows {
        grants.extend(row.grant);
        if let (Some(hold), Some(portion)) = (row.hold, row.portion) {
            let (user_id, hold_id) = (hold.user_id.clone(), hold.hold.id);
            lines.push(LineRow { user_id, hold_id, portion });
            holds.push(hold);
        }
        let known = |last: &AccountRow| last.user_id == row.account.user_id;
        if !accounts.last().is_some_and(known) {
            times.insert(row.account.user_id.clone(), row.of);
            accounts.push(row.account);
        }
    }
    let holds = holds::assemble(holds, lines);
    let states = assemble(accounts, grants, holds, &BTreeSet::new())?;
    Ok(states
        .into_iter()
        .filter_map(|(user, state)| {
            let Times { now, updated_at } = times.remove(&user)?;
            Some((user, Peeked { state, now, updated_at }))
        })
        .collect())
}
