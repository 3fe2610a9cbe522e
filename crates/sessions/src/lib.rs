#![doc = include_str!("../README.md")]
#![cfg_attr(
    not(test),
    deny(clippy::as_conversions, clippy::indexing_slicing, clippy::arithmetic_side_effects)
)]

pub mod error;
pub mod model;
mod rules;
pub mod service;
mod store;

pub use error::SessionRefusal;
pub use model::{
    CONTENT_BYTES_MAX, Deleted, ImportanceScore, ImportanceScoreError, MESSAGE_TYPE_CHARS_MAX, Message,
    MessageFilter, MessageStatus, NewMessage, NewSession, Role, Session, SessionFilter, Status, UnknownWord,
};
pub use service::{add_messages, blocked, create, delete, find, find_in_scope, list, messages, set_status};
pub use store::{AUDITS, PERSONAL_DATA, statements};

/// The tables of this crate, in order.
pub const MIGRATIONS: &[pg::Migration] = include!(concat!(env!("OUT_DIR"), "/migrations.rs"));
