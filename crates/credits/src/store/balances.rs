//! The hot read: figures of accounts without a lock.

use std::collections::BTreeMap;

use diesel::{
    QueryableByName,
    sql_types::{Array, BigInt, Nullable, Text, Timestamptz},
};
use diesel_async::RunQueryDsl;
use kernel::{Credits, UserId};
use pg::DbError;
use time::OffsetDateTime;

use crate::{
    model::Balance,
    store::columns::{Shared, texts, user_id},
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

#[derive(QueryableByName)]
struct GlanceRow {
    #[diesel(sql_type = Text)]
    user_id: String,
    #[diesel(sql_type = BigInt)]
    posted: i64,
    #[diesel(sql_type = BigInt)]
    held: i64,
    #[diesel(sql_type = BigInt)]
    lifetime_granted: i64,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    next_due_at: Option<OffsetDateTime>,
    #[diesel(sql_type = Timestamptz)]
    now: OffsetDateTime,
}

impl Glance {
    /// Whether something has come due that the stored figures do not show.
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
    let rows: Vec<GlanceRow> = pg::sql(
        "SELECT user_id, posted, held, lifetime_granted, next_due_at, \
         greatest(as_of, coalesce($2, clock_timestamp())) AS now FROM credits.accounts WHERE user_id = ANY($1)",
    )
    .bind::<Array<Text>, _>(texts(users))
    .bind::<Nullable<Timestamptz>, _>(pinned)
    .load(&mut conn)
    .await?;
    rows.into_iter().map(GlanceRow::into_glance).collect()
}

impl GlanceRow {
    fn into_glance(self) -> Result<(UserId, Glance), DbError> {
        let balance = Balance {
            posted: Credits::from_micro(self.posted),
            held: Credits::from_micro(self.held),
            lifetime_granted: Credits::from_micro(self.lifetime_granted),
        };
        Ok((user_id(&self.user_id)?, Glance { balance, now: self.now, next_due_at: self.next_due_at }))
    }
}
