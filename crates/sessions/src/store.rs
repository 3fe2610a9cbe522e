//! All SQL of this domain.

mod audits;
pub(crate) mod messages;
mod personal;
pub(crate) mod replies;
pub(crate) mod search;
pub(crate) mod search_index;
pub(crate) mod sessions;

pub use audits::AUDITS;
pub use personal::PERSONAL_DATA;

/// The statements of messages and of lists, whole, by name: for `EXPLAIN`.
#[must_use]
pub fn statements() -> Vec<(&'static str, &'static str)> {
    vec![
        ("insert_messages", &messages::INSERT),
        ("list_messages", &messages::LIST),
        ("list_sessions", &sessions::LIST),
        ("mark_stale_segments", search_index::MARK_STALE),
        ("search_message_ids", &search::MESSAGE_IDS),
        ("search_postings", &search::POSTINGS),
        ("search_rest", search_index::REST),
        ("search_sources", &search_index::SOURCES),
        ("search_texts_between", &search::TEXTS_BETWEEN),
        ("search_texts_of", &search::TEXTS_OF),
        ("search_titled", &search::TITLED),
        ("update_tallies", &sessions::UPDATE),
    ]
}
