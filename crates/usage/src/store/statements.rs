//! The hot statements by name.

use super::{dedupe, export, records, rollups, saving, series, stats, summary, top_series};

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
