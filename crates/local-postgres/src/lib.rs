#![doc = include_str!("../README.md")]

mod account;
mod address;
mod binaries;
mod cluster;
mod command;
mod error;
mod exit;
mod folder;
mod leftovers;
mod local_postgres;
mod location;
mod lock;
mod names;
mod parents;
mod server;
mod server_log;
mod server_settings;
mod settings;
mod socket;

pub use address::{check_data_dir, has_cluster, running_url};
pub use binaries::{Binaries, find_binaries};
pub use error::Error;
pub use exit::ExitWatch;
pub use local_postgres::LocalPostgres;
pub use parents::exposed_parents;
pub use settings::{Durability, Settings};

/// The oldest major version of PostgreSQL that this crate starts.
pub const VERSION_MIN: u32 = 15;
