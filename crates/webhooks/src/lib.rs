#![doc = include_str!("../README.md")]

mod model;
pub mod service;
mod store;

pub use model::{
    Anomaly, BalanceChange, Event, EventKind, ExpiredHold, FileFacts, LowBalance, NewEvent, Nothing,
    Receiver, Wanted, markdown,
};
pub use service::{Receivers, configure, enqueue, newest};
pub use store::{
    AUDITS, PERSONAL_DATA,
    receivers::{RECEIVERS_LOCK, STAMP},
};

/// The schema of this crate: `webhooks`.
pub const MIGRATIONS: &[pg::Migration] = include!(concat!(env!("OUT_DIR"), "/migrations.rs"));
