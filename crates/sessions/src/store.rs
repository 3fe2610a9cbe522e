//! All SQL of this domain.

mod audits;
pub(crate) mod messages;
mod personal;
pub(crate) mod replies;
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
        ("update_tallies", &sessions::UPDATE),
    ]
}
