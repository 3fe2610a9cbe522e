//! The database connections of this process by use: together never more than `DATABASE_POOL_SIZE`.
//!
//! Two pools, because idle connections of one cannot serve the other: `hot` lives on the thread of the committers and
//! coalescers, `general` on the main runtime. Inside each, shares bound what may take long, so that it leaves connections
//! to the rest.

/// Fewest connections: one each for writes, hot reads, short transactions, lists and housekeeping.
pub const CONNECTIONS_MIN: usize = 5;
/// As many as the lanes on the hot thread can use: two each for writes and bulk, one each for balances, statuses and probes.
const HOT_MAX: usize = 7;
/// From this many connections on, one of them only listens.
const LISTENER_FROM: usize = 10;
/// Housekeeping and the audit of the ledger take turns: what waits for the move of a month, which may take hours, changes no
/// answer.
const HOUSEKEEPING: usize = 1;

/// The connections of this process by use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connections {
    /// Connections of committers and coalescers.
    pub hot: usize,
    /// Those of `hot` that committers may use at a time; the rest is for reads and probes.
    pub committers: usize,
    /// All other connections: whatever their shares leave is for short transactions, such as logins.
    pub general: usize,
    /// Those of `general` that lists, statistics and exports may use at a time.
    pub lists: usize,
    /// Those of `general` that listen to other processes. A small pool has none: what would be heard is looked for then.
    pub listeners: usize,
    /// Those of `general` that housekeeping may use at a time.
    pub housekeeping: usize,
}

impl Connections {
    /// Shares out `total` connections; fewer than [`CONNECTIONS_MIN`] count as that many.
    #[must_use]
    pub fn new(total: usize) -> Self {
        let total = total.max(CONNECTIONS_MIN);
        let hot = (total / 2).min(HOT_MAX);
        let general = total - hot;
        let listeners = usize::from(total >= LISTENER_FROM);
        let shared = general - listeners;
        let short = (shared / 4).max(1);
        Self {
            hot,
            committers: hot - 1,
            general,
            lists: shared - HOUSEKEEPING - short,
            listeners,
            housekeeping: HOUSEKEEPING,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pools_add_up_to_the_total_and_every_use_keeps_a_connection() {
        for total in CONNECTIONS_MIN..=200 {
            let shared = Connections::new(total);
            assert_eq!(shared.hot + shared.general, total);
            assert!(shared.committers >= 1 && shared.committers < shared.hot, "{shared:?}");
            assert!(shared.lists >= 1, "{shared:?}");
            assert!(
                shared.lists + shared.housekeeping + shared.listeners < shared.general,
                "a login waits for lists: {shared:?}"
            );
        }
    }

    #[test]
    fn small_and_default_sizes() {
        let shares = |total| {
            let of = Connections::new(total);
            (of.hot, of.committers, of.general, of.lists)
        };
        assert_eq!(shares(5), (2, 1, 3, 1));
        assert_eq!(shares(8), (4, 3, 4, 2));
        assert_eq!(shares(16), (7, 6, 9, 5));
    }
}
