//! Forgetting first outcomes after a while, but never that a request took effect.

use kernel::Clock;
use pg::{DbError, PgConnection};
use time::Duration;

use crate::store;

/// What pruning removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pruned {
    /// Refusals, which are gone: the same key is a new request from now on.
    pub refusals: usize,
    /// Outcomes of successes, whose keys stay for good.
    pub successes: usize,
}

/// No outcome is kept for longer: PostgreSQL knows no instant much earlier than this.
const KEPT_MAX: Duration = Duration::days(365_000);

/// Prunes the oldest idempotency records, at most `limit`, that are older than `older_than` by the database's clock (or the
/// pinned instant of `clock`). The caller comes again while something was pruned.
///
/// A repeat of a pruned success takes no effect either. Its answer is rebuilt from the books: entry, instant, posted and
/// held credit are those of the first answer, while hold and grant are shown as they are now, `lifetime_granted` is the
/// present one, and `replayed` (by reference) is false.
///
/// # Errors
/// [`DbError`] when the database cannot be written.
pub async fn prune_idempotency(
    conn: &mut PgConnection,
    clock: &dyn Clock,
    older_than: Duration,
    limit: i64,
) -> Result<Pruned, DbError> {
    let micros = older_than.clamp(Duration::ZERO, KEPT_MAX).whole_microseconds();
    let micros = i64::try_from(micros).unwrap_or(i64::MAX);
    let pruned = store::idempotency::prune(conn, clock.pinned(), micros, limit).await?;
    Ok(Pruned { refusals: pruned.refusals, successes: pruned.successes })
}
