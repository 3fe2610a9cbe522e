//! The hot read: figures of accounts without a lock.

use std::collections::BTreeMap;

use diesel::sql_types::{Array, Nullable, Text, Timestamptz};
use diesel_async::RunQueryDsl;
use kernel::UserId;
use pg::DbError;
use time::OffsetDateTime;

use crate::{
    model::Balance,
    store::columns::{Shared, texts},
};

/// The stored figures of an account, and when they were read.
#[derive(Debug)]
pub struct Glance {
    /// The figures as stored.
    pub balance: Balance,
    /// The instant of reading, raised to the account's own time.
    pub now: OffsetDateTime,
    next_due_at: Option<OffsetDateTime>,
}

struct GlanceRow {
    user_id: UserId,
    glance: Glance,
}

pg::read_columns! { Balance: { posted, held, lifetime_granted } }
pg::read_columns! { Glance: { now, next_due_at } with { balance: Balance } }
pg::read_columns! { GlanceRow: { user_id } with { glance: Glance } }

impl Glance {
    /// Returns true if something has come due that the stored figures do not show.
    pub fn is_due(&self) -> bool {
        self.next_due_at.is_some_and(|at| at <= self.now)
    }
}

/// The figures of those users who have an account.
pub async fn read(
    mut conn: Shared<'_>,
    pinned: Option<OffsetDateTime>,
    users: &[UserId],
) -> Result<BTreeMap<UserId, Glance>, DbError> {
    let rows: Vec<GlanceRow> = pg::sql(READ)
        .bind::<Array<Text>, _>(texts(users))
        .bind::<Nullable<Timestamptz>, _>(pinned)
        .load(&mut conn)
        .await?;
    Ok(rows.into_iter().map(|row| (row.user_id, row.glance)).collect())
}

pub(super) const READ: &str = "
SELECT user_id, posted, held, lifetime_granted, next_due_at, greatest(as_of, coalesce($2, clock_timestamp())) AS now
FROM credits.accounts WHERE user_id = ANY($1)";
