//! Months: made ahead, dropped when they are old.

use std::collections::BTreeSet;

use kernel::Clock;
use pg::{DbError, Pool, Tx};
use time::Duration;

use crate::{
    Months, OldMonth, Retained,
    core::month::Month,
    store::{
        self,
        partitions::{self, Table},
    },
};

/// Fewest months that are kept: an event may be recorded 35 days late, and must not fall into a month that is gone.
pub const MONTHS_MIN: u16 = 2;
/// Age of the months that are made for events that come late.
const LATE: Duration = Duration::days(35);
/// Event ids that are forgotten in one commit.
const CHUNK_ROWS: i64 = 5_000;
/// Number of attempts to lock a whole table, each time for a fifth of a second.
const ATTEMPTS: u32 = 25;

/// Makes the partitions of the present month, of those that late events may belong to, and of `ahead` months to come; and
/// of every month that has rows in a DEFAULT partition, which are moved.
///
/// Run it at the start and daily. Any number of processes may: one at a time works, the others find nothing to do. Each
/// partition is a commit of its own; who records waits while it is made, which takes milliseconds, or as long as it takes to
/// move what lies in a DEFAULT partition. While somebody reads the table without a pause it is tried for five seconds.
///
/// # Errors
/// [`DbError`]; what was made before it stays. [`DbError::LockTimeout`] means that the table was in use for too long: it
/// can be tried again.
pub async fn create_months(pool: &Pool, clock: &dyn Clock, ahead: u16) -> Result<Months, DbError> {
    let now = clock.now();
    let first = Month::containing(now.checked_sub(LATE).unwrap_or(now));
    let last = Month::containing(now).plus(i32::from(ahead));
    let mut months = Months::default();
    for table in Table::ALL {
        let (strays, made) = pool
            .read(async |conn| {
                let strays = partitions::strays(conn, table).await?;
                Ok::<_, DbError>((strays, partitions::attached(conn, table).await?))
            })
            .await?;
        let mut wanted: BTreeSet<Month> = strays.into_iter().collect();
        let mut month = first;
        while month <= last {
            if !made.contains(&month) {
                wanted.insert(month);
            }
            month = month.plus(1);
        }
        for month in wanted {
            if let Some(moved) = change(pool, table, month, Change::Create).await? {
                months.created.push(table.partition(month));
                months.moved = months.moved.saturating_add(u64::try_from(moved).unwrap_or(u64::MAX));
            }
        }
    }
    Ok(months)
}

/// Keeps the records of the present month and of `months` before it (at least two); older months are dropped, and their
/// event ids forgotten. Roll-ups live on.
///
/// Event ids go first: a process that ends in between leaves records whose events are not known any more, which is what
/// they were to become, and never an event id that leads nowhere. A repeat that comes so late and states its time is refused
/// for that; one without a time counts as new.
///
/// # Errors
/// [`DbError`]; what was done before it stays done, and the next run goes on. [`DbError::LockTimeout`] means that somebody
/// read the table without a pause: it can be tried again.
pub async fn retain(pool: &Pool, clock: &dyn Clock, months: u16) -> Result<Retained, DbError> {
    retain_telling(pool, clock, months, |_| {}).await
}

/// [`retain`] that tells after each step what was done so far.
///
/// # Errors
/// As [`retain`].
pub async fn retain_telling(
    pool: &Pool,
    clock: &dyn Clock,
    months: u16,
    mut tell: impl FnMut(&Retained),
) -> Result<Retained, DbError> {
    create_months(pool, clock, 0).await?;
    let limit = first_kept(clock, months);
    let mut done = Retained::default();
    let Some(oldest) = limit.start() else {
        return Ok(done);
    };
    loop {
        let gone =
            Tx::run(pool, async |tx| store::dedupe::purge(tx.conn(), oldest, CHUNK_ROWS).await).await?;
        done.forgotten = done.forgotten.saturating_add(u64::try_from(gone).unwrap_or(u64::MAX));
        tell(&done);
        if gone == 0 {
            break;
        }
    }
    let attached = pool.read(async |conn| partitions::attached(conn, Table::Records).await).await?;
    for month in attached.into_iter().filter(|month| *month < limit) {
        change(pool, Table::Records, month, Change::Detach).await?;
    }
    let detached = pool.read(async |conn| partitions::detached(conn).await).await?;
    for month in detached {
        Tx::run(pool, async |tx| partitions::drop(tx.conn(), month).await).await?;
        done.dropped.push(Table::Records.partition(month));
        tell(&done);
    }
    Ok(done)
}

/// Keeps the months as they are until the end of a transaction whose statements share one snapshot ([`Tx::snapshot`]). Must be
/// its first statement.
///
/// A snapshot does not cover partitions: rows that are moved into a new one after it was taken are not found there, and no
/// longer looked for where they were. Who makes or drops a month waits meanwhile, so such a transaction must be short.
///
/// # Errors
/// [`DbError`]; [`DbError::LockTimeout`] when a month is being made or dropped for long.
pub async fn hold_months(tx: &mut Tx) -> Result<(), DbError> {
    partitions::hold(tx.conn()).await
}

/// The months that [`retain`] would drop now, the oldest first. Changes nothing.
///
/// # Errors
/// [`DbError`].
pub async fn old_months(pool: &Pool, clock: &dyn Clock, months: u16) -> Result<Vec<OldMonth>, DbError> {
    let limit = first_kept(clock, months);
    pool.read(async |conn| {
        let mut old: BTreeSet<Month> =
            partitions::attached(conn, Table::Records).await?.into_iter().collect();
        old.extend(partitions::strays(conn, Table::Records).await?);
        old.retain(|month| *month < limit);
        // What was detached before is dropped whatever its month.
        old.extend(partitions::detached(conn).await?);
        let names: Vec<String> = old.into_iter().map(|month| Table::Records.partition(month)).collect();
        partitions::sizes(conn, names).await
    })
    .await
}

/// The oldest month that is kept.
fn first_kept(clock: &dyn Clock, months: u16) -> Month {
    Month::containing(clock.now()).plus(i32::from(months.max(MONTHS_MIN)).saturating_neg())
}

/// Operations on the partition of a month.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    Create,
    Detach,
}

/// Tries again and again, so that those who use the table meanwhile wait for a moment each time. Answers how many rows moved,
/// or nothing if there was nothing to do.
async fn change(pool: &Pool, table: Table, month: Month, change: Change) -> Result<Option<usize>, DbError> {
    let mut left = ATTEMPTS;
    loop {
        left = left.saturating_sub(1);
        match try_change(pool, table, month, change).await {
            Err(DbError::LockTimeout(_)) if left > 0 => {}
            other => return other,
        }
    }
}

async fn try_change(
    pool: &Pool,
    table: Table,
    month: Month,
    change: Change,
) -> Result<Option<usize>, DbError> {
    Tx::run(pool, async |tx| {
        partitions::lock(tx).await?;
        // Looked at under the lock: another process may have done it just now.
        let is_there = partitions::attached(tx.conn(), table).await?.contains(&month);
        match change {
            Change::Create if !is_there => partitions::create(tx.conn(), table, month).await.map(Some),
            Change::Detach if is_there => partitions::detach(tx.conn(), month).await.map(|()| Some(0)),
            Change::Create | Change::Detach => Ok(None),
        }
    })
    .await
}
