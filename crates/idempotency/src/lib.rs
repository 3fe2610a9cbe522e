#![doc = include_str!("../README.md")]
#![cfg_attr(
    not(test),
    deny(clippy::as_conversions, clippy::indexing_slicing, clippy::arithmetic_side_effects)
)]

mod error;
pub mod model;
mod rules;
pub mod service;
mod store;

pub use error::KeyConflict;
pub use model::{Content, KeyStatus, KeyedRequest, Link, NewAnswer, Pruned, Replay, StoredAnswer};
pub use service::{Keys, look_up, prune};
pub use store::{AUDITS, PERSONAL_DATA};

/// The schema of this crate: `idempotency`.
pub const MIGRATIONS: &[pg::Migration] = include!(concat!(env!("OUT_DIR"), "/migrations.rs"));
