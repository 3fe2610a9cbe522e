#![doc = include_str!("../README.md")]
#![cfg_attr(
    not(test),
    deny(clippy::as_conversions, clippy::indexing_slicing, clippy::arithmetic_side_effects)
)]

pub mod content;
pub mod error;
pub mod links;
pub mod model;
pub mod names;
pub mod objects;
pub mod service;
mod store;

pub use content::FileType;
pub use error::FileRefusal;
pub use objects::{final_key, upload_key};

pub use model::{File, FileFilter, FileLimits, NewFile, Offer, Published, Quota, ReservedAs, Sha256};
pub use service::{
    existing, expired, find, find_by_path, forget, give_up, list, offer, publish, quota, remove, reserve,
    store_id, take_removals,
};
pub use store::{AUDITS, PERSONAL_DATA};

/// The tables of this crate, in order.
pub const MIGRATIONS: &[pg::Migration] = include!(concat!(env!("OUT_DIR"), "/migrations.rs"));
