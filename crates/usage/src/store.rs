//! All SQL of this domain. Columns become types of the model at this edge.

pub(crate) mod aliases;
pub(crate) mod anomalies;
mod audits;
pub(crate) mod dedupe;
pub(crate) mod export;
pub(crate) mod partitions;
pub(crate) mod presence;
pub(crate) mod price_book;
pub(crate) mod prices;
pub(crate) mod records;
pub(crate) mod rollups;
mod rows;
pub(crate) mod saving;
pub(crate) mod series;
mod sources;
pub(crate) mod stats;
pub(crate) mod summary;
pub(crate) mod top_series;
pub(crate) mod verify;
pub(crate) mod zones;

use diesel_async::AsyncPgConnection;

pub use audits::AUDITS;

/// A connection whose statements may be under way at the same time.
pub(crate) type Shared<'a> = &'a AsyncPgConnection;

/// The statements that write records and those of the tuned reads, whole, by name: for `EXPLAIN`.
#[must_use]
pub fn statements() -> Vec<(&'static str, &'static str)> {
    vec![
        ("ask", dedupe::ASK),
        ("export_page", &export::PAGE),
        ("find_record", &records::FIND),
        ("fold_deltas", &rollups::FOLD),
        ("newest_records", &records::NEWEST),
        ("save", &saving::SAVE),
        ("stats_of_all", &stats::OF_ALL),
        ("stats_of_user", &stats::OF_USER),
        ("sums_of_all", &series::SUMS_OF_ALL),
        ("sums_of_each", &series::SUMS_OF_EACH),
        ("sums_of_user", &series::SUMS_OF_USER),
        ("summary_sums", &summary::SUMS),
        ("summary_users", &summary::USERS),
        ("top_series", &top_series::ACROSS),
        ("top_series_by_user", &top_series::BY_USER),
        ("top_series_by_user_with_users", &top_series::BY_USER_WITH_USERS),
        ("top_series_with_users", &top_series::WITH_USERS),
        ("top_users", &series::TOP_USERS),
    ]
}
