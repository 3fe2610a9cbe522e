//! The types of this domain. No SQL, no HTTP.

mod plan;
mod role;
mod user;

pub use plan::Plan;
pub use role::Role;
pub use user::{Activity, Ensured, NewUser, User, UserStatus};
