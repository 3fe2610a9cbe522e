//! Entries of transactions, found by their ids (ADR 0022).

use uuid::Uuid;

use crate::core;

/// The entries of the transaction `w.transaction_id` of `w.user_id`. An id that begins with its place, `w.place`, is found there
/// or right after it, since a command writes two entries at most; all others are in an index. No entry is found both ways.
pub(super) const ENTRIES: &str = "
    SELECT p.* FROM credits.entries p
    WHERE p.user_id = w.user_id AND p.seq BETWEEN w.place AND w.place + 1 AND p.transaction_id = w.transaction_id
      AND NOT (p.actor = 'system' OR get_byte(uuid_send(p.transaction_id), 6) >> 4 <> 8)
    UNION ALL
    SELECT u.* FROM credits.entries u
    WHERE u.user_id = w.user_id AND u.transaction_id = w.transaction_id
      AND (u.actor = 'system' OR get_byte(uuid_send(u.transaction_id), 6) >> 4 <> 8)";

/// The places that these ids begin with, for an array.
pub(super) fn places(ids: impl IntoIterator<Item = Uuid>) -> Vec<Option<i64>> {
    ids.into_iter().map(core::place).collect()
}
