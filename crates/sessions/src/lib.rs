#![doc = include_str!("../README.md")]
#![cfg_attr(
    not(test),
    deny(clippy::as_conversions, clippy::indexing_slicing, clippy::arithmetic_side_effects)
)]

pub mod error;
pub mod model;
pub mod replies;
mod rules;
pub mod search;
pub mod service;
mod store;

pub use error::SessionRefusal;
pub use model::{
    CONTENT_BYTES_MAX, Deleted, Hit, Hits, ImportanceScore, ImportanceScoreError, IndexHorizon, Lease,
    MESSAGE_TYPE_CHARS_MAX, Message, MessageFilter, MessageStatus, NewMessage, NewReply, NewSession,
    NoSegment, Reply, ReplyEnd, ReplyName, ReplyTerms, ReplyText, Role, SearchLimits, SearchPlace,
    SearchQuery, SegmentSize, Session, SessionChange, SessionFilter, Status, UnknownWord,
};
pub use service::{
    add_messages, as_added, as_created, blocked, change, create, delete, find, find_by_number, find_in_scope,
    find_message, list, messages, set_status,
};
pub use store::{AUDITS, PERSONAL_DATA, statements};

/// The tables of this crate, in order.
pub const MIGRATIONS: &[pg::Migration] = include!(concat!(env!("OUT_DIR"), "/migrations.rs"));
