#![doc = include_str!("../README.md")]

pub mod audit;
pub mod batch;
pub mod columns;
pub mod connect;
pub mod error;
pub mod listen;
pub mod migrate;
pub mod personal;
pub mod pool;
pub mod prepared;
pub mod probe;
pub mod retry;
pub mod server;
pub mod session;
pub mod tx;

pub use audit::{Audit, Violation};
pub use batch::{BatchLimits, Coalescer, Committer, Lookup, QueueHealth, Rejected, Work};
pub use connect::{DatabaseUrl, Reach, UrlFault, reach};
/// A connection to PostgreSQL, for functions that need no transaction.
pub use diesel_async::AsyncPgConnection as PgConnection;
pub use error::DbError;
pub use listen::Listener;
pub use migrate::Migration;
pub use personal::{Erase, Export, PersonalTable, Walk};
pub use pool::{Access, Patience, Pool, PoolSettings};
pub use prepared::{Prepared, Sql, sql};
pub use retry::Attempts;
pub use server::foreign_language;
pub use tx::Tx;
